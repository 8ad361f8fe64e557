"""The IPVS codec: what is written is what is read, for all values that manifests can say.

Replies are requests here: the kernel answers with the attributes that it was sent and a few
more. That it really does is tested in tests/kernel/test_linux_kernel.py.
"""

from __future__ import annotations

import json
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_INET, AF_INET6

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.adapters.linux.attributes import pack_attribute, unpack_attributes
from gitvs.adapters.linux.change_requests import ipvs_requests
from gitvs.adapters.linux.ipvs_codec import replies, requests
from gitvs.core.model.desired import Desired
from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resources import (
    AddressFamily,
    Endpoint,
    FirewallMark,
    ForeignName,
    Forwarding,
    IPAddress,
    Listener,
    Persistence,
    PersistenceEngine,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    SyncDaemon,
    SyncRole,
    Timeout,
    TimeoutName,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualService,
)
from gitvs.core.planning.plan import Change, build_plan, diff
from tests.support import paths
from tests.support.ipvsadm_lines import EVERYTHING, WEB, WEB6
from tests.support.strategies import transitions

RECORDED = paths.DATA / "ipvsadm_messages.json"
U32 = st.integers(0, 2**32 - 1)
PORTS = st.integers(0, 65535)
ADDRESSES = st.builds(IPv4Address, U32) | st.builds(IPv6Address, st.integers(0, 2**128 - 1))
LISTENERS: st.SearchStrategy[Listener] = st.builds(
    Endpoint, st.sampled_from(Protocol), ADDRESSES, PORTS
) | st.builds(FirewallMark, st.integers(1, 2**32 - 1), st.sampled_from(AddressFamily))
NAMES = st.builds("x_{}".format, st.text("abcdefgh_", max_size=13)).map(ForeignName)
FLAGS: dict[str, set[SchedulerFlag]] = {
    Scheduler.SH: {SchedulerFlag.SH_FALLBACK, SchedulerFlag.SH_PORT},
    Scheduler.MH: {SchedulerFlag.MH_FALLBACK, SchedulerFlag.MH_PORT},
}


@st.composite
def virtual_services(draw: st.DrawFn) -> VirtualService:
    listener = draw(LISTENERS)
    lengths = (0, 32) if listener.family is AddressFamily.IPV4 else (1, 128)
    engines = st.none() | st.sampled_from(PersistenceEngine) | NAMES
    persistence = st.builds(Persistence, U32, st.integers(*lengths), engines)
    scheduler: Scheduler | ForeignName = draw(st.sampled_from(Scheduler) | NAMES)
    flags = draw(st.frozensets(st.sampled_from(SchedulerFlag))) & FLAGS.get(scheduler, set())
    return VirtualService(
        listener, scheduler, flags, draw(st.booleans()), draw(st.none() | persistence)
    )


TUNNELS = st.builds(Tunnel, st.sampled_from(TunnelType), PORTS, st.sampled_from(TunnelChecksum))


@st.composite
def real_servers(draw: st.DrawFn) -> RealServer:
    forwarding = draw(st.sampled_from(Forwarding))
    return RealServer(
        draw(LISTENERS),
        draw(ADDRESSES),
        draw(PORTS),
        draw(U32),
        forwarding,
        draw(TUNNELS) if forwarding is Forwarding.TUN else None,
        draw(U32),
        draw(U32),
    )


def service_in(payload: bytes) -> VirtualService | replies.Unnamed:
    return replies.decode_service(payload)[0]


@given(virtual_services())
def test_a_virtual_service_is_read_as_it_was_written(service: VirtualService) -> None:
    assert service_in(requests.new_service(service)) == service
    assert requests.new_service(service)[1:] == requests.set_service(service)[1:]


COUNTERS = b"".join(
    pack_attribute(type_, count.to_bytes(4, sys.byteorder))
    for type_, count in ((7, 3), (8, 5), (9, 7))
)


def reply_to(request: bytes, counters: bytes = COUNTERS) -> bytes:
    """Return what the kernel says of a real server: its attributes, and its connections."""
    real_server = unpack_attributes(request, 4)[2]
    return request[:4] + pack_attribute(2, real_server + counters)


@given(real_servers())
def test_a_real_server_is_read_as_it_was_written(server: RealServer) -> None:
    reply = reply_to(requests.new_real_server(server))
    assert replies.decode_real_server(reply, server.listener) == (
        server,
        ConnectionCounts(3, 5, 7),
        Counters(),
    )
    assert requests.new_real_server(server)[1:] == requests.set_real_server(server)[1:]


