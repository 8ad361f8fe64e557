"""Rendering: what one director should have."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gitvs.core.errors import ExitCode, UnknownDirector
from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.render import render_director
from gitvs.core.model.desired import Desired, ManifestLocation
from gitvs.core.model.resources import (
    DummyInterface,
    Endpoint,
    Forwarding,
    LocalRoute,
    Protocol,
    RealServer,
    SyncDaemon,
    Sysctl,
    Timeout,
    TimeoutName,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    Vip,
    VirtualService,
)
from tests.support.manifests.writing import (
    LEFT_OUT,
    Doc,
    defaults,
    director,
    file_of,
    loaded,
    policy,
    pool,
    server,
    service,
    text_file,
)

AMS = director("lb-ams", {"site": "ams"})
LAX = director("lb-lax", {"site": "lax"})
V6 = server("2001:db8:3::5")
TUN = {"forwarding": "tun"}


def rendered(*documents: Doc, on: str = "lb1") -> Desired:
    known = {d["metadata"]["name"] for d in documents if d["kind"] == "Director"}
    return render_director(loaded(*documents, *([] if on in known else [director(on)])), on)


def services(desired: Desired) -> list[str]:
    return [v.key for v in desired.state.of_type(VirtualService)]


def servers(desired: Desired) -> dict[str, RealServer]:
    return {s.key: s for s in desired.state.of_type(RealServer)}


def vips(desired: Desired) -> list[str]:
    return [str(v.address) for v in desired.state.of_type(Vip)]


def weights(desired: Desired) -> dict[str, int]:
    return {str(s.address): s.weight for s in desired.state.of_type(RealServer)}


def test_a_director_alone_has_its_interface_and_two_sysctls() -> None:
    assert list(rendered().state.values()) == [
        DummyInterface("gitvs0"),
        Sysctl("net.ipv4.vs.expire_quiescent_template", "1"),
        Sysctl("net.ipv4.vs.expire_nodest_conn", "1"),
    ]


def test_an_unknown_director_is_an_error_with_a_suggestion_and_never_an_empty_state() -> None:
    with pytest.raises(UnknownDirector, match=r"did you mean lb-ams\?.*lb-ams, lb-lax") as caught:
        render_director(loaded(AMS, LAX), "lb-asm")
    assert caught.value.exit_code is ExitCode.INVALID
    with pytest.raises(UnknownDirector, match="have no Director document"):
        render_director(loaded(service()), "lb1")


def test_the_defaults_of_a_service_are_those_of_the_manual() -> None:
    desired = rendered(service())
    assert desired.state.of_type(VirtualService) == [
        VirtualService(Endpoint(Protocol.TCP, ip_address("203.0.113.10"), 443))
    ]
    (real,) = desired.state.of_type(RealServer)
    assert (real.port, real.weight, real.forwarding, real.tunnel) == (443, 1, Forwarding.NAT, None)
    assert desired.drain_seconds == {"tcp 203.0.113.10:443": 60}


def test_a_service_is_one_virtual_service_for_each_address_and_port() -> None:
    desired = rendered(
        service(
            vips=["203.0.113.10", "2001:db8::10"],
            ports=[{"port": 53}, {"port": 53, "protocol": "udp"}],
            realServers=[server(), V6],
        )
    )
    assert list(servers(desired)) == [
        "tcp 203.0.113.10:53 -> 10.0.3.5:53",
        "udp 203.0.113.10:53 -> 10.0.3.5:53",
        "tcp [2001:db8::10]:53 -> [2001:db8:3::5]:53",
        "udp [2001:db8::10]:53 -> [2001:db8:3::5]:53",
    ]
    assert [v.prefix_length for v in desired.state.of_type(Vip)] == [32, 128]


def test_a_selector_chooses_the_directors() -> None:
    documents = [AMS, LAX, service(directors={"matchLabels": {"site": ["ams", "fra"]}})]
    assert services(rendered(*documents, on="lb-ams"))
    assert not services(rendered(*documents, on="lb-lax"))


def test_names_and_labels_must_both_match() -> None:
    both = {"names": ["lb-ams", "lb-lax"], "matchLabels": {"site": "lax"}}
    documents = [AMS, LAX, service(directors=both)]
    assert [bool(services(rendered(*documents, on=d))) for d in ("lb-ams", "lb-lax")] == [0, 1]


def test_a_vip_may_differ_by_site() -> None:
    own = [
        {"address": f"203.0.113.{n}", "directors": {"names": [d]}}
        for n, d in ((1, "lb-ams"), (2, "lb-lax"))
    ]
    documents = [AMS, LAX, service(vips=own)]
    assert vips(rendered(*documents, on="lb-ams")) == ["203.0.113.1"]
    assert services(rendered(*documents, on="lb-lax")) == ["tcp 203.0.113.2:443"]


def test_a_service_without_an_address_on_a_director_is_not_there() -> None:
    here = [{"address": "203.0.113.1", "directors": {"names": ["lb-ams"]}}]
    for mark in ({}, {"firewallMark": 7}):
        documents = [AMS, LAX, service(vips=here, **mark)]
        assert services(rendered(*documents, on="lb-ams"))
        assert not services(rendered(*documents, on="lb-lax"))


def test_an_unbound_vip_is_served_and_not_bound() -> None:
    desired = rendered(service(vips=[{"address": "203.0.113.10", "bind": False}]))
    assert services(desired) == ["tcp 203.0.113.10:443"]
    assert vips(desired) == []


def test_host_addresses_are_served_by_name_and_not_bound() -> None:
    desired = rendered(
        director(addresses={"node": ["192.0.2.1", "127.0.0.1"]}),
        service(hostAddresses=["node"]),
    )
    assert services(desired) == [
        "tcp 203.0.113.10:443",
        "tcp 192.0.2.1:443",
        "tcp 127.0.0.1:443",
    ]
    assert vips(desired) == ["203.0.113.10"]


def test_two_services_share_one_vip() -> None:
    desired = rendered(service("a"), service("b", ports=[{"port": 80}]))
    assert vips(desired) == ["203.0.113.10"]
    assert desired.locations["203.0.113.10/32 dev gitvs0"].service == "a"


@pytest.mark.parametrize(
    ("family", "given", "expected"),
    [
        (None, [server()], ["ipv4"]),
        (None, [server(), V6], ["ipv4", "ipv6"]),
        ("ipv6", [server(), V6], ["ipv6"]),
        ("ipv6", [], ["ipv6"]),
    ],
)
def test_a_firewall_mark_is_there_in_the_families_of_its_real_servers(
    family: str | None, given: list[Doc], expected: list[str]
) -> None:
    marked = service(
        firewallMark=7,
        vips=LEFT_OUT,
        realServers=given,
        addressFamily=LEFT_OUT if family is None else family,
    )
    assert sorted(services(rendered(marked))) == [f"fwmark 7 {f}" for f in expected]


def test_a_firewall_mark_binds_its_vips_and_keeps_ports() -> None:
    desired = rendered(service(firewallMark=7))
    assert list(servers(desired)) == ["fwmark 7 ipv4 -> 10.0.3.5:0"]
    assert vips(desired) == ["203.0.113.10"]


def test_a_port_of_a_real_servers_own_goes_before_target_port() -> None:
    desired = rendered(
        service(
            ports=[{"port": 443, "targetPort": 8443}],
            realServers=[server(), server("10.0.3.6", port=9443)],
        )
    )
    assert [s.port for s in desired.state.of_type(RealServer)] == [8443, 9443]


def test_behind_port_zero_real_servers_have_port_zero() -> None:
    desired = rendered(service(ports=[{"port": 0}], persistence={"timeout": "5m"}))
    assert list(servers(desired)) == ["tcp 203.0.113.10:0 -> 10.0.3.5:0"]


def test_real_servers_may_have_a_forwarding_and_a_tunnel_of_their_own() -> None:
    gue = {"type": "gue", "port": 6080, "checksum": "remote"}
    desired = rendered(
        service(
            forwarding="tun",
            tunnel={"type": "gre"},
            realServers=[
                server("10.0.0.1"),
                server("10.0.0.2", tunnel=gue),
                server("10.0.0.3", forwarding="dr"),
            ],
        )
    )
    assert [s.tunnel for s in desired.state.of_type(RealServer)] == [
        Tunnel(TunnelType.GRE),
        Tunnel(TunnelType.GUE, 6080, TunnelChecksum.REMOTE),
        None,
    ]


def test_tunnelling_without_a_tunnel_is_ipip() -> None:
    (real,) = rendered(service(**TUN)).state.of_type(RealServer)
    assert real.tunnel == Tunnel()


def test_across_families_tunnelled_servers_join_both_and_others_their_own() -> None:
    desired = rendered(
        service(
            **TUN,
            crossFamily=True,
            vips=["203.0.113.10", "2001:db8::10"],
            realServers=[server("10.0.0.1"), server("10.0.0.2", forwarding="nat")],
        )
    )
    assert list(servers(desired)) == [
        "tcp 203.0.113.10:443 -> 10.0.0.1:443",
        "tcp 203.0.113.10:443 -> 10.0.0.2:443",
        "tcp [2001:db8::10]:443 -> 10.0.0.1:443",
    ]


POOL = pool(
    "p",
    server("10.1.0.1", labels={"site": "ams", "track": "stable"}, weight=2),
    server("10.1.0.2", labels={"site": "ams", "track": "next"}, weight=2),
    server("10.2.0.1", labels={"site": "lax", "track": "stable"}),
    server("10.3.0.1"),
)


@pytest.mark.parametrize(
    ("reference", "on", "expected"),
    [
        ("p", "lb-ams", {"10.1.0.1": 2, "10.1.0.2": 2, "10.2.0.1": 1, "10.3.0.1": 1}),
        ({"name": "p", "sameLabels": ["site"]}, "lb-ams", {"10.1.0.1": 2, "10.1.0.2": 2}),
        ({"name": "p", "sameLabels": ["site"]}, "lb-lax", {"10.2.0.1": 1}),
        ({"name": "p", "matchLabels": {"track": "next"}}, "lb-lax", {"10.1.0.2": 2}),
        (
            {"name": "p", "sameLabels": ["site"], "matchLabels": {"track": "stable"}, "weight": 19},
            "lb-ams",
            {"10.1.0.1": 38},
        ),
        ({"name": "p", "matchLabels": {"site": "ams"}, "weight": 0}, "lb-ams", {"10.1.0.1": 0}),
    ],
)
def test_a_pool_is_taken_by_label_and_factor(
    reference: str | Doc, on: str, expected: dict[str, int]
) -> None:
    found = weights(rendered(AMS, LAX, POOL, service(pools=[reference]), on=on))
    assert {address: found[address] for address in expected} == expected
    if expected != {"10.1.0.1": 0}:
        assert found == expected


def test_pools_add_up() -> None:
    both = service(pools=["p", {"name": "canary", "weight": 5}])
    desired = rendered(AMS, POOL, pool("canary", server("10.9.0.1")), both, on="lb-ams")
    assert weights(desired)["10.9.0.1"] == 5
    assert len(weights(desired)) == 5


def test_a_sync_daemon_gets_what_the_kernel_would_take_by_itself() -> None:
    common = {"interface": "eth1"}
    given = {"group": "ff05::81", "port": 8900, "ttl": 3}
    desired = rendered(
        director(
            syncDaemons=[
                {"role": "primary", **common},
                {"role": "backup", **common, **given},
            ]
        )
    )
    primary, backup = desired.state.of_type(SyncDaemon)
    defaults = (ip_address("224.0.0.81"), 8848, 1, None)
    assert (primary.group, primary.port, primary.ttl, primary.max_length) == defaults
    assert (str(backup.group), backup.port, backup.ttl) == ("ff05::81", 8900, 3)
    assert backup.max_length is None


def test_a_director_brings_routes_sysctls_timeouts_and_sync_daemons() -> None:
    desired = rendered(
        director(
            interface="vips",
            localRoutes=["198.51.100.0/24", "2001:db8:f::/64"],
            sysctls={
                "net.ipv4.ip_forward": 1,
                "net.ipv4.vs.expire_nodest_conn": 0,
                "net.ipv4.ip_local_port_range": " 1024\t 65000 ",
            },
            timeouts={"tcp": "15m", "udp": "2000ms"},
            syncDaemons=[{"role": "primary", "interface": "eth1", "id": 1}],
        )
    )
    state = desired.state
    assert desired.interface == "vips"
    assert [str(r.prefix) for r in state.of_type(LocalRoute)] == [
        "198.51.100.0/24",
        "2001:db8:f::/64",
    ]
    assert {s.name: s.value for s in state.of_type(Sysctl)} == {
        "net.ipv4.vs.expire_quiescent_template": "1",
        "net.ipv4.vs.expire_nodest_conn": "0",
        "net.ipv4.ip_forward": "1",
        "net.ipv4.ip_local_port_range": "1024 65000",
    }
    assert state.of_type(Timeout) == [Timeout(TimeoutName.TCP, 900), Timeout(TimeoutName.UDP, 2)]
    assert "sync-daemon primary" in state


def test_a_standby_has_everything_but_vips_and_local_routes() -> None:
    route = {"localRoutes": ["198.51.100.0/24"]}
    active = rendered(director(**route), service())
    standby = rendered(director(**route, standby=True), service())
    gone = {"203.0.113.10/32 dev gitvs0", "local 198.51.100.0/24"}
    assert set(active.state) - set(standby.state) == gone
    assert set(standby.state) <= set(active.state)


def test_persistence_counts_clients_by_the_prefix_of_each_family() -> None:
    keep = {"timeout": "5m", "ipv4Prefix": 24, "ipv6Prefix": 64}
    desired = rendered(
        service(vips=["203.0.113.10", "2001:db8::10"], realServers=[server(), V6], persistence=keep)
    )
    found = [v.persistence for v in desired.state.of_type(VirtualService)]
    assert [(p.timeout_seconds, p.prefix_length) for p in found if p] == [(300, 24), (300, 64)]


@pytest.mark.parametrize(
    ("drain", "seconds"), [("0s", 0), ("500ms", 0.5), ("2m", 120), ("1h", 3600)]
)
def test_a_drain_is_in_seconds_for_each_virtual_service(drain: str, seconds: float) -> None:
    desired = rendered(service(drain={"timeout": drain}))
    assert desired.drain_seconds == {"tcp 203.0.113.10:443": seconds}


def test_the_policy_and_the_names_of_real_servers_come_along() -> None:
    named = service(realServers=[server(name="web1"), server("10.0.3.6")])
    desired = rendered(policy(maxRemovedPercent=5), named)
    assert desired.policy.max_removed_percent == 5
    assert desired.server_names == {"tcp 203.0.113.10:443 -> 10.0.3.5:443": "web1"}


def test_every_object_knows_where_it_was_written() -> None:
    text = """\
