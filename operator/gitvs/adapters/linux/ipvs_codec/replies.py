"""IPVS replies: the messages that the kernel writes to resources."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from socket import (
    AF_INET,
    htons,
    ntohs,
)
from struct import Struct

from gitvs.adapters.linux.ipvs_codec.numbers import (
    CHECKSUM_OF,
    CHECKSUMS,
    DAEMON,
    DAEMON_MCAST_IFN,
    DAEMON_STATE,
    DAEMON_SYNC_ID,
    DEST,
    DEST_ACTIVE_CONNS,
    DEST_ADDR,
    DEST_INACT_CONNS,
    DEST_NUMBERS,
    DEST_PERSIST_CONNS,
    DEST_REPLY,
    DEST_REPLY_HEADS,
    DEST_STATS64,
    ENGINE_OF,
    FAMILIES,
    FORWARDING,
    FORWARDING_OF,
    HEADER,
    INFO_VERSION,
    ONE_PACKET,
    PERSISTENT,
    PROTOCOL_OF,
    ROLE_OF,
    SCHEDULER_FLAGS,
    SCHEDULER_OF,
    SERVICE,
    STATS,
    SVC_ADDR,
    SVC_AF,
    SVC_FLAGS,
    SVC_FWMARK,
    SVC_NETMASK,
    SVC_PE_NAME,
    SVC_PORT,
    SVC_PROTOCOL,
    SVC_SCHED_NAME,
    SVC_STATS64,
    SVC_TIMEOUT,
    TIMEOUTS,
    TUNNEL_TYPE_OF,
    TUNNEL_TYPES,
    Attributes,
    unpack_attributes,
)
from gitvs.adapters.linux.ipvs_codec.requests import DEFAULT_TUNNEL, family_number
from gitvs.core.model.observation import Connections, Counters
from gitvs.core.model.resources import (
    AddressFamily,
    Endpoint,
    FirewallMark,
    ForeignName,
    Forwarding,
    IPAddress,
    Listener,
    Persistence,
    RealServer,
    SyncDaemon,
    Timeout,
    Tunnel,
    VirtualService,
    host_and_port,
)

_STATS64 = Struct("=4xQ4xQ4xQ4xQ4xQ60x")
"""Ten numbers without padding, as most machines have them; the last five are rates."""

NOT_COUNTED = Counters()
"""The one object for all that has counted nothing."""


@dataclass(frozen=True, slots=True)
class Unnamed:
    """An IPVS object that the model has no words for, as people read it."""

    text: str


def service_from(payload: bytes) -> tuple[VirtualService | Unnamed, Counters]:
    """Return the virtual service of one message of a dump, and what it has counted."""
    svc = unpack_attributes(unpack_attributes(payload, HEADER.size)[SERVICE])
    return _service_from(svc), counters_from(svc.get(SVC_STATS64, b""))


def configured_service(attributes: bytes) -> VirtualService | Unnamed:
    """Return the virtual service that attributes of a dump say."""
    return _service_from(unpack_attributes(attributes))


def _service_from(svc: Attributes) -> VirtualService | Unnamed:
    listener = _listener_from(svc)
    if isinstance(listener, Unnamed):
        return listener
    name = _string(svc[SVC_SCHED_NAME])
    scheduler = SCHEDULER_OF.get(name, ForeignName(name))
    flags = _number(svc[SVC_FLAGS][:4])
    known = SCHEDULER_FLAGS.get(scheduler, {})
    return VirtualService(
        listener,
        scheduler,
        frozenset(flag for flag, bit in known.items() if flags & bit),
        bool(flags & ONE_PACKET),
        _persistence_from(svc, listener.family) if flags & PERSISTENT else None,
    )


def real_server_from(
    payload: bytes, listener: Listener
) -> tuple[RealServer | Unnamed, Connections, Counters]:
    """Return the real server of one message of a dump of `listener`.

    With it go the connections that it has, and what it has counted.
    """
    dest = unpack_attributes(unpack_attributes(payload, HEADER.size)[DEST])
    connections = Connections(
        _number(dest[DEST_ACTIVE_CONNS]),
        _number(dest[DEST_INACT_CONNS]),
        _number(dest[DEST_PERSIST_CONNS]),
    )
    counters = counters_from(dest.get(DEST_STATS64, b""))
    return _real_server_from(dest, listener), connections, counters


def configuration(server: RealServer) -> bytes:
    """Return the attributes by which the kernel says in a dump how a real server is configured.

    `configured_real_server` takes them back, in several times as long.
    """
    tunnel = server.tunnel or DEFAULT_TUNNEL
    address, port, method, weight, type_, tunnel_port, flags, upper, lower, family = (
        DEST_REPLY_HEADS
    )
    packed = server.address.packed
    return DEST_REPLY.pack(
        address, packed,
        port, htons(server.port),
        method, FORWARDING[server.forwarding],
        weight, server.weight,
        type_, TUNNEL_TYPES[tunnel.type],
        tunnel_port, htons(tunnel.port),
        flags, CHECKSUMS[tunnel.checksum],
        upper, server.upper_threshold,
        lower, server.lower_threshold,
        family, family_number(packed),
    )  # fmt: skip


def configured_real_server(attributes: bytes, listener: Listener) -> RealServer | Unnamed:
    """Return the real server that attributes of a dump say, whatever it counts."""
    if len(attributes) == DEST_REPLY.size:
        parts = DEST_REPLY.unpack(attributes)
        if parts[::2] == DEST_REPLY_HEADS:
            return _real_server(listener, *parts[1::2])
    return _real_server_from(unpack_attributes(attributes), listener)


def _real_server_from(dest: Attributes, listener: Listener) -> RealServer | Unnamed:
    """Return a real server of any kernel: tunnels came with Linux 5.2, the family with 3.18."""
    address = dest[DEST_ADDR]
    numbers = (_number(dest.get(type_, b"")) for type_, _ in DEST_NUMBERS)
    return _real_server(listener, address, *numbers)


def _real_server(
    listener: Listener,
    packed: bytes,
    port: int,
    method: int,
    weight: int,
    tunnel_type: int,
    tunnel_port: int,
    tunnel_flags: int,
    upper_threshold: int,
    lower_threshold: int,
    family: int,
) -> RealServer | Unnamed:
    """Return a real server from what `DEST_REPLY` has, ports in the order of the network."""
    address = _address_from(packed, family or FAMILIES[listener.family])
    forwarding = FORWARDING_OF.get(method)
    tunnel = None
    if forwarding is Forwarding.TUN:
        tunnel = _tunnel_from(tunnel_type, ntohs(tunnel_port), tunnel_flags)
    if forwarding is None or isinstance(tunnel, Unnamed):
        what = tunnel.text if isinstance(tunnel, Unnamed) else f"forwarding method {method}"
        return Unnamed(f"{listener} -> {host_and_port(address, ntohs(port))} ({what})")
    return RealServer(
        listener,
        address,
        ntohs(port),
        weight,
        forwarding,
        tunnel,
        upper_threshold,
        lower_threshold,
    )


def sync_daemon_from(payload: bytes) -> SyncDaemon:
    """Return the sync daemon of one message of a dump."""
    daemon = unpack_attributes(unpack_attributes(payload, HEADER.size)[DAEMON])
    return SyncDaemon(
        ROLE_OF[_number(daemon[DAEMON_STATE])],
        _string(daemon[DAEMON_MCAST_IFN]),
        _number(daemon[DAEMON_SYNC_ID]),
    )


def timeouts_from(payload: bytes) -> list[Timeout]:
    """Return the connection timeouts of the one reply, in whole seconds."""
    attributes = unpack_attributes(payload, HEADER.size)
    return [
        Timeout(name, _number(attributes[type_]))
        for name, type_ in TIMEOUTS.items()
        if type_ in attributes
    ]


def version_from(payload: bytes) -> str:
    """Return the version of IPVS, as `1.2.1`. Source: ip_vs.h, NVERSION."""
    version = _number(unpack_attributes(payload, HEADER.size)[INFO_VERSION])
    return f"{version >> 16 & 0xFF}.{version >> 8 & 0xFF}.{version & 0xFF}"


def counters_from(stats: bytes) -> Counters:
    """Return what was counted. Before Linux 4.1 there are no numbers of 64 bits, and no answer.

    A machine that reads only aligned numbers has padding among them.
    Source: ip_vs_ctl.c, ip_vs_genl_fill_stats64; net/netlink.h, nla_put_64bit.
    """
    if len(stats) == _STATS64.size:
        counts = _STATS64.unpack(stats)
    else:
        numbers = unpack_attributes(stats)
        counts = tuple(_number(numbers.get(type_, b"")) for type_ in STATS)
    return Counters(*counts) if any(counts) else NOT_COUNTED


def _number(value: bytes) -> int:
    """Return a number of any width in this machine's byte order."""
    return int.from_bytes(value, sys.byteorder)


