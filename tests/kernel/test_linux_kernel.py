"""`LinuxKernel` on a real kernel: what was written is read back, and refusals are explained."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import NoReturn

import pytest

from gitvs.adapters.linux.ipvs import Ipvs
from gitvs.adapters.linux.ipvs_codec import requests
from gitvs.adapters.linux.ipvs_codec.numbers import Payload
from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.adapters.linux.netlink import NETLINK_GENERIC, Netlink, Request
from gitvs.adapters.linux.rtnetlink import Rtnetlink
from gitvs.core.errors import KernelUnavailable, KernelUnreadable
from gitvs.core.model.observation import ConnectionCounts, Observation, Scope
from gitvs.core.model.resources import (
    DummyInterface,
    Endpoint,
    ForeignName,
    Forwarding,
    LocalRoute,
    Persistence,
    PersistenceEngine,
    RealServer,
    Resource,
    Scheduler,
    SchedulerFlag,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Timeout,
    TimeoutName,
    Tunnel,
    TunnelType,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.kernel_refusals import errno_name
from gitvs.core.planning.plan import Change, Phase
from gitvs.ports import WriteResult, WriteStatus
from tests.support.builders import sync_daemon
from tests.support.ipvsadm_lines import DNS, EVERYTHING, SIP, WEB, WEB6, server, tunnelled

pytestmark = pytest.mark.kernel

CLONE_NEWNET = 0x40000000

DUMMY = DummyInterface("gitvs0")
VIP = Vip(ip_address("192.0.2.7"), "gitvs0", 32)
VIP6 = Vip(ip_address("2001:db8::7"), "gitvs0", 128)
SCOPE = Scope(frozenset({"gitvs0"}))


def run(command: str) -> str:
    """Run one command and return what it printed."""
    done = subprocess.run(command.split(), check=True, capture_output=True, text=True)
    return done.stdout


def kernel() -> LinuxKernel:
    return LinuxKernel("gitvs:test")


def enter_bare_namespace() -> None:
    """Move this process, the test's own, into a namespace whose `lo` was never up."""
    assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0


def create(*resources: Resource) -> list[Change]:
    return [Change(None, resource, Phase.MAKE) for resource in resources]


def delete(*resources: Resource) -> list[Change]:
    return [Change(resource, None, Phase.BREAK) for resource in resources]


def put(before: Resource, after: Resource) -> Change:
    return Change(before, after, Phase.MODIFY)


def write(*changes: Change) -> None:
    """Write changes, all of which must be done."""
    outcomes = kernel().execute(changes)
    assert [o.change for o in outcomes] == list(changes)
    assert [o.message for o in outcomes if o.status is not WriteStatus.DONE] == []


def refusal(*changes: Change) -> WriteResult:
    """Write changes, of which only the last is refused, and return that refusal."""
    outcomes = kernel().execute(changes)
    assert [o.status for o in outcomes] == [
        *[WriteStatus.DONE] * (len(changes) - 1),
        WriteStatus.REFUSED,
    ]
    return outcomes[-1]


def observe(scope: Scope = SCOPE) -> Observation:
    return kernel().observe(scope)


def rules(observation: Observation) -> State:
    state = observation.state
    return State([r for r in state.values() if isinstance(r, VirtualService | RealServer)])


def canonical(lines: str | Iterable[str]) -> list[str]:
    """Return lines of ipvsadm in an order that does not depend on the kernel's table."""
    lines = lines.splitlines() if isinstance(lines, str) else lines
    return sorted(line.rstrip() for line in lines)


def test_what_was_written_is_read_back_equal_and_is_what_ipvsadm_reads() -> None:
    resources = [resource for resource, _ in EVERYTHING]
    write(*create(*resources))
    assert rules(observe()) == State(resources)
    assert canonical(run("ipvsadm -Sn")) == canonical(line for _, line in EVERYTHING)


def test_a_first_reading_finds_what_it_expects_by_the_bytes_that_the_kernel_writes() -> None:
    expected = State([resource for resource, _ in EVERYTHING])
    write(*create(*expected.values()))
    found = observe(replace(SCOPE, expected=expected)).state
    assert [key for key, rule in expected.items() if found[key] is not rule] == []


def test_what_ipvsadm_wrote_is_read_as_what_gitvs_would_have_written() -> None:
    for _, line in EVERYTHING:
        run(f"ipvsadm {line}")
    observation = observe()
    assert rules(observation) == State([resource for resource, _ in EVERYTHING])
    assert observation.unknown_objects == frozenset()


