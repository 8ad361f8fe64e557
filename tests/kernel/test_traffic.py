"""Packets through what gitvs made: to every real server, and back from the VIP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gitvs.core.model.observation import Counters
from gitvs.core.model.resources import Key, VirtualService
from tests.harness.lab import Lab
from tests.kernel.live import VIP, VIP6, Director, real_servers
from tests.support.manifests.writing import LEFT_OUT, director, service

pytestmark = pytest.mark.kernel

BOTH = {"rs1": 3, "rs2": 3}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def here(tmp_path: Path) -> Director:
    return Director(tmp_path)


def test_masqueraded_requests_reach_every_real_server_and_come_back_from_the_vip(
    lab: Lab, here: Director
) -> None:
    lab.serve(8080)
    here.apply(
        service(
            vips=[VIP, VIP6],
            ports=[{"port": 80, "targetPort": 8080}],
            scheduler="rr",
            realServers=real_servers(lab, versions=(4, 6)),
        )
    )
    for vip in (VIP, VIP6):
        assert lab.requests(vip, 80, 6) == BOTH
        hops = lab.trace(partial(lab.requests, vip, 80, 2))
        assert hops == {
            *lab.nat_hops(vip, 80, "rs1", 8080),
            *lab.nat_hops(vip, 80, "rs2", 8080),
        }


def counted(here: Director, at_least: int) -> dict[Key, Counters]:
    """Return the counters once the kernel has added up so many connections of a service.

    It does so every two seconds. Source: Linux net/netfilter/ipvs/ip_vs_est.c.
    """
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        counters = here.observe().counters
        if any(c.connections >= at_least for c in counters.values()):
            return dict(counters)
        time.sleep(0.2)
    raise AssertionError(f"not {at_least} connections: {counters}")


def test_connections_packets_and_bytes_are_counted_and_survive_a_change(
    lab: Lab, here: Director
) -> None:
    lab.serve(8080)
    documents = [
        service(
            vips=[VIP],
            ports=[{"port": 80, "targetPort": 8080}],
            scheduler=scheduler,
            realServers=real_servers(lab, weight=weight),
        )
        for scheduler, weight in (("rr", 1), ("wrr", 2))
    ]
    here.apply(documents[0])
    assert lab.requests(VIP, 80, 6) == BOTH
    first = counted(here, 6)
    key = Key(f"tcp {VIP}:80")
    servers = [Key(f"{key} -> {lab.address(name)}:8080") for name in ("rs1", "rs2")]
    assert [first[k].connections for k in (key, *servers)] == [6, 3, 3]
    for counters in first.values():
        least = 4 * counters.connections  # SYN, ACK, the line, FIN: each over 40 bytes with IP
        assert min(counters.packets_in, counters.packets_out) >= least
        assert min(counters.bytes_in, counters.bytes_out) >= 40 * least
    here.apply(documents[1])
    lab.requests(VIP, 80, 4)
    second = counted(here, 10)
    assert second[key].connections == 10
    assert sum(second[k].connections for k in servers) == 10


def test_directly_routed_requests_keep_the_vip_and_are_answered_past_the_director(
    lab: Lab, here: Director
) -> None:
    lab.serve(80, 53)
    lab.answer_directly(VIP, VIP6)
    here.apply(
        service(
            vips=[VIP, VIP6],
            ports=[{"port": 80}, {"port": 53, "protocol": "udp", "onePacket": True}],
            scheduler="rr",
            forwarding="dr",
            realServers=real_servers(lab, versions=(4, 6)),
        )
    )
    for vip in (VIP, VIP6):
        assert lab.requests(vip, 80, 6) == BOTH
        assert lab.requests(vip, 53, 6, "udp") == BOTH
        hops = lab.trace(partial(lab.requests, vip, 80, 2))
        assert hops == {*lab.direct_hops(vip, 80, "rs1"), *lab.direct_hops(vip, 80, "rs2")}


def test_tunnelled_requests_are_wrapped_for_the_real_server(lab: Lab, here: Director) -> None:
    lab.serve(80)
    lab.answer_tunnels(VIP, VIP6)
    here.apply(
        service(
            vips=[VIP, VIP6],
            ports=[{"port": 80}],
            scheduler="rr",
            forwarding="tun",
            tunnel={"type": "ipip"},
            realServers=real_servers(lab, versions=(4, 6)),
        )
    )
    for vip in (VIP, VIP6):
        assert lab.requests(vip, 80, 6) == BOTH
        hops = lab.trace(partial(lab.requests, vip, 80, 2))
        assert hops == {*lab.tunnel_hops(vip, 80, "rs1"), *lab.tunnel_hops(vip, 80, "rs2")}


def test_datagrams_reach_every_real_server_and_come_back_from_the_vip(
    lab: Lab, here: Director
) -> None:
    lab.serve(5353)
    here.apply(
        service(
            vips=[VIP, VIP6],
            ports=[{"port": 53, "protocol": "udp", "targetPort": 5353}],
            scheduler="rr",
            realServers=real_servers(lab, versions=(4, 6)),
        )
    )
    for vip in (VIP, VIP6):
        hops = lab.trace(partial(lab.requests, vip, 53, 6, "udp"))
        assert hops == {
            *lab.nat_hops(vip, 53, "rs1", 5353),
            *lab.nat_hops(vip, 53, "rs2", 5353),
        }


def test_a_firewall_mark_serves_every_port_of_the_addresses_that_are_marked(
    lab: Lab, here: Director
) -> None:
    lab.serve(80, 8443)
    for vip in (VIP, VIP6):
        lab.mark(vip, 77)
    here.apply(
        service(
            firewallMark=77,
            vips=[VIP, VIP6],
            scheduler="rr",
            realServers=real_servers(lab, versions=(4, 6)),
        )
    )
    for vip in (VIP, VIP6):
        assert lab.requests(vip, 80, 6) == BOTH
        assert lab.requests(vip, 8443, 6) == BOTH
        hops = lab.trace(partial(lab.requests, vip, 80, 2))
        assert hops == {*lab.nat_hops(vip, 80, "rs1", 80), *lab.nat_hops(vip, 80, "rs2", 80)}


def test_a_local_route_serves_its_whole_prefix(lab: Lab, here: Director) -> None:
    """By a firewall mark, whatever the address; by a VIP that is bound nowhere, just that one."""
    lab.serve(80)
    marked = [
        "198.51.100.1",
        "198.51.100.77",
        "198.51.100.254",
        "2001:db8:a::1",
        "2001:db8:a:0:f::",
    ]
    for address in marked:
        lab.mark(address, 9)
    assert set(lab.requests(marked[0], 80)) == {"ENETUNREACH"}
    here.apply(
        director(localRoutes=["198.51.100.0/24", "2001:db8:a::/64"]),
        service(
            "prefix",
            firewallMark=9,
            vips=LEFT_OUT,
            scheduler="rr",
            realServers=real_servers(lab, versions=(4, 6)),
        ),
        service(
            "one",
            vips=[{"address": "198.51.100.50", "bind": False}],
            ports=[{"port": 80}],
            scheduler="rr",
            realServers=real_servers(lab),
        ),
    )
    for address in marked:
        assert lab.requests(address, 80, 2) == {"rs1": 1, "rs2": 1}
    assert lab.requests("198.51.100.50", 80, 6) == BOTH
    assert lab.requests("198.51.100.51", 80) == {"refused": 1}


def test_the_addresses_that_the_host_has_anyway_are_served_and_stay(
    lab: Lab, here: Director
) -> None:
    lab.serve(80)
    node = [lab.address("director", version, "front") for version in (4, 6)]
    served = service(
        vips=LEFT_OUT,
        hostAddresses=["node"],
        ports=[{"port": 30080, "targetPort": 80}],
        scheduler="rr",
        realServers=real_servers(lab, versions=(4, 6)),
        drain={"timeout": "0s"},
    )
    here.apply(director(addresses={"node": node}), served)
    for address in node:
        assert lab.requests(address, 30080, 6) == BOTH
    here.apply(director(addresses={"node": node}), service(vips=[VIP], realServers=[]))
    assert [s.key for s in here.observe().state.of_type(VirtualService)] == [f"tcp {VIP}:443"]
    for address in node:
        assert lab.requests(address, 30080) == {"refused": 1}, "by the host, which is still there"
