"""Risk notes: what a reviewer should know, and silence about what does not change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_interface

import pytest

from gitvs.core.model.desired import Desired
from gitvs.core.model.observation import ConnectionCounts, Link, Observation, WildcardListener
from gitvs.core.model.resources import (
    AddressFamily,
    Forwarding,
    Persistence,
    Protocol,
    Resource,
    Scheduler,
    Vip,
)
from gitvs.core.model.state import State
from gitvs.core.planning.offline_proposal import propose_preview
from gitvs.core.planning.plan import Plan
from gitvs.core.planning.risks import Risk, director_risks, vip_risks
from tests.support.builders import (
    endpoint,
    firewall_mark,
    local_route,
    real_server,
    sysctl,
    update,
    vip,
    virtual_service,
)


def desired(*resources: Resource, drain_seconds: float = 60) -> Desired:
    """A director's desired state; all its services drain alike."""
    state = State(resources)
    return Desired("lb1", "gitvs0", state, dict.fromkeys(state, drain_seconds))


def notes(
    before: Desired | None, after: Desired, host: Observation | None = None
) -> dict[str, str]:
    """What is said of a step, by rule."""
    found = director_risks(before, after, propose_preview(before, after).plan, host)
    assert len({r.name for r in found}) == len(found), "what is alike is one note"
    return {r.name: r.message for r in found}


def names(before: Desired | None, after: Desired, host: Observation | None = None) -> list[str]:
    """The rules that have something to say."""
    return sorted(notes(before, after, host))


def host(
    *settings: Resource,
    listening: Iterable[WildcardListener] = (),
    connections: dict[str, ConnectionCounts] | None = None,
) -> Observation:
    """A host with 192.0.2.1/24 on eth0."""
    address = ip_interface("192.0.2.1/24")
    link = Link("eth0", "", "", True, (address.ip,), (address.network,))
    known = {real_server(address=a).key: c for a, c in (connections or {}).items()}
    links = {"eth0": link}
    return Observation(State(settings), known, links, wildcard_listeners=frozenset(listening))


FORWARDS = sysctl("net.ipv4.ip_forward", "1")
NODEST = sysctl("net.ipv4.vs.expire_nodest_conn", "1")
KEEPS_CLIENTS = sysctl("net.ipv4.vs.expire_quiescent_template", "0")
FIVE_MINUTES = Persistence(300, 32)
SSH = WildcardListener(Protocol.TCP, AddressFamily.IPV4, 22)
HTTP = replace(SSH, port=80)


def web(*addresses: str, forwarding: Forwarding = Forwarding.NAT) -> list[Resource]:
    """A bound service with these real servers."""
    servers = [real_server(address=a, forwarding=forwarding) for a in addresses]
    return [vip(), virtual_service(), *servers]


def test_real_servers_of_direct_routing_need_set_up() -> None:
    said = notes(None, desired(*web("10.0.0.1", forwarding=Forwarding.DR)))
    assert "`gitvs render --real-server 10.0.0.1`" in said["real-server-setup"]


def test_a_new_tunnel_needs_room_for_its_header() -> None:
    tunnelled = real_server(forwarding=Forwarding.TUN, port=80)
    said = notes(None, desired(virtual_service(), tunnelled))
    assert (
        "20 bytes longer in a tunnel. If the network there does not carry 1520"
        in said["tunnel-mtu"]
    )
    assert "announce an MSS of 1440" in said["tunnel-mtu"]
    direct = real_server(forwarding=Forwarding.DR, port=80)
    assert "tunnel-mtu" not in notes(None, desired(virtual_service(), direct))
    weighted = replace(tunnelled, weight=9)
    before, after = (desired(virtual_service(), s) for s in (tunnelled, weighted))
    assert "tunnel-mtu" not in notes(before, after)


def test_many_real_servers_are_one_note() -> None:
    many = [f"10.0.0.{n}" for n in range(1, 6)]
    said = notes(None, desired(*web(*many, forwarding=Forwarding.TUN)))
    assert "5 real servers (10.0.0.1, 10.0.0.2, 10.0.0.3 and 2 more)" in said["real-server-setup"]


def test_real_servers_that_stay_or_are_local_need_no_set_up() -> None:
    before = desired(*web("10.0.0.1", forwarding=Forwarding.DR))
    assert notes(before, desired(*before.state.values(), vip("203.0.113.11"))) == {}
    assert notes(None, desired(*web("127.0.0.1", forwarding=Forwarding.DR))) == {}