def test_every_scheduler_of_this_kernel_can_be_set_and_read_back() -> None:
    missing = observe().missing_schedulers
    services = [
        VirtualService(replace(WEB, port=1000 + n), scheduler)
        for n, scheduler in enumerate(Scheduler)
        if scheduler not in missing
    ]
    write(*create(*services))
    assert rules(observe()) == State(services)
    assert len(services) >= 13


def test_a_scheduler_reported_missing_is_refused() -> None:
    for scheduler in observe().missing_schedulers:
        refused = refusal(*create(VirtualService(WEB, scheduler)))
        assert refused.errno == errno.ENOENT


def test_thresholds_are_set_read_back_and_taken_away() -> None:
    limited = replace(server(WEB), upper_threshold=1000, lower_threshold=800)
    write(*create(VirtualService(WEB), limited))
    assert rules(observe())[limited.key] == limited
    assert "1000       800" in run("ipvsadm -Ln --thresholds")
    write(put(limited, server(WEB)))
    assert rules(observe())[limited.key] == server(WEB)


def test_setting_a_service_takes_away_what_it_no_longer_has() -> None:
    before = VirtualService(
        SIP,
        Scheduler.SH,
        frozenset({SchedulerFlag.SH_FALLBACK, SchedulerFlag.SH_PORT}),
        is_one_packet=True,
        persistence=Persistence(90, 24, PersistenceEngine.SIP),
    )
    after = VirtualService(SIP, Scheduler.MH)
    write(*create(before))
    assert rules(observe()) == State([before])
    write(put(before, after))
    assert rules(observe()) == State([after])


def test_setting_a_real_server_takes_its_tunnel_away() -> None:
    before = tunnelled(WEB, "10.0.0.4", TunnelType.GUE, 6080, "remote")
    after = replace(before, forwarding=Forwarding.DR, tunnel=None, weight=3)
    write(*create(VirtualService(WEB), before), put(before, after))
    assert rules(observe())[after.key] == after


@pytest.mark.parametrize("forwarding", list(Forwarding))
@pytest.mark.parametrize(
    ("listener", "address"),
    [(WEB, "127.0.0.1"), (WEB, "192.0.2.7"), (WEB6, "::1"), (WEB6, "2001:db8::7")],
)
def test_a_real_server_on_a_local_address_is_read_back_as_written(
    forwarding: Forwarding, listener: Endpoint, address: str
) -> None:
    tunnel = Tunnel() if forwarding is Forwarding.TUN else None
    local = replace(server(listener, address), forwarding=forwarding, tunnel=tunnel)
    write(*create(DUMMY, VIP, VIP6, VirtualService(listener), local))
    assert rules(observe())[local.key] == local


def test_a_scheduler_without_a_word_is_observed_and_put_back() -> None:
    run("ipvsadm -A -t 192.0.2.7:80 -s none")
    foreign = VirtualService(WEB, ForeignName("none"))
    assert rules(observe()) == State([foreign])
    write(put(foreign, VirtualService(WEB)), put(VirtualService(WEB), foreign))
    assert rules(observe()) == State([foreign])


def send(payload: bytes) -> None:
    with Ipvs() as ipvs:
        assert (
            ipvs.execute_groups([[(Payload(payload), frozenset())]])[0].status is WriteStatus.DONE
        )


def test_a_service_of_another_protocol_is_reported_and_left_out() -> None:
    tcp, icmp = (bytes((6, 0, 2, 0, number, 0)) for number in (6, 1))
    payload = requests.new_service(VirtualService(WEB))
    assert payload.count(tcp) == 1
    send(payload.replace(tcp, icmp))
    observation = observe()
    assert rules(observation) == State()
    assert observation.unknown_objects == {"protocol 1 192.0.2.7:80"}


@pytest.mark.parametrize("method", [1, 4])
def test_a_forwarding_method_of_the_kernel_s_own_is_reported_and_left_out(method: int) -> None:
    write(*create(VirtualService(WEB)))
    nat, other = (bytes((8, 0, 3, 0, number, 0, 0, 0)) for number in (0, method))
    send(requests.new_real_server(server(WEB)).replace(nat, other))
    observation = observe()
    assert rules(observation) == State([VirtualService(WEB)])
    assert observation.unknown_objects == {
        f"tcp 192.0.2.7:80 -> 10.0.0.1:80 (forwarding method {method})"
    }


