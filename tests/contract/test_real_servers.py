"""Real servers: every attribute, and every answer."""

from __future__ import annotations

import errno

import pytest

from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resources import (
    AddressFamily,
    Forwarding,
    Listener,
    RealServer,
    Tunnel,
    TunnelChecksum,
    TunnelType,
)
from gitvs.core.model.state import State
from tests.contract.host import Host
from tests.support.builders import (
    WEB,
    WEB6,
    create,
    creates,
    delete,
    dummy,
    endpoint,
    firewall_mark,
    local_route,
    real_server,
    update,
    vip,
    virtual_service,
)

MARK = firewall_mark()
MARK6 = firewall_mark(family=AddressFamily.IPV6)
DR, TUN = Forwarding.DR, Forwarding.TUN
TUNNELS = [
    Tunnel(),
    *(Tunnel(TunnelType.GUE, port, c) for port in (1, 65535) for c in TunnelChecksum),
    *(Tunnel(TunnelType.GRE, 0, c) for c in (TunnelChecksum.NONE, TunnelChecksum.FULL)),
]
ODD_TUNNELS = [
    Tunnel(TunnelType.IPIP, 5, TunnelChecksum.FULL),
    Tunnel(TunnelType.GRE, 5, TunnelChecksum.REMOTE),
]

ATTRIBUTES = {
    "nat": real_server(),
    "nat over ipv6": real_server(WEB6),
    "nat for a mark": real_server(MARK),
    "dr": real_server(port=80, forwarding=DR),
    "dr over ipv6": real_server(WEB6, port=80, forwarding=DR),
    "dr for a mark": real_server(MARK6, port=0, forwarding=DR),
    "weight 0": real_server(weight=0),
    "weight 65535": real_server(weight=65535),
    "upper threshold": real_server(upper_threshold=1000),
    "both thresholds": real_server(upper_threshold=1000, lower_threshold=800),
    "equal thresholds": real_server(upper_threshold=1, lower_threshold=1),
    "highest threshold": real_server(upper_threshold=2**32 - 1, lower_threshold=2**31),
    "lowest port": real_server(port=0),
    "highest port": real_server(port=65535),
    "tunnel for a mark": real_server(MARK, port=0, forwarding=TUN, tunnel=Tunnel()),
    "tunnel to ipv6": real_server(WEB, "2001:db8::1", 80, forwarding=TUN, tunnel=Tunnel()),
    "tunnel to ipv4": real_server(WEB6, "10.0.0.1", 80, forwarding=TUN, tunnel=Tunnel()),
    "tunnel to ipv6 for a mark": real_server(
        MARK, "2001:db8::1", 0, forwarding=TUN, tunnel=Tunnel(TunnelType.GUE, 6080)
    ),
    **{
        f"tunnel {n}": real_server(port=80, forwarding=TUN, tunnel=t)
        for n, t in enumerate([*TUNNELS, *ODD_TUNNELS])
    },
    **{
        f"tunnel over ipv6 {n}": real_server(WEB6, port=80, forwarding=TUN, tunnel=t)
        for n, t in enumerate(TUNNELS)
    },
}


def test_every_attribute_is_read_back_as_written(host: Host) -> None:
    for server in ATTRIBUTES.values():
        service = virtual_service(server.listener)
        host.do(*creates(service, server))
        assert host.rules() == State([service, server])
        host.do(delete(service))


def test_every_attribute_is_set_in_place_and_taken_away_again(host: Host) -> None:
    for server in ATTRIBUTES.values():
        service = virtual_service(server.listener)
        crosses = server.address.version != (4 if server.listener.family == "ipv4" else 6)
        plain = real_server(
            server.listener,
            str(server.address),
            server.port,
            forwarding=TUN if crosses else DR,
            tunnel=Tunnel() if crosses else None,
        )
        host.do(create(service), create(plain))
        for before, after in ((plain, server), (server, plain)):
            if before != after:
                host.do(update(before, after))
        assert host.rules() == State([service, plain])
        host.do(delete(service))