def native(number: int, size: int) -> bytes:
    return number.to_bytes(size, sys.byteorder)


def port_of(number: int) -> bytes:
    return number.to_bytes(2, "big")


def family_number(address: IPAddress) -> bytes:
    return native(AF_INET if address.version == 4 else AF_INET6, 2)


def attributes_of(*attributes: tuple[int, bytes]) -> bytes:
    return b"".join(pack_attribute(type_, value) for type_, value in attributes)


def listener_attributes(listener: Listener) -> bytes:
    """AF and FWMARK, or AF, PROTOCOL, ADDR and PORT."""
    if isinstance(listener, FirewallMark):
        family = AF_INET if listener.family is AddressFamily.IPV4 else AF_INET6
        return attributes_of((1, native(family, 2)), (5, native(listener.mark, 4)))
    protocol = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132}[listener.protocol]
    return attributes_of(
        (1, family_number(listener.address)),
        (2, native(protocol, 2)),
        (3, listener.address.packed.ljust(16, b"\0")),
        (4, port_of(listener.port)),
    )


def key_attributes(server: RealServer) -> bytes:
    """ADDR, PORT and ADDR_FAMILY."""
    return attributes_of(
        (1, server.address.packed.ljust(16, b"\0")),
        (2, port_of(server.port)),
        (11, family_number(server.address)),
    )


def server_attributes(server: RealServer) -> bytes:
    """All that a real server is set to, one attribute at a time."""
    tunnel = server.tunnel or Tunnel()
    return key_attributes(server) + attributes_of(
        (3, native({Forwarding.NAT: 0, Forwarding.TUN: 2, Forwarding.DR: 3}[server.forwarding], 4)),
        (4, native(server.weight, 4)),
        (5, native(server.upper_threshold, 4)),
        (6, native(server.lower_threshold, 4)),
        (13, native(list(TunnelType).index(tunnel.type), 1)),
        (14, port_of(tunnel.port)),
        (15, native(list(TunnelChecksum).index(tunnel.checksum), 2)),
    )


def request(command: int, listener: Listener, *more: bytes) -> bytes:
    """The command in version 1, what names the virtual service, and attributes that follow."""
    service = pack_attribute(1, listener_attributes(listener))
    return bytes((command, 1, 0, 0)) + service + b"".join(more)


@given(real_servers())
def test_templates_write_what_attributes_one_by_one_are(server: RealServer) -> None:
    everything = pack_attribute(2, server_attributes(server))
    key = pack_attribute(2, key_attributes(server))
    shared = requests.service_attribute(server.listener)
    for part in ((), (shared,)):
        assert requests.new_real_server(server, *part) == request(5, server.listener, everything)
        assert requests.set_real_server(server, *part) == request(6, server.listener, everything)
        assert requests.delete_real_server(server, *part) == request(7, server.listener, key)
        assert requests.delete_service(server.listener, *part) == request(3, server.listener)
    assert requests.get_real_servers(server.listener) == request(8, server.listener)
    assert requests.get_service(server.listener) == request(4, server.listener)


def service_attributes(service: VirtualService) -> bytes:
    """All that a virtual service is set to, one attribute at a time."""
    persistence = service.persistence
    bits = {"fallback": 8, "port": 16}
    flags = sum(bits[flag.partition("-")[2]] for flag in service.flags)
    flags += (1 if persistence else 0) + (4 if service.is_one_packet else 0)
    full = 32 if service.listener.family is AddressFamily.IPV4 else 128
    length = persistence.prefix_length if persistence else full
    mask = (0xFFFFFFFF << (32 - length) & 0xFFFFFFFF).to_bytes(4, "big") if full == 32 else None
    attributes = listener_attributes(service.listener) + attributes_of(
        (6, service.scheduler.encode() + b"\0"),
        (7, native(flags, 4) + native(0xFFFFFFFF, 4)),
        (8, native(persistence.timeout_seconds if persistence else 0, 4)),
        (9, mask or native(length, 4)),
    )
    if persistence and persistence.engine:
        attributes += attributes_of((11, persistence.engine.encode() + b"\0"))
    return attributes


@given(virtual_services())
def test_a_virtual_service_is_written_as_its_attributes_one_by_one_are(
    service: VirtualService,
) -> None:
    nested = pack_attribute(1, service_attributes(service))
    assert requests.new_service(service) == bytes((1, 1, 0, 0)) + nested
    assert requests.set_service(service) == bytes((2, 1, 0, 0)) + nested