def test_connections_are_counted_apart_from_the_real_server() -> None:
    write(*create(VirtualService(WEB), server(WEB)))
    assert observe().connections == {server(WEB).key: ConnectionCounts()}


def test_timeouts_are_set_one_by_one() -> None:
    write(put(Timeout(TimeoutName.TCP, 900), Timeout(TimeoutName.TCP, 800)))
    write(put(Timeout(TimeoutName.UDP, 300), Timeout(TimeoutName.UDP, 200)))
    assert run("ipvsadm -Ln --timeout").split()[-3:] == ["800", "120", "200"]
    assert observe().state.of_type(Timeout) == [
        Timeout(TimeoutName.TCP, 800),
        Timeout(TimeoutName.TCP_FIN, 120),
        Timeout(TimeoutName.UDP, 200),
    ]


def uplink() -> None:
    run("ip link add up0 type dummy")
    run("ip address add 10.9.0.1/24 dev up0")
    run("ip link set up0 up")


def test_a_sync_daemon_is_started_replaced_and_stopped() -> None:
    uplink()
    first, second = sync_daemon(SyncRole.PRIMARY, "up0", 1), sync_daemon(SyncRole.PRIMARY, "up0", 2)
    backup = sync_daemon(SyncRole.BACKUP, "up0", 255)
    write(*create(first, backup))
    assert observe().state.of_type(SyncDaemon) == [first, backup]
    write(put(first, second))
    assert observe().state.of_type(SyncDaemon) == [second, backup]
    write(*delete(second, backup))
    assert observe().state.of_type(SyncDaemon) == []


def test_replacing_a_sync_daemon_that_stopped_starts_it() -> None:
    uplink()
    write(put(sync_daemon(SyncRole.PRIMARY, "up0", 1), sync_daemon(SyncRole.PRIMARY, "up0", 2)))
    assert observe().state.of_type(SyncDaemon) == [sync_daemon(SyncRole.PRIMARY, "up0", 2)]


def test_the_dummy_interface_is_made_down_with_its_mark() -> None:
    write(*create(DUMMY))
    observation = observe()
    link = observation.links["gitvs0"]
    assert (link.kind, link.alias, link.is_up) == ("dummy", "gitvs:test", False)
    assert observation.state.of_type(DummyInterface) == [DUMMY]
    write(*delete(DUMMY))
    assert "gitvs0" not in observe().links


def test_an_interface_of_another_kind_is_a_link_but_no_dummy() -> None:
    run("ip link add gitvs0 type veth peer name other")
    observation = observe()
    assert observation.links["gitvs0"].kind == "veth"
    assert observation.state.of_type(DummyInterface) == []


@pytest.mark.parametrize("state", ["down", "up"])
def test_addresses_get_their_route_and_leave_with_it(state: str) -> None:
    write(*create(DUMMY))
    run(f"ip link set gitvs0 {state}")
    write(*create(VIP, VIP6))
    assert observe().state.of_type(Vip) == [VIP, VIP6]
    assert observe().links["gitvs0"].is_up == (state == "up")
    assert "local 192.0.2.7 dev gitvs0 proto kernel scope host src 192.0.2.7" in run(
        "ip -4 route show table local"
    )
    assert "local 2001:db8::7 dev gitvs0 proto kernel" in run("ip -6 route show table local")
    write(*delete(VIP, VIP6))
    assert observe().state.of_type(Vip) == []
    assert "gitvs0" not in run("ip -4 route show table all type local")
    assert "2001:db8::7" not in run("ip -6 route show table all")


def test_an_address_needs_no_duplicate_address_detection() -> None:
    write(*create(DUMMY))
    run("ip link set gitvs0 up")
    write(*create(VIP6))
    assert "nodad" in run("ip -6 address show dev gitvs0 to 2001:db8::7")
    assert "tentative" not in run("ip -6 address show dev gitvs0")


def test_a_reading_that_fails_after_sending_makes_a_route_unknown_and_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: Rtnetlink) -> NoReturn:
        raise KernelUnreadable("the kernel changed while it was read, 5 times in a row")

    write(*create(DUMMY))
    with monkeypatch.context() as busy:
        busy.setattr(Rtnetlink, "read_ipv6_vips", fail)
        results = LinuxKernel("").execute(create(VIP, VIP6))
    assert [r.status for r in results] == [WriteStatus.DONE, WriteStatus.UNKNOWN]
    assert sorted(v.key for v in observe().state.of_type(Vip)) == [VIP.key, VIP6.key]


