"""The traffic lab: what it says of packets and connections is true."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.capture import Hop
from tests.harness.lab import Lab, run

pytestmark = pytest.mark.kernel

VIPS = {4: "192.0.2.10", 6: "2001:db8::10"}
TCP = {4: ("-t", "192.0.2.10:80"), 6: ("-t", "[2001:db8::10]:80")}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        run("ip", "link", "add", "vips", "type", "dummy")
        for vip in VIPS.values():
            run("ip", "address", "add", vip, "dev", "vips", "nodad")
        yield lab


def serve(lab: Lab, version: int, method: str, port: int) -> None:
    """Make a virtual service on port 80 of the VIP, with all real servers."""
    run("ipvsadm", "-A", *TCP[version], "-s", "rr")
    for name in lab.real_servers:
        address = lab.address(name, version)
        host = f"[{address}]" if version == 6 else address
        run("ipvsadm", "-a", *TCP[version], "-r", f"{host}:{port}", method)


def serve_datagrams(lab: Lab, version: int, method: str, *options: str) -> None:
    """Make a virtual service on UDP port 53 of the VIP, with all real servers."""
    service = f"{VIPS[version]}:53" if version == 4 else f"[{VIPS[version]}]:53"
    run("ipvsadm", "-A", "-u", service, "-s", "rr", *options)
    for name in lab.real_servers:
        address = lab.address(name, version)
        host = f"[{address}]" if version == 6 else address
        run("ipvsadm", "-a", "-u", service, "-r", f"{host}:53", method)


@pytest.mark.parametrize("version", [4, 6])
def test_masqueraded_packets_pass_the_director_both_ways(lab: Lab, version: int) -> None:
    lab.serve(8080)
    serve(lab, version, "--masquerading", 8080)
    assert lab.requests(VIPS[version], 80, 6) == {"rs1": 3, "rs2": 3}
    hops = lab.trace(lambda: lab.requests(VIPS[version], 80))
    assert hops == lab.nat_hops(VIPS[version], 80, "rs2", 8080)


@pytest.mark.parametrize("version", [4, 6])
def test_directly_routed_packets_keep_the_vip_and_skip_the_way_back(lab: Lab, version: int) -> None:
    lab.serve(80)
    lab.answer_directly(*VIPS.values())
    serve(lab, version, "--gatewaying", 80)
    assert lab.requests(VIPS[version], 80, 6) == {"rs1": 3, "rs2": 3}
    hops = lab.trace(lambda: lab.requests(VIPS[version], 80))
    assert hops == lab.direct_hops(VIPS[version], 80, "rs2")


@pytest.mark.parametrize("version", [4, 6])
def test_tunnelled_packets_are_wrapped_on_the_way_out(lab: Lab, version: int) -> None:
    lab.serve(80)
    lab.answer_tunnels(*VIPS.values())
    serve(lab, version, "--ipip", 80)
    assert lab.requests(VIPS[version], 80, 6) == {"rs1": 3, "rs2": 3}
    hops = lab.trace(lambda: lab.requests(VIPS[version], 80))
    assert hops == lab.tunnel_hops(VIPS[version], 80, "rs2")


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_are_answered_from_the_vip(lab: Lab, version: int) -> None:
    lab.serve(53)
    lab.answer_directly(*VIPS.values())
    serve_datagrams(lab, version, "--gatewaying", "--ops")
    assert lab.requests(VIPS[version], 53, 6, "udp") == {"rs1": 3, "rs2": 3}


@pytest.mark.parametrize("version", [4, 6])
def test_masqueraded_datagrams_are_answered_through_the_director(lab: Lab, version: int) -> None:
    lab.serve(53)
    serve_datagrams(lab, version, "--masquerading")
    assert lab.requests(VIPS[version], 53, 6, "udp") == {"rs1": 3, "rs2": 3}


def test_one_packet_scheduling_with_masquerading_never_gets_an_answer(lab: Lab) -> None:
    """IPVS keeps no connection, so nothing gives the answer its source address back."""
    lab.serve(53)
    serve_datagrams(lab, 4, "--masquerading", "--ops")
    hops = lab.trace(lambda: lab.requests(VIPS[4], 53, 2, "udp", timeout_seconds=0.5))
    server = f"{lab.address('rs1')}:53"
    assert Hop("client", "front", "in", server, f"{lab.address('client', 4, 'front')}:*") in hops


@pytest.mark.parametrize("version", [4, 6])
def test_marked_packets_reach_the_real_servers_of_the_mark(lab: Lab, version: int) -> None:
    lab.serve(80)
    lab.mark(VIPS[version], 77)
    listener = ("-f", "77") if version == 4 else ("-f", "77", "-6")
    run("ipvsadm", "-A", *listener, "-s", "rr")
    for name in lab.real_servers:
        address = lab.address(name, version)
        host = f"[{address}]" if version == 6 else address
        run("ipvsadm", "-a", *listener, "-r", f"{host}:0", "--masquerading")
    assert lab.requests(VIPS[version], 80, 6) == {"rs1": 3, "rs2": 3}


def test_a_client_says_what_went_wrong(lab: Lab) -> None:
    run("ipvsadm", "-A", *TCP[4], "-s", "rr")
    assert lab.requests(VIPS[4], 80) == {"refused": 1}
    run("ip", "address", "delete", f"{VIPS[4]}/32", "dev", "vips")
    run("ip", "route", "add", "blackhole", VIPS[4])
    assert lab.requests(VIPS[4], 80, timeout_seconds=0.5) == {"timed out": 1}


def test_a_connection_keeps_its_real_server(lab: Lab) -> None:
    lab.serve(80)
    serve(lab, 4, "--masquerading", 80)
    connection = lab.connect(VIPS[4], 80)
    assert [connection.ask() for _ in range(3)] == ["rs2"] * 3


def test_a_flood_loses_nothing_when_a_weight_changes(lab: Lab) -> None:
    lab.serve(80)
    serve(lab, 4, "--masquerading", 80)
    flood = lab.flood(VIPS[4], 80)
    flood.run(20)
    run("ipvsadm", "-e", *TCP[4], "-r", f"{lab.address('rs1')}:80", "--masquerading", "-w", "0")
    flood.run(20)
    report = flood.stop()
    assert report.lost == {}
    assert report.attempts >= 40
    assert report.exchanges >= 40 * report.long_lived


def test_a_flood_notices_a_service_that_is_deleted_and_added_again(lab: Lab) -> None:
    lab.serve(80)
    serve(lab, 4, "--masquerading", 80)
    lab.set_sysctls("director", {"net.ipv4.vs.expire_nodest_conn": "1"})
    flood = lab.flood(VIPS[4], 80)
    for _ in range(5):
        run("ipvsadm", "-D", *TCP[4])
        flood.run(2)
        serve(lab, 4, "--masquerading", 80)
        flood.run(1)
    report = flood.stop()
    assert report.failures["refused"] + report.failures["reset"] >= 5
    assert report.broken == {"reset": report.long_lived}