def request_of(change: Change) -> bytes:
    """The request of one change, by itself."""
    command = 3 if change.after is None else 1 if change.before is None else 2
    match change.resource:
        case VirtualService(listener) as service:
            if change.after is None:
                return request(command, listener)
            attributes = pack_attribute(1, service_attributes(service))
            return bytes((command, 1, 0, 0)) + attributes
        case RealServer(listener) as server:
            is_gone = change.after is None
            attributes = key_attributes(server) if is_gone else server_attributes(server)
            return request(command + 4, listener, pack_attribute(2, attributes))
        case _:
            raise AssertionError(change)


@given(transitions())
def test_a_plan_is_written_as_its_changes_one_by_one_are(states: tuple[Desired, Desired]) -> None:
    before, after = (desired.state for desired in states)
    plan = build_plan(diff(before, after)).changes
    changes = [c for c in plan if isinstance(c.resource, VirtualService | RealServer)]
    assert list(ipvs_requests(changes)) == [request_of(change) for change in changes]


def nested(message: bytes) -> dict[int, dict[int, bytes]]:
    """Return the attributes of the virtual service (1) and of the real server (2)."""
    outer = unpack_attributes(message, 4)
    return {type_: unpack_attributes(value) for type_, value in outer.items()}


@pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a little-endian machine")
@pytest.mark.parametrize(("resource", "line"), EVERYTHING, ids=[line for _, line in EVERYTHING])
def test_every_attribute_has_the_bytes_that_ipvsadm_sends(
    resource: VirtualService | RealServer, line: str
) -> None:
    """Recorded with ipvsadm 1.31 and nlmon(4) on Linux 6.1."""
    theirs = bytes.fromhex(json.loads(RECORDED.read_text())[line])
    if isinstance(resource, VirtualService):
        assert requests.new_service(resource)[:4] == theirs[:4]
        assert nested(requests.new_service(resource)) == nested(theirs)
    else:
        ours = requests.new_real_server(resource)
        assert ours[:4] == theirs[:4]
        assert nested(ours)[2] == nested(theirs)[2]
        assert nested(ours)[1].items() <= nested(theirs)[1].items()  # the rest is of no use


def test_the_two_scheduler_bits_mean_what_the_scheduler_says() -> None:
    sh = VirtualService(WEB, Scheduler.SH, frozenset({SchedulerFlag.SH_PORT}))
    mh = VirtualService(WEB, Scheduler.MH, frozenset({SchedulerFlag.MH_PORT}))
    assert requests.new_service(sh).replace(b"sh\0", b"mh\0") == requests.new_service(mh)
    plain = service_in(requests.new_service(sh).replace(b"sh\0", b"rr\0"))
    assert plain == VirtualService(WEB, Scheduler.RR)


def test_without_persistence_a_netmask_means_nothing() -> None:
    """keepalived sends 0.0.0.0 and ipvsadm 255.255.255.255 for the same service."""
    payload = requests.new_service(VirtualService(WEB))
    assert payload.count(b"\xff\xff\xff\xff") == 2  # the mask of the flags, and the netmask
    at = payload.rindex(b"\xff\xff\xff\xff")
    other = payload[:at] + bytes(4) + payload[at + 4 :]
    assert service_in(other) == VirtualService(WEB)


def test_a_netmask_with_holes_counts_its_leading_ones() -> None:
    service = VirtualService(WEB, persistence=Persistence(60, 24))
    mask, with_holes = bytes((255, 255, 255, 0)), bytes((255, 0, 255, 0))
    payload = requests.new_service(service).replace(mask, with_holes)
    read = service_in(payload)
    assert isinstance(read, VirtualService)
    assert read.persistence == Persistence(60, 8)


def test_an_ipv6_service_says_its_prefix_length_even_without_persistence() -> None:
    """The kernel refuses 0 there with EINVAL."""
    plain = requests.new_service(VirtualService(WEB6))
    full = requests.new_service(VirtualService(WEB6, persistence=Persistence(0, 128)))
    assert [a == b for a, b in zip(plain, full, strict=True)].count(False) == 1  # the flag


def test_an_unknown_protocol_is_named_by_its_number() -> None:
    payload = requests.new_service(VirtualService(WEB))
    esp = payload.replace(bytes((6, 0, 2, 0, 6, 0)), bytes((6, 0, 2, 0, 50, 0)))
    assert service_in(esp) == replies.Unnamed("protocol 50 192.0.2.7:80")