def test_a_routing_that_can_be_read_again_in_time_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, failures = Rtnetlink.read_ipv6_vips, [OSError("once"), KernelUnreadable("twice")]

    def fail_at_first(routing: Rtnetlink) -> list[Vip]:
        if failures:
            raise failures.pop()
        return read(routing)

    write(*create(DUMMY))
    monkeypatch.setattr(Rtnetlink, "read_ipv6_vips", fail_at_first)
    [result] = LinuxKernel("").execute(create(VIP6))
    assert (result.status, failures) == (WriteStatus.DONE, [])


def test_no_socket_is_unknown_and_no_refusal_of_the_change() -> None:
    write(*create(DUMMY))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    results = LinuxKernel("").execute(create(VIP, VirtualService(WEB, Scheduler.RR)))
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    assert {r.status for r in results} == {WriteStatus.UNKNOWN}
    assert "Too many open files" in results[0].message


def test_a_stranger_s_address_is_observed_with_its_prefix_length() -> None:
    write(*create(DUMMY))
    run("ip address add 198.51.100.9/24 dev gitvs0")
    strange = Vip(ip_address("198.51.100.9"), "gitvs0", 24)
    assert observe().state.of_type(Vip) == [strange]
    write(*delete(strange))
    assert observe().state.of_type(Vip) == []


@pytest.mark.parametrize("vip", [VIP, VIP6])
@pytest.mark.parametrize("state", ["down", "up"])
def test_a_lost_route_is_noticed_repaired_and_goes_with_its_address(vip: Vip, state: str) -> None:
    write(*create(DUMMY))
    run(f"ip link set gitvs0 {state}")
    write(*create(VIP, VIP6))
    run(f"ip route del local {vip.address} dev gitvs0 table local")
    broken = replace(vip, has_route=False)
    assert broken in observe().state.of_type(Vip)
    write(put(broken, vip))
    assert sorted(v.key for v in observe().state.of_type(Vip) if v.has_route) == [VIP.key, VIP6.key]
    write(*delete(vip))
    assert f"local {vip.address}" not in run("ip route show table local") + run(
        "ip -6 route show table local"
    )


@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_a_repair_can_be_undone(vip: Vip) -> None:
    write(*create(DUMMY, vip))
    broken = replace(vip, has_route=False)
    write(put(vip, broken))
    assert observe().state.of_type(Vip) == [broken]


def test_a_repair_leaves_the_route_that_another_interface_has_for_the_address() -> None:
    uplink()
    run("ip address add 192.0.2.7/32 dev up0")
    write(*create(DUMMY, VIP))
    run("ip route del local 192.0.2.7 dev gitvs0 table local")
    write(put(replace(VIP, has_route=False), VIP))
    routes = run("ip route show table local").splitlines()
    assert [r.split(" proto")[0] for r in routes if "192.0.2.7" in r] == [
        "local 192.0.2.7 dev up0",
        "local 192.0.2.7 dev gitvs0",
    ]


def test_a_route_with_another_source_is_not_the_kernel_s() -> None:
    write(*create(DUMMY, VIP))
    run("ip route replace local 192.0.2.7 dev gitvs0 table local src 127.0.0.1")
    observation = observe()
    assert observation.state.of_type(Vip) == [replace(VIP, has_route=False)]
    assert observation.foreign_routes == {ip_network("192.0.2.7/32")}
    write(put(replace(VIP, has_route=False), VIP))
    assert observe().state.of_type(Vip) == [VIP]


@pytest.mark.parametrize("wrong", ["src 127.0.0.1", ""])
def test_a_route_of_protocol_kernel_without_its_source_is_not_the_kernel_s(
    wrong: str,
) -> None:
    write(*create(DUMMY, VIP))
    run("ip route del local 192.0.2.7 dev gitvs0 table local")
    run(f"ip route add local 192.0.2.7 dev gitvs0 table local proto kernel {wrong}")
    assert observe().state.of_type(Vip) == [replace(VIP, has_route=False)]
    write(put(replace(VIP, has_route=False), VIP))
    assert observe().state.of_type(Vip) == [VIP]


def test_link_local_addresses_that_the_kernel_makes_are_left_out() -> None:
    write(*create(DUMMY))
    run("ip link set gitvs0 up")
    observation = observe()
    assert observation.state.of_type(Vip) == []
    assert [a.is_link_local for a in observation.links["gitvs0"].addresses] == [True]