apiVersion: gitvs/v1
kind: Director
metadata: {name: lb1}
spec:
  localRoutes:
    - 198.51.100.0/24
---
apiVersion: gitvs/v1
kind: Service
metadata: {name: web}
spec:
  vips:
    - 203.0.113.10
  ports:
    - port: 443
  realServers:
    - address: 10.0.3.5
"""
    files = [text_file("b/web.yaml", text), file_of("d.yaml", defaults(None, {"interface": "x"}))]
    desired = render_director(load_manifest_files(files), "lb1")
    assert set(desired.locations) == set(desired.state)
    assert desired.locations["local 198.51.100.0/24"] == ManifestLocation(None, "b/web.yaml", 6)
    assert desired.locations["203.0.113.10/32 dev x"] == ManifestLocation("web", "b/web.yaml", 13)
    assert desired.locations["tcp 203.0.113.10:443"] == ManifestLocation("web", "b/web.yaml", 15)
    assert desired.locations["tcp 203.0.113.10:443 -> 10.0.3.5:443"].line == 17
    assert desired.locations["dummy x"].file == "d.yaml"


def test_every_virtual_service_has_a_drain_and_every_server_a_service() -> None:
    desired = rendered(service("a"), service("b", firewallMark=7, vips=["203.0.113.11"]))
    state = desired.state
    assert set(desired.drain_seconds) == {v.key for v in state.of_type(VirtualService)}
    assert {s.service_key for s in state.of_type(RealServer)} <= set(state)


def test_two_renderings_are_equal_and_in_one_order() -> None:
    documents = [AMS, LAX, POOL, service(pools=["p"])]
    one, other = (rendered(*documents, on="lb-ams") for _ in range(2))
    assert one == other
    assert list(one.state) == list(other.state)