ODD = {
    "weight 70000": real_server(weight=70000),
    "highest weight": real_server(weight=2**31 - 1),
    "dr to another port": real_server(forwarding=DR),
    "unspecified tunnel": real_server(forwarding=TUN),
    "a network's own address": real_server(address="10.0.0.0"),
    "this network": real_server(address="0.1.2.3"),
    "a class E address": real_server(address="240.0.0.1"),
    "the director": real_server(address="127.0.0.1"),
    "the director by dr": real_server(address="127.0.0.1", forwarding=DR),
    "the director over ipv6": real_server(WEB6, "::1"),
    "the virtual service itself": real_server(address="203.0.113.10", port=80),
    "a compatible ipv6 address": real_server(WEB6, "::10.0.0.1"),
    "a site-local ipv6 address": real_server(WEB6, "fec0::1"),
}


def test_nonsense_that_the_kernel_accepts_is_accepted(host: Host) -> None:
    host.do(*creates(dummy(), vip(), virtual_service(), virtual_service(WEB6)))
    for server in ODD.values():
        host.do(create(server))
        if server.forwarding is not TUN:
            host.holds(server)
        host.do(delete(server))


def test_a_tunnel_without_a_type_is_ipip(host: Host) -> None:
    host.do(create(virtual_service()), create(real_server(forwarding=TUN)))
    host.holds(real_server(forwarding=TUN, tunnel=Tunnel()))


def test_a_tunnel_of_a_server_that_is_not_tunnelled_is_forgotten(host: Host) -> None:
    host.do(create(virtual_service()))
    host.do(create(real_server(tunnel=Tunnel(TunnelType.GUE, 6080))))
    host.holds(real_server())
    host.refuse(errno.EINVAL, create(real_server(port=1, tunnel=Tunnel(TunnelType.GUE))))


def test_a_real_server_that_exists_is_not_made_again(host: Host) -> None:
    host.do(*creates(virtual_service(), real_server()))
    host.refuse(errno.EEXIST, create(real_server(weight=9)))
    host.holds(real_server())


def test_a_missing_real_server_is_neither_set_nor_deleted(host: Host) -> None:
    host.do(create(virtual_service()))
    host.refuse(errno.ENOENT, update(real_server(), real_server(weight=2)))
    host.refuse(errno.ENOENT, delete(real_server()))
    host.lacks(real_server())


def test_a_real_server_of_a_missing_service_is_refused_whatever_else_is_wrong(host: Host) -> None:
    for server in (real_server(), *REFUSED.values()):
        host.refuse(errno.ESRCH, create(server))
        host.refuse(errno.ESRCH, update(real_server(weight=9), server))
        host.refuse(errno.ESRCH, delete(server))


INVALID, RANGE = errno.EINVAL, errno.ERANGE
REFUSED = {
    "weight below 0": real_server(weight=2**31),
    "weight -1": real_server(weight=2**32 - 1),
    "thresholds crossed": real_server(upper_threshold=1, lower_threshold=2),
    "lower threshold alone": real_server(lower_threshold=1),
    "gue to port 0": real_server(port=80, forwarding=TUN, tunnel=Tunnel(TunnelType.GUE)),
    "nat across families": real_server(WEB, "2001:db8::1"),
    "dr across families": real_server(WEB6, "10.0.0.1", forwarding=DR),
}


def test_what_is_out_of_range_is_refused_and_changes_nothing(host: Host) -> None:
    for name, server in REFUSED.items():
        code = RANGE if "weight" in name or "threshold" in name else INVALID
        host.do(create(virtual_service(server.listener)))
        host.refuse(code, create(server))
        host.refuse(code, update(real_server(weight=9), server))
        assert host.rules() == State([virtual_service(server.listener)])
        host.do(delete(virtual_service(server.listener)))


UNREACHABLE: list[tuple[Listener, str]] = [
    *((WEB, a) for a in ("0.0.0.0", "224.0.0.1", "239.255.255.255")),
    *((WEB, a) for a in ("255.255.255.255", "127.255.255.255")),
    *((WEB6, a) for a in ("::", "ff02::1", "fe80::1", "::ffff:10.0.0.1")),
    *((MARK, a) for a in ("224.0.0.1", "0.0.0.0")),
]