ROUTES = [LocalRoute(ip_network("198.51.100.0/24")), LocalRoute(ip_network("2001:db8:a::/64"))]


def test_local_routes_are_made_read_back_and_removed() -> None:
    write(*create(*ROUTES))
    assert observe().state.of_type(LocalRoute) == ROUTES
    assert "local 198.51.100.0/24 dev lo proto 71 scope host" in run("ip route show table local")
    assert "local 2001:db8:a::/64 dev lo proto 71" in run("ip -6 route show table local")
    write(*delete(*ROUTES))
    assert observe().state.of_type(LocalRoute) == []


@pytest.mark.parametrize("prefix", ["198.51.100.0/24", "2001:db8:a::/64"])
def test_a_stranger_s_local_route_is_foreign_and_neither_taken_nor_removed(prefix: str) -> None:
    run(f"ip route add local {prefix} dev lo table local")
    route = LocalRoute(ip_network(prefix))
    assert observe().foreign_routes == {route.prefix}
    assert observe().state.of_type(LocalRoute) == []
    if route.prefix.version == 4:
        assert refusal(*create(route)).errno == errno.EEXIST
    assert refusal(*delete(route)).errno == errno.ESRCH
    assert observe().foreign_routes == {route.prefix}


def test_gateways_of_all_routes_are_found() -> None:
    uplink()
    run("ip route add default via 10.9.0.254")
    run("ip route add 10.77.0.0/16 nexthop via 10.9.0.7 nexthop via 10.9.0.8")
    run("ip route add 10.78.0.0/16 via inet6 fe80::1 dev up0")
    run("ip route add 10.79.0.0/16 via 10.9.0.9 table 100")
    run("ip -6 route add 2001:db8:f::/48 via fe80::9 dev up0")
    gateways = {"10.9.0.254", "10.9.0.7", "10.9.0.8", "fe80::1", "10.9.0.9", "fe80::9"}
    assert observe().gateways == {ip_address(gateway) for gateway in gateways}


def test_foreign_routes_are_read_only_for_their_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    """A director with the routes of the whole Internet is observed at the cost of one with none."""
    counts: list[int] = []
    dump = Netlink.dump

    def count(netlink: Netlink, type_: int, payload: bytes) -> list[bytes]:
        found = dump(netlink, type_, payload)
        counts.append(len(found))
        return found

    def messages(scope: Scope) -> int:
        counts.clear()
        assert observe(scope).state.of_type(LocalRoute) == ROUTES
        return sum(counts)

    uplink()
    run("ip -6 address add 2001:db8:9::1/64 dev up0 nodad")
    write(*create(*ROUTES))
    monkeypatch.setattr(Netlink, "dump", count)
    without_gateways = replace(SCOPE, includes_gateways=False)
    before, before_all = messages(without_gateways), messages(SCOPE)
    routes = [
        f"route add 11.{n // 250}.{n % 250}.0/24 via 10.9.0.254 proto 186" for n in range(1000)
    ]
    routes += [f"route add 2a00:{n:x}::/32 via 2001:db8:9::fe proto 186" for n in range(1000)]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(routes), text=True, check=True)
    assert messages(without_gateways) == before
    assert messages(SCOPE) == before_all + 2000
    assert observe().gateways == {ip_address("10.9.0.254"), ip_address("2001:db8:9::fe")}
    assert observe(without_gateways).gateways == frozenset()


