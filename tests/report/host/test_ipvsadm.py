"""Lines for ipvsadm and ip; tests/kernel/test_ipvsadm_format.py holds them against the tools."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from gitvs.core.model.resources import (
    AddressFamily,
    DummyInterface,
    Endpoint,
    FirewallMark,
    LocalRoute,
    Protocol,
    RealServer,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.report.host.ip_commands import ip_commands
from gitvs.report.host.ipvsadm import ipvsadm_lines


def tcp(address: str, port: int = 80) -> Endpoint:
    return Endpoint(Protocol.TCP, ip_address(address), port)


def addresses(*listeners: Endpoint) -> list[str]:
    return [x.split()[2] for x in ipvsadm_lines(State(VirtualService(e) for e in listeners))]


def test_thresholds_stand_at_the_end_of_the_line() -> None:
    listener = tcp("203.0.113.10", 443)
    server = RealServer(
        listener, ip_address("10.0.0.9"), 8443, 10, upper_threshold=1000, lower_threshold=800
    )
    assert list(ipvsadm_lines(State([VirtualService(listener), server]))) == [
        "-A -t 203.0.113.10:443 -s wlc",
        "-a -t 203.0.113.10:443 -r 10.0.0.9:8443 -m -w 10 -x 1000 -y 800",
    ]


def test_addresses_are_compared_by_the_sign_of_a_32_bit_difference() -> None:
    assert addresses(tcp("10.0.0.1"), tcp("203.0.113.10"), tcp("9.0.0.1")) == [
        "203.0.113.10:80",
        "9.0.0.1:80",
        "10.0.0.1:80",
    ]


def test_addresses_all_round_the_circle_ascend() -> None:
    assert addresses(tcp("192.168.204.142"), tcp("127.0.0.1"), tcp("10.0.1.0")) == [
        "10.0.1.0:80",
        "127.0.0.1:80",
        "192.168.204.142:80",
    ]


def test_the_order_does_not_depend_on_the_order_of_the_state() -> None:
    listeners = [tcp(f"{a}.0.0.1", p) for a in (10, 100, 203) for p in (80, 443)]
    assert addresses(*listeners) == addresses(*reversed(listeners))


def test_a_great_firewall_mark_is_spelled_as_ipvsadm_reads_it() -> None:
    mark = FirewallMark(4_000_000_000, AddressFamily.IPV6)
    assert list(ipvsadm_lines(State([VirtualService(mark)]))) == ["-A -f 4000000000 -6 -s wlc"]


def test_ip_commands_make_the_interface_first_and_bind_vips_last() -> None:
    state = State(
        [
            Vip(ip_address("2001:db8::10"), "gitvs0", 128),
            Vip(ip_address("203.0.113.10"), "gitvs0", 32),
            LocalRoute(ip_network("198.51.100.0/24")),
            DummyInterface("gitvs0"),
        ]
    )
    assert list(ip_commands(state)) == [
        "ip link add gitvs0 type dummy",
        "ip route add local 198.51.100.0/24 dev lo table local proto 71",
        "ip addr add 203.0.113.10/32 dev gitvs0",
        "ip addr add 2001:db8::10/128 dev gitvs0 nodad",
    ]