@pytest.mark.parametrize(("listener", "address"), UNREACHABLE)
def test_an_address_that_no_packet_reaches_is_refused(
    host: Host, listener: Listener, address: str
) -> None:
    host.do(create(virtual_service(listener)))
    host.refuse(errno.EINVAL, create(real_server(listener, address)))


def test_a_tunnel_across_families_is_no_way_round_that(host: Host) -> None:
    host.do(create(virtual_service()))
    for address in ("ff02::1", "fe80::1", "::"):
        host.refuse(INVALID, create(real_server(WEB, address, forwarding=TUN)))


def test_a_broadcast_address_of_a_link_that_is_up_is_refused(host: Host) -> None:
    host.add_link("up0", addresses=["192.0.2.1/24", "198.51.100.0/31"])
    host.add_link("dn0", addresses=["192.0.3.1/24"], is_up=False)
    host.do(create(virtual_service()))
    host.refuse(INVALID, create(real_server(address="192.0.2.255")))
    for address in ("192.0.2.0", "192.0.2.254", "198.51.100.1", "198.51.100.0", "192.0.3.255"):
        host.do(create(real_server(address=address)))


def test_a_local_route_makes_addresses_reachable_that_were_not(host: Host) -> None:
    host.do(*creates(virtual_service(), virtual_service(WEB6)))
    for prefix, listener, address in (
        ("192.0.2.0/24", WEB, "192.0.2.255"),
        ("fe80:1::/64", WEB6, "fe80:1::1"),
        ("::ffff:0:0/96", WEB6, "::ffff:10.0.0.1"),
    ):
        host.do(create(local_route(prefix)), create(real_server(listener, address)))


def test_a_multicast_address_stays_refused_in_a_local_route(host: Host) -> None:
    host.do(create(virtual_service()), create(local_route("224.0.0.0/8")))
    host.refuse(INVALID, create(real_server(address="224.0.0.1")))


def test_the_same_server_with_another_port_or_service_is_another(host: Host) -> None:
    second = endpoint(port=443)
    servers = [real_server(), real_server(port=8081), real_server(second)]
    host.do(*creates(virtual_service(), virtual_service(second), *servers))
    host.do(delete(servers[0]))
    host.holds(*servers[1:])
    host.lacks(servers[0])


def test_a_real_server_is_identified_without_its_attributes(host: Host) -> None:
    host.do(*creates(virtual_service(), real_server(weight=5, upper_threshold=9)))
    host.do(update(real_server(), real_server(weight=2)))
    host.holds(real_server(weight=2))
    host.do(delete(real_server(weight=7, forwarding=DR)))
    host.lacks(real_server())


def test_a_server_of_another_family_can_be_deleted_whatever_is_said_of_it(host: Host) -> None:
    crossing = real_server(WEB, "2001:db8::1", forwarding=TUN, tunnel=Tunnel())
    host.do(*creates(virtual_service(), crossing))
    host.refuse(INVALID, update(crossing, real_server(WEB, "2001:db8::1")))
    host.do(delete(real_server(WEB, "2001:db8::1")))
    host.lacks(crossing)


def test_a_deleted_real_server_can_be_made_again(host: Host) -> None:
    host.do(*creates(virtual_service(), real_server(weight=3, upper_threshold=5)))
    host.do(delete(real_server()), create(real_server(weight=4)))
    host.holds(real_server(weight=4))


def test_connections_are_counted_for_each_real_server(host: Host) -> None:
    servers: list[RealServer] = [real_server(), real_server(port=1)]
    host.do(*creates(virtual_service(), *servers))
    assert host.observe().connections == {s.key: ConnectionCounts() for s in servers}
    host.do(delete(virtual_service()))
    assert host.observe().connections == {}


def test_counters_begin_at_zero_for_each_virtual_service_and_real_server(host: Host) -> None:
    rules = [virtual_service(), real_server(), virtual_service(WEB6), real_server(WEB6)]
    host.do(*creates(*rules))
    assert host.observe().counters == {r.key: Counters() for r in rules}
    host.do(delete(virtual_service()))
    assert host.observe().counters == {r.key: Counters() for r in rules[2:]}