def test_what_reads_watches_and_writes_rules_goes_without_the_library_for_routes() -> None:
    write(*create(DUMMY))
    code = (
        "import sys\n"
        "from tests.kernel.test_linux_kernel import WEB, create, kernel, observe, write\n"
        "from gitvs.core.model.resources import VirtualService\n"
        "from gitvs.adapters.linux.kernel_events import KernelEvents\n"
        "KernelEvents({'gitvs0'}, print)\n"
        "observe()\n"
        "write(*create(VirtualService(WEB)))\n"
        "kernel().write_witness(7)\n"
        "print('pyroute2' in sys.modules, kernel().read_witness())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False 7\n"


def test_a_namespace_with_nothing_in_it_is_observed_as_empty() -> None:
    enter_bare_namespace()
    observation = observe()
    assert {type(r) for r in observation.state.values()} == {Timeout}
    assert (observation.gateways, observation.foreign_routes) == (frozenset(), frozenset())


def test_sysctls_are_read_in_canonical_form_and_absent_where_they_cannot_be() -> None:
    uplink()
    run("ip link add link up0 name up0.100 type vlan id 100")
    names = {
        "net.ipv4.vs.sync_threshold",
        "net.ipv4.conf.up0/100.forwarding",
        "net.ipv4.route.flush",
        "net.ipv4.no_such_thing",
        "net.//.//.kernel.hostname",
    }
    found = observe(Scope(sysctls=frozenset(names))).state.of_type(Sysctl)
    assert found == [
        Sysctl("net.ipv4.conf.up0/100.forwarding", "0"),
        Sysctl("net.ipv4.vs.sync_threshold", "3 50"),
    ]


def test_sysctls_are_written() -> None:
    before, after = (Sysctl("net.ipv4.vs.sync_threshold", v) for v in ("3 50", "4 60"))
    write(put(before, after))
    assert observe(Scope(sysctls=frozenset({before.name}))).state.of_type(Sysctl) == [after]


def test_a_change_without_a_difference_writes_nothing() -> None:
    write(put(VirtualService(WEB), VirtualService(WEB)), put(VIP, VIP), put(DUMMY, DUMMY))
    assert rules(observe()) == State()


def test_a_refusal_does_not_stop_what_comes_behind_it() -> None:
    wrong = VirtualService(WEB, ForeignName("nope"))
    changes = create(DUMMY, wrong, VirtualService(WEB6), VIP, replace(VIP, interface="no"), VIP6)
    outcomes = kernel().execute(changes)
    assert [o.status for o in outcomes].count(WriteStatus.REFUSED) == 2
    assert (outcomes[1].status, outcomes[4].status) == (WriteStatus.REFUSED, WriteStatus.REFUSED)
    assert rules(observe()) == State([VirtualService(WEB6)])
    assert observe().state.of_type(Vip) == [VIP, VIP6]


def test_a_change_is_refused_as_a_whole_where_its_interface_is_missing() -> None:
    refused = refusal(*create(replace(VIP, interface="missing0")))
    assert refused.errno == errno.ENODEV
    assert refused.message == (
        "VIP 192.0.2.7/32 dev missing0: interface missing0 does not exist (ENODEV)"
    )


SERVICE = VirtualService(WEB)
RR = VirtualService(WEB, Scheduler.RR)
READ_ONLY = Sysctl("net.netfilter.nf_conntrack_count", "1")
REFUSED: list[tuple[str, list[Change], int, str]] = [
    ("service-exists", create(SERVICE, SERVICE), errno.EEXIST, "exists already"),
    ("service-missing-set", [put(RR, SERVICE)], errno.ESRCH, "no such"),
    ("service-missing-delete", delete(SERVICE), errno.ESRCH, "no such virtual service"),
    (
        "scheduler-unknown",
        create(VirtualService(WEB, ForeignName("nope"))),
        errno.ENOENT,
        "scheduler nope is unknown to this kernel (ENOENT; is module ip_vs_nope there?)",
    ),
    ("scheduler-empty", create(VirtualService(WEB, ForeignName(""))), errno.ENOENT, "scheduler"),
    (
        "engine-unknown",
        create(VirtualService(SIP, persistence=Persistence(60, 32, ForeignName("nope")))),
        errno.ENOENT,
        "persistence engine nope",
    ),
    (
        "prefix-length-0",
        create(VirtualService(WEB6, persistence=Persistence(60, 0))),
        errno.EINVAL,
        "persistence prefix",
    ),
    ("server-exists", create(SERVICE, server(WEB), server(WEB)), errno.EEXIST, "exists already"),
    ("server-without-service", create(server(WEB)), errno.ESRCH, "no virtual service tcp"),
    (
        "server-missing-set",
        [*create(SERVICE), put(replace(server(WEB), weight=2), server(WEB))],
        errno.ENOENT,
        "no such real server",
    ),
    ("server-missing-delete", [*create(SERVICE), *delete(server(WEB))], errno.ENOENT, "no such"),
    (
        "server-missing-both",
        delete(server(WEB)),
        errno.ESRCH,
        "no virtual service",
    ),
    (
        "thresholds-crossed",
        create(SERVICE, replace(server(WEB), upper_threshold=1, lower_threshold=2)),
        errno.ERANGE,
        "the lower threshold 2 is above the upper 1",
    ),
    (
        "weight-negative",
        create(SERVICE, replace(server(WEB), weight=1 << 31)),
        errno.ERANGE,
        "weight 2147483648",
    ),
    ("server-multicast", create(SERVICE, server(WEB, "224.0.0.1")), errno.EINVAL, "multicast"),
    (
        "nat-across-families",
        create(SERVICE, server(WEB, "2001:db8::1")),
        errno.EINVAL,
        "only tun crosses",
    ),
    (
        "dr-across-families",
        create(SERVICE, replace(server(WEB, "2001:db8::1"), forwarding=Forwarding.DR)),
        errno.EINVAL,
        "forwarding dr cannot lead from ipv4 to ipv6",
    ),
    (
        "gue-without-port",
        create(SERVICE, tunnelled(WEB, "10.0.0.1", TunnelType.GUE)),
        errno.EINVAL,
        "GUE tunnel needs a port",
    ),
    ("address-exists", create(DUMMY, VIP, VIP), errno.EEXIST, "exists already"),
    ("address6-exists", create(DUMMY, VIP6, VIP6), errno.EEXIST, "exists already"),
    ("address-missing", [*create(DUMMY), *delete(VIP)], errno.EADDRNOTAVAIL, "no such address"),
    ("address6-missing", [*create(DUMMY), *delete(VIP6)], errno.EADDRNOTAVAIL, "no such address"),
    (
        "address-multicast",
        create(DUMMY, Vip(ip_address("ff02::1"), "gitvs0", 128)),
        errno.EADDRNOTAVAIL,
        "cannot be",
    ),
    ("route-exists", create(ROUTES[0], ROUTES[0]), errno.EEXIST, "exists already"),
    ("route6-exists", create(ROUTES[1], ROUTES[1]), errno.EEXIST, "exists already"),
    ("route-missing", delete(ROUTES[0]), errno.ESRCH, "no such route"),
    ("route6-missing", delete(ROUTES[1]), errno.ESRCH, "no such route"),
    ("interface-exists", create(DUMMY, DUMMY), errno.EEXIST, "exists already"),
    ("interface-missing", delete(DUMMY), errno.ENODEV, "no such interface"),
    ("interface-name", create(DummyInterface("a/b")), errno.EINVAL, "not a valid interface name"),
    ("interface-long", create(DummyInterface("a" * 16)), errno.ERANGE, "too long"),
    (
        "interface-lo",
        delete(DummyInterface("lo")),
        errno.EOPNOTSUPP,
        "of its kind cannot be removed",
    ),
    (
        "daemon-missing",
        delete(sync_daemon(SyncRole.BACKUP, "lo", 1)),
        errno.ESRCH,
        "no backup sync",
    ),
    (
        "daemon-no-link",
        create(sync_daemon(SyncRole.BACKUP, "no0", 1)),
        errno.ENODEV,
        "no0 does not",
    ),
    (
        "daemon-link-down",
        create(DUMMY, sync_daemon(SyncRole.PRIMARY, "gitvs0", 1)),
        errno.ENETUNREACH,
        "ip link set gitvs0 up",
    ),
    ("sysctl-missing", create(Sysctl("net.ipv4.vs.nope", "1")), errno.ENOENT, "no such setting"),
    ("sysctl-value", create(Sysctl("net.ipv4.ip_forward", "x")), errno.EINVAL, "rejects value 'x'"),
    ("sysctl-read-only", create(READ_ONLY), errno.EACCES, "no permission"),
    ("timeout-range", create(Timeout(TimeoutName.TCP, 1 << 31)), errno.EINVAL, "out of range"),
]


@pytest.mark.parametrize(
    ("changes", "code", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_a_refusal_is_explained(changes: list[Change], code: int, words: str) -> None:
    outcome = refusal(*changes)
    assert outcome.errno is not None
    assert errno_name(outcome.errno) == errno_name(code), outcome.message
    assert words in outcome.message
    assert errno_name(code) in outcome.message


def test_a_sync_daemon_that_runs_already_is_explained() -> None:
    uplink()
    daemon = sync_daemon(SyncRole.PRIMARY, "up0", 1)
    refused = refusal(*create(daemon, daemon))
    assert refused.errno == errno.EEXIST
    assert "runs already" in refused.message


def test_a_sync_daemon_of_an_ipv6_group_without_any_ipv6_address_is_explained() -> None:
    for command in ("add up0 type dummy", "set up0 addrgenmode none", "set up0 up"):
        run(f"ip link {command}")
    run("ip address add 10.9.0.1/24 dev up0")
    refused = refusal(*create(replace(sync_daemon(), group=ip_address("ff02::81"))))
    assert refused.errno == errno.EADDRNOTAVAIL
    assert "up0 has no address to send to ff02::81 from" in refused.message


def test_a_sync_daemon_and_real_servers_of_another_family_exclude_each_other() -> None:
    uplink()
    daemon = sync_daemon(SyncRole.PRIMARY, "up0", 1)
    crossing = tunnelled(WEB, "2001:db8:1::1", TunnelType.IPIP)
    write(*create(SERVICE, daemon))
    refused = refusal(*create(crossing))
    assert (refused.errno, "while a sync daemon runs" in refused.message) == (errno.EINVAL, True)
    write(*delete(daemon), *create(crossing))
    refused = refusal(*create(daemon))
    assert (refused.errno, "another address family" in refused.message) == (errno.EINVAL, True)


def test_without_a_local_table_a_real_server_is_refused_with_the_remedy() -> None:
    enter_bare_namespace()
    write(*create(SERVICE))
    refused = refusal(*create(server(WEB)))
    assert refused.errno == errno.EINVAL
    assert "bring lo up" in refused.message


def test_ipv6_disabled_on_the_interface_is_explained() -> None:
    write(*create(DUMMY, Sysctl("net.ipv6.conf.gitvs0.disable_ipv6", "1")))
    refused = refusal(*create(VIP6))
    assert refused.errno == errno.EACCES
    assert "IPv6 is disabled on gitvs0" in refused.message


def test_an_ipv6_prefix_with_lo_down_is_explained() -> None:
    run("ip link set lo down")
    refused = refusal(*create(ROUTES[1]))
    assert refused.errno == errno.ENETDOWN
    assert "lo is down" in refused.message


def test_1200_refusals_are_all_answered() -> None:
    """More than the default receive buffer holds; each error reply goes to its change."""
    outcomes = kernel().execute([*create(*[SERVICE] * 1201), *create(VirtualService(DNS))])
    assert (outcomes[0].status, outcomes[-1].status) == (WriteStatus.DONE, WriteStatus.DONE)
    assert {(o.status, o.errno) for o in outcomes[1:-1]} == {(WriteStatus.REFUSED, errno.EEXIST)}


def test_a_lost_answer_is_unknown_and_nothing_hangs() -> None:
    """With a receive buffer for a few replies, the kernel drops the rest, and the last too."""
    write(*create(SERVICE))
    with Ipvs() as ipvs:
        family = ipvs._family_id
    refused = Request(family, requests.new_service(SERVICE))
    with Netlink(NETLINK_GENERIC) as netlink:
        netlink._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        answers = netlink.execute([refused] * 100)
        counted = {s: [a.status for a in answers].count(s) for s in WriteStatus}
        assert counted[WriteStatus.REFUSED] + counted[WriteStatus.UNKNOWN] == 100
        assert counted[WriteStatus.UNKNOWN] > 50
        assert answers[-1].status is WriteStatus.UNKNOWN
        # The next batch is not confused by what is left of this one.
        assert netlink.execute([refused])[0].errno == errno.EEXIST


def test_2000_services_go_out_and_come_back() -> None:
    resources: list[Resource] = []
    for port in range(1, 2001):
        listener = replace(WEB, port=port)
        resources += [VirtualService(listener), server(listener)]
    write(*create(*resources))
    assert rules(observe()) == State(resources)


def test_incarnations_differ_by_network_namespace_and_stay_within_one() -> None:
    here = kernel().incarnation()
    assert kernel().incarnation() == here
    assert len(here.boot_id) == 36
    enter_bare_namespace()
    there = kernel().incarnation()
    assert there.boot_id == here.boot_id
    assert there.namespace_cookie != here.namespace_cookie


def test_without_the_right_to_ask_the_error_says_what_is_missing() -> None:
    os.setuid(65534)  # of this test's own process
    with pytest.raises(KernelUnavailable, match="CAP_NET_ADMIN"):
        observe()
    outcomes = kernel().execute(create(SERVICE, VIP, Sysctl("net.ipv4.ip_forward", "1")))
    assert [o.status for o in outcomes] == [WriteStatus.REFUSED] * 3
    assert "CAP_NET_ADMIN" in outcomes[0].message