def vip_notes(before: dict[str, Desired], after: dict[str, Desired]) -> dict[str, str]:
    """What is said of VIPs across directors, by rule."""
    return {r.name: r.message for r in vip_risks(before, after)}


def test_a_vip_that_moves_names_both_directors() -> None:
    with_vip, without = desired(vip()), desired()
    said = vip_notes({"lb1": with_vip, "lb2": without}, {"lb1": without, "lb2": with_vip})
    assert list(said) == ["vip-moves"]
    assert "moving VIP 203.0.113.10 from lb1 to lb2" in said["vip-moves"]


def test_vips_that_move_alike_are_one_note() -> None:
    vips = desired(*(vip(f"203.0.113.{n}") for n in range(9)))
    said = vip_notes({"lb1": vips, "lb2": desired()}, {"lb1": desired(), "lb2": vips})
    assert "9 VIPs (203.0.113.0, 203.0.113.1, 203.0.113.2 and 6 more)" in said["vip-moves"]


def test_a_vip_on_more_directors_than_before_is_noted() -> None:
    with_vip = desired(vip())
    said = vip_notes({"lb1": with_vip}, {"lb1": with_vip, "lb2": with_vip})
    assert list(said) == ["vip-on-more-directors"]
    assert "binding VIP 203.0.113.10 on lb2 beside lb1." in said["vip-on-more-directors"]


def test_a_director_without_a_document_keeps_its_vips() -> None:
    said = vip_notes({"lb1": desired(vip())}, {"lb2": desired(vip())})
    assert "beside lb1 (lb1: no longer has a Director document" in said["vip-on-more-directors"]


def test_vips_that_are_new_or_stay_or_leave_are_no_risk() -> None:
    with_vip, without = desired(vip()), desired()
    assert vip_notes({"lb1": without}, {"lb1": with_vip, "lb2": with_vip}) == {}
    assert vip_notes({"lb1": with_vip}, {"lb1": with_vip}) == {}
    assert vip_notes({"lb1": with_vip, "lb2": with_vip}, {"lb1": with_vip, "lb2": without}) == {}


# NAT


def test_nat_to_a_new_real_server_needs_forwarding() -> None:
    off = sysctl(FORWARDS.name, "0")
    said = notes(None, desired(*web("10.0.0.1"), off))["nat-without-forwarding"]
    assert "needs net.ipv4.ip_forward, and it is 0" in said
    assert "nat-without-forwarding" in names(None, desired(*web("10.0.0.1")), host(off))


def test_where_forwarding_is_on_nothing_is_said_of_nat() -> None:
    wanted = desired(*web("10.0.0.1"))
    assert names(None, desired(*web("10.0.0.1"), FORWARDS)) == []
    assert names(None, wanted, host(FORWARDS)) == []
    alias = sysctl("net.ipv4.conf.all.forwarding", "1")
    assert names(None, desired(*wanted.state.values(), alias)) == []


def test_forwarding_that_nobody_knows_of_is_asked_for_once() -> None:
    first, second = desired(*web("10.0.0.1")), desired(*web("10.0.0.1", "10.0.0.2"))
    assert "no manifest sets it" in notes(None, first)["nat-without-forwarding"]
    assert names(first, second) == []


def test_forwarding_that_is_off_is_told_of_each_new_server() -> None:
    off = sysctl(FORWARDS.name, "0")
    first, second = (desired(*web(*a), off) for a in (["10.0.0.1"], ["10.0.0.1", "10.0.0.2"]))
    said = notes(first, second)["nat-without-forwarding"]
    assert "real server tcp 203.0.113.10:80 -> 10.0.0.2:8080 needs" in said


def test_forwarding_that_is_turned_off_concerns_every_server_behind_nat() -> None:
    servers = web("10.0.0.1", "10.0.0.2")
    off = desired(*servers, sysctl(FORWARDS.name, "0"))
    said = notes(desired(*servers, FORWARDS), off)["nat-without-forwarding"]
    assert "NAT to 2 real servers (" in said
    assert names(off, off) == []


def test_nat_of_ipv6_has_a_switch_of_its_own() -> None:
    where = endpoint("2001:db8::10")
    wanted = desired(virtual_service(where), real_server(where), FORWARDS)
    said = notes(None, wanted)["nat-without-forwarding"]
    assert "needs net.ipv6.conf.all.forwarding" in said