def test_unknown_tunnels_and_forwarding_methods_are_named_by_their_numbers() -> None:
    tunnel = Tunnel(TunnelType.GUE, 6080, TunnelChecksum.FULL)
    server = RealServer(WEB, ip_address("10.0.0.1"), 80, 1, Forwarding.TUN, tunnel)
    reply = reply_to(requests.new_real_server(server))
    names = {
        (5, 0, 13, 0): "tunnel type 9 with flags 1",
        (6, 0, 15, 0): "tunnel type 1 with flags 9",
        (8, 0, 3, 0): "forwarding method 9",
    }
    for header, name in names.items():
        at = reply.index(bytes(header)) + 4
        unknown = reply[:at] + b"\x09" + reply[at + 1 :]
        read, *_ = replies.decode_real_server(unknown, WEB)
        assert read == replies.Unnamed(f"tcp 192.0.2.7:80 -> 10.0.0.1:80 ({name})")


def test_an_old_kernel_s_real_server_is_of_its_service_s_family() -> None:
    """ADDR_FAMILY came with Linux 3.18, the tunnel attributes with 5.2."""
    server = RealServer(WEB, ip_address("10.0.0.1"), 80, 1, Forwarding.TUN, Tunnel())
    reply = reply_to(requests.new_real_server(server))
    attributes = unpack_attributes(unpack_attributes(reply, 4)[2])
    old = b"".join(pack_attribute(t, v) for t, v in attributes.items() if t < 11)
    reply = bytes(4) + pack_attribute(2, old)
    assert replies.decode_real_server(reply, WEB)[0] == server


def test_sync_daemons_are_read_as_they_were_written() -> None:
    for role in SyncRole:
        for group in ("224.0.0.81", "239.1.2.3", "ff02::81"):
            daemon = SyncDaemon(role, "eth0.100", 255, ip_address(group), 65535, 255, 1280)
            assert replies.decode_sync_daemon(requests.start_sync_daemon(daemon)) == daemon
        daemon = SyncDaemon(role, "eth0.100", 255, max_length=1472)
        assert replies.decode_sync_daemon(requests.start_sync_daemon(daemon)) == daemon


def test_a_timeout_is_sent_alone_so_that_the_others_stay() -> None:
    for name in TimeoutName:
        timeout = Timeout(name, 900)
        assert replies.decode_timeouts(requests.set_timeout(timeout)) == [timeout]


COUNTS = (2**40, 2**41 + 1, 2**42 + 2, 2**63, 2**64 - 1)
RATES = (11, 12, 13, 14, 15)
COUNTED = Counters(*COUNTS, 11, 14, 15)


def stats64(
    counts: tuple[int, ...], rates: tuple[int, ...] = RATES, *, is_padded: bool = False
) -> bytes:
    """Return what the kernel counts: five numbers and five rates, maybe each after padding."""
    padding = pack_attribute(11, b"") if is_padded else b""
    return b"".join(
        padding + pack_attribute(type_, count.to_bytes(8, sys.byteorder))
        for type_, count in enumerate((*counts, *rates), 1)
    )


@pytest.mark.parametrize("is_padded", [False, True])
def test_what_was_counted_stands_beside_its_object(is_padded: bool) -> None:
    """Source: recorded layout of IPVS_SVC_ATTR_STATS64 and IPVS_DEST_ATTR_STATS64, 12 each."""
    counted = pack_attribute(12, stats64(COUNTS, is_padded=is_padded))
    request = requests.new_service(VirtualService(WEB))
    attributes = unpack_attributes(request, 4)[1]
    reply = request[:4] + pack_attribute(1, attributes + counted)
    assert replies.decode_service(reply) == (VirtualService(WEB), COUNTED)
    server = RealServer(WEB, ip_address("10.0.0.1"), 80)
    reply = reply_to(requests.new_real_server(server), COUNTERS + counted)
    assert replies.decode_real_server(reply, WEB) == (
        server,
        ConnectionCounts(3, 5, 7),
        COUNTED,
    )


def test_nothing_counted_is_zero() -> None:
    zeros = stats64((0,) * 5, (0,) * 5)
    for stats in (b"", pack_attribute(12, b""), pack_attribute(12, zeros)):
        reply = reply_to(
            requests.new_real_server(RealServer(WEB, ip_address("10.0.0.1"), 80)), COUNTERS + stats
        )
        assert replies.decode_real_server(reply, WEB)[2] == Counters()