def _port_from(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _string(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode(errors="backslashreplace")


def _address_from(value: bytes, family: int) -> IPAddress:
    return IPv4Address(value[:4]) if family == AF_INET else IPv6Address(value)


def _listener_from(svc: Attributes) -> Listener | Unnamed:
    family = _number(svc[SVC_AF])
    if SVC_FWMARK in svc:
        is_ipv4 = family == AF_INET
        name = AddressFamily.IPV4 if is_ipv4 else AddressFamily.IPV6
        return FirewallMark(_number(svc[SVC_FWMARK]), name)
    number = _number(svc[SVC_PROTOCOL])
    address, port = _address_from(svc[SVC_ADDR], family), _port_from(svc[SVC_PORT])
    protocol = PROTOCOL_OF.get(number)
    if protocol is None:
        return Unnamed(f"protocol {number} {host_and_port(address, port)}")
    return Endpoint(protocol, address, port)


def _persistence_from(svc: Attributes, family: AddressFamily) -> Persistence:
    engine = _string(svc[SVC_PE_NAME]) if SVC_PE_NAME in svc else None
    return Persistence(
        _number(svc[SVC_TIMEOUT]),
        _prefix_length_from(svc[SVC_NETMASK], family),
        None if engine is None else ENGINE_OF.get(engine, ForeignName(engine)),
    )


def _prefix_length_from(value: bytes, family: AddressFamily) -> int:
    """Return the prefix length; of a mask with holes, which only others set, its leading ones."""
    if family is AddressFamily.IPV6:
        return _number(value)
    return 32 - (int.from_bytes(value, "big") ^ 0xFFFFFFFF).bit_length()


def _tunnel_from(number: int, port: int, bits: int) -> Tunnel | Unnamed:
    """Return how packets are wrapped."""
    type_, checksum = TUNNEL_TYPE_OF.get(number), CHECKSUM_OF.get(bits)
    if type_ is None or checksum is None:
        return Unnamed(f"tunnel type {number} with flags {bits}")
    return Tunnel(type_, port, checksum)