@pytest.mark.parametrize("address", ["127.0.0.1", "203.0.113.10", "198.51.100.7", "192.0.2.1"])
def test_nat_to_the_director_itself_needs_no_forwarding(address: str) -> None:
    wanted = desired(*web(address), local_route("198.51.100.0/24"))
    assert names(None, wanted, host()) == []


def test_one_packet_scheduling_with_nat_is_noted() -> None:
    dns = endpoint(port=53, protocol=Protocol.UDP)
    service = virtual_service(dns, one_packet=True)
    server = real_server(dns, port=53)
    said = notes(None, desired(service, server, FORWARDS))
    assert "udp 203.0.113.10:53 with onePacket" in said["one-packet-nat"]
    direct = desired(service, replace(server, forwarding=Forwarding.DR), FORWARDS)
    assert names(None, direct) == ["real-server-setup"]
    assert names(direct, desired(service, server, FORWARDS)) == ["one-packet-nat"]
    both = desired(service, server, FORWARDS)
    assert names(both, both) == []
    turned_on = desired(replace(service, is_one_packet=False), server, FORWARDS)
    assert names(turned_on, both) == ["one-packet-nat"]


# Connections


def test_removing_real_servers_resets_what_outlives_their_drain() -> None:
    before = desired(*web("10.0.0.1", "10.0.0.2", "10.0.0.3"), NODEST, drain_seconds=120)
    after = desired(*web("10.0.0.3"), NODEST, drain_seconds=120)
    said = notes(before, after)["breaks-connections"]
    assert "2 real servers (tcp 203.0.113.10:80 -> 10.0.0.1:8080, " in said
    assert "are reset after the drain of 2m at most." in said


def test_without_a_drain_connections_are_reset_at_once() -> None:
    before = desired(*web("10.0.0.1"), NODEST, drain_seconds=0)
    said = notes(before, desired(*web(), NODEST, drain_seconds=0))["breaks-connections"]
    assert "are reset at once, without a drain." in said


def test_the_longest_of_several_drains_is_told() -> None:
    dns = endpoint(port=53)
    before = desired(*web("10.0.0.1"), virtual_service(dns), real_server(dns), NODEST)
    drains = {virtual_service().key: 30.0, virtual_service(dns).key: 90.0}
    after = replace(desired(NODEST), drain_seconds=drains)
    assert "after the drain of 1m30s at most" in notes(before, after)["breaks-connections"]
    drains = {**drains, virtual_service().key: 0.0}
    said = notes(before, replace(after, drain_seconds=drains))["breaks-connections"]
    assert "after the drain of 1m30s at most and at once for 1 of them" in said


def test_the_connections_of_an_observed_host_are_counted() -> None:
    before, after = desired(*web("10.0.0.1", "10.0.0.2"), NODEST), desired(*web(), NODEST)
    here = host(connections={"10.0.0.1": ConnectionCounts(3, 9), "10.0.0.2": ConnectionCounts(4)})
    assert "(7 are active now)" in notes(before, after, here)["breaks-connections"]


def test_what_is_left_alone_is_not_reset() -> None:
    off = sysctl(NODEST.name, "0")
    assert names(desired(*web("10.0.0.1"), off), desired(*web(), off)) == []
    both = desired(*web("10.0.0.1"), NODEST)
    assert names(both, both) == []


def test_a_scheduler_changes_slowly_where_there_is_persistence() -> None:
    before = desired(virtual_service(persistence=FIVE_MINUTES))
    after = desired(virtual_service(scheduler=Scheduler.WRR, persistence=FIVE_MINUTES))
    assert "until they have been away for 5m" in notes(before, after)["scheduler-with-persistence"]
    plain = desired(virtual_service(scheduler=Scheduler.WRR))
    assert names(desired(virtual_service()), plain) == []
    other = desired(virtual_service(persistence=Persistence(60, 32)))
    assert names(before, other) == []


def test_a_drain_does_not_end_while_persistent_clients_are_kept() -> None:
    service = virtual_service(persistence=FIVE_MINUTES)
    before, after = desired(service, real_server(), KEEPS_CLIENTS), desired(service, KEEPS_CLIENTS)
    assert (
        "draining real server tcp 203.0.113.10:80 -> 10.0.0.1:8080 with persistence"
        in (notes(before, after)["drain-keeps-persistent-clients"])
    )
    idle = desired(service, real_server(weight=0), KEEPS_CLIENTS)
    assert names(before, idle) == ["drain-keeps-persistent-clients"]
    assert names(before, desired(KEEPS_CLIENTS)) == ["drain-keeps-persistent-clients"]


def test_a_drain_without_persistence_or_with_the_default_setting_ends() -> None:
    before, after = desired(*web("10.0.0.1"), KEEPS_CLIENTS), desired(*web(), KEEPS_CLIENTS)
    assert names(before, after) == []
    service, on = virtual_service(persistence=FIVE_MINUTES), sysctl(KEEPS_CLIENTS.name, "1")
    assert names(desired(service, real_server(), on), desired(service, on)) == []


# Addresses


ARP = sysctl("net.ipv4.conf.all.arp_ignore", "0")
NEIGHBOUR = vip("192.0.2.99")


def test_a_vip_among_neighbours_is_answered_for_by_arp() -> None:
    said = notes(None, desired(NEIGHBOUR), host(ARP))["arp-flux"]
    assert "binding VIP 192.0.2.99 in a subnet of interface eth0, where arp_ignore is 0" in said


@pytest.mark.parametrize(
    "setting",
    [sysctl(ARP.name, "1"), sysctl("net.ipv4.conf.eth0.arp_ignore", "2")],
)
def test_the_greater_arp_ignore_counts_wherever_it_is_set(setting: Resource) -> None:
    assert names(None, desired(NEIGHBOUR), host(ARP, setting)) == []
    assert names(None, desired(NEIGHBOUR, setting), host(ARP)) == []


def test_vips_elsewhere_or_bound_already_or_hosts_unknown_are_no_flux() -> None:
    assert names(None, desired(vip()), host(ARP)) == []
    assert names(desired(NEIGHBOUR), desired(NEIGHBOUR), host(ARP)) == []
    assert names(None, desired(NEIGHBOUR)) == []
    assert names(None, desired(NEIGHBOUR), host()) == []
    dummy0 = replace(host().links["eth0"], kind="dummy")
    assert names(None, desired(NEIGHBOUR), replace(host(ARP), links={"eth0": dummy0})) == []


def test_a_vip_whose_route_is_repaired_is_not_bound_anew() -> None:
    wanted = desired(NEIGHBOUR)
    plan = Plan((update(replace(NEIGHBOUR, has_route=False), NEIGHBOUR),))
    assert director_risks(wanted, wanted, plan, host(ARP)) == ()


def test_a_service_that_leaves_its_vip_leaves_it_to_the_host() -> None:
    said = notes(desired(vip(), virtual_service()), desired(vip()))["answered-by-host"]
    assert "removing virtual service tcp 203.0.113.10:80 from a VIP that stays bound" in said


def test_where_daemons_are_known_only_their_ports_are_left_to_the_host() -> None:
    before, after = desired(vip(), virtual_service()), desired(vip())
    assert names(before, after, host(listening=[SSH])) == []
    assert names(before, after, host(listening=[SSH, HTTP])) == ["answered-by-host"]


def test_a_service_that_leaves_with_its_vip_leaves_nothing_to_the_host() -> None:
    assert names(desired(vip(), virtual_service()), desired()) == []
    every_port = virtual_service(endpoint(port=0), persistence=FIVE_MINUTES)
    before = desired(vip(), virtual_service(), every_port)
    assert names(before, desired(vip(), every_port)) == []


def test_a_new_vip_has_the_open_ports_of_the_host() -> None:
    wanted = desired(vip(), virtual_service())
    said = notes(None, wanted, host(listening=[SSH, HTTP, replace(SSH, port=9100)]))
    assert "answer on the VIP too, at tcp port 22, tcp port 9100." in said["answered-by-host"]


@pytest.mark.parametrize(
    "wanted",
    [
        desired(vip(), virtual_service(endpoint(port=22))),
        desired(vip("2001:db8::10")),
        desired(vip(), virtual_service(firewall_mark())),
    ],
    ids=["served", "other family", "under a mark"],
)
def test_ports_that_are_served_or_not_known_to_be_open_are_no_risk(wanted: Desired) -> None:
    assert names(None, wanted, host(listening=[SSH])) == []


def test_a_vip_that_was_bound_before_has_no_news() -> None:
    both = desired(vip(), virtual_service())
    assert names(both, both, host(listening=[SSH])) == []


def test_a_note_points_at_its_object_where_there_is_one() -> None:
    def of(*vips: Vip) -> Risk:
        wanted = desired(*vips)
        (found,) = director_risks(None, wanted, propose_preview(None, wanted).plan, host(ARP))
        return found

    assert of(NEIGHBOUR).key == NEIGHBOUR.key
    assert of(NEIGHBOUR, vip("192.0.2.98")).key is None
