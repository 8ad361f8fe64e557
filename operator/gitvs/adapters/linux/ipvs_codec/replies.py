"""IPVS replies: the kernel's messages to resources."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_INET, ntohs
from struct import Struct

from gitvs.adapters.linux.attributes import Attributes, decodes, name_text, unpack_attributes
from gitvs.adapters.linux.ipvs_codec.numbers import (
    _CHECKSUM_BY_NUMBER,
    _COMMAND_HEADER,
    _DEST_CONFIGURATION,
    _DEST_CONFIGURATION_HEADERS,
    _DEST_NUMBER_ATTRIBUTES,
    _ENGINE_BY_NAME,
    _FORWARDING_BY_NUMBER,
    _PROTOCOL_BY_NUMBER,
    _ROLE_BY_NUMBER,
    _SCHEDULER_BY_NAME,
    _TUNNEL_TYPE_BY_NUMBER,
    DAEMON,
    DAEMON_MCAST_GROUP,
    DAEMON_MCAST_GROUP6,
    DAEMON_MCAST_IFN,
    DAEMON_MCAST_PORT,
    DAEMON_MCAST_TTL,
    DAEMON_STATE,
    DAEMON_SYNC_ID,
    DAEMON_SYNC_MAXLEN,
    DEST,
    DEST_ACTIVE_CONNS,
    DEST_ADDR,
    DEST_INACT_CONNS,
    DEST_PERSIST_CONNS,
    DEST_STATS64,
    FAMILIES,
    INFO_VERSION,
    ONE_PACKET,
    PERSISTENT,
    SCHEDULER_FLAGS,
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
)
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
    RealServer,
    SyncDaemon,
    Timeout,
    Tunnel,
    VirtualService,
    host_and_port,
)

_DEST_REQUIRED = {type_ for type_, _ in _DEST_NUMBER_ATTRIBUTES[:3]}

_STATS64 = Struct("=4xQ4xQ4xQ4xQ4xQ4xQ24x4xQ4xQ")
"""Ten numbers without padding, as on most machines; the skipped ones are rates of packets."""

ZERO_COUNTERS = Counters()
"""The one object for everything whose counters are all 0."""


@dataclass(frozen=True, slots=True)
class Unnamed:
    """An IPVS object that the model cannot represent, as text for people."""

    text: str


@decodes("a virtual service")
def decode_service(payload: bytes) -> tuple[VirtualService | Unnamed, Counters]:
    """Return the virtual service of one message of a dump, and its counters."""
    svc = unpack_attributes(unpack_attributes(payload, _COMMAND_HEADER.size)[SERVICE])
    return _decode_svc(svc), decode_counters(svc.get(SVC_STATS64, b""))


def decode_service_configuration(attributes: bytes) -> VirtualService | Unnamed:
    """Return the virtual service that attributes of a dump describe."""
    return _decode_svc(unpack_attributes(attributes))


def _decode_svc(svc: Attributes) -> VirtualService | Unnamed:
    listener = _decode_listener(svc)
    if isinstance(listener, Unnamed):
        return listener
    name = name_text(svc[SVC_SCHED_NAME])
    scheduler = _SCHEDULER_BY_NAME.get(name, ForeignName(name))
    flags = _decode_number(svc[SVC_FLAGS][:4])
    flag_bits = SCHEDULER_FLAGS.get(scheduler, {})
    return VirtualService(
        listener,
        scheduler,
        frozenset(flag for flag, bit in flag_bits.items() if flags & bit),
        bool(flags & ONE_PACKET),
        _decode_persistence(svc, listener.family) if flags & PERSISTENT else None,
    )


@decodes("a real server")
def decode_real_server(
    payload: bytes, listener: Listener
) -> tuple[RealServer | Unnamed, ConnectionCounts, Counters]:
    """Return the real server of one message of a dump, its connections and its counters."""
    dest = unpack_attributes(unpack_attributes(payload, _COMMAND_HEADER.size)[DEST])
    connections = ConnectionCounts(
        _decode_number(dest[DEST_ACTIVE_CONNS]),
        _decode_number(dest[DEST_INACT_CONNS]),
        _decode_number(dest[DEST_PERSIST_CONNS]),
    )
    counters = decode_counters(dest.get(DEST_STATS64, b""))
    return _decode_dest(dest, listener), connections, counters


def decode_real_server_configuration(attributes: bytes, listener: Listener) -> RealServer | Unnamed:
    """Return the real server that attributes of a dump describe, without its counters."""
    if len(attributes) == _DEST_CONFIGURATION.size:
        parts = _DEST_CONFIGURATION.unpack(attributes)
        if parts[::2] == _DEST_CONFIGURATION_HEADERS:
            return _make_real_server(listener, *parts[1::2])
    return _decode_dest(unpack_attributes(attributes), listener)


def _decode_dest(dest: Attributes, listener: Listener) -> RealServer | Unnamed:
    """Return a real server of any kernel: tunnels exist since Linux 5.2, the family since 3.18.

    Port, method and weight are in every message: without them it is cut short.
    """
    address = dest[DEST_ADDR]
    if missing := _DEST_REQUIRED - dest.keys():
        raise KeyError(*missing)
    numbers = (_decode_number(dest.get(type_, b"")) for type_, _ in _DEST_NUMBER_ATTRIBUTES)
    return _make_real_server(listener, address, *numbers)


def _make_real_server(
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
    """Return a real server from the values of `_DEST_CONFIGURATION`, ports in network order."""
    address = _decode_address(packed, family or FAMILIES[listener.family])
    forwarding = _FORWARDING_BY_NUMBER.get(method)
    tunnel = None
    if forwarding is Forwarding.TUN:
        tunnel = _decode_tunnel(tunnel_type, ntohs(tunnel_port), tunnel_flags)
    if forwarding is None or isinstance(tunnel, Unnamed):
        detail = tunnel.text if isinstance(tunnel, Unnamed) else f"forwarding method {method}"
        return Unnamed(f"{listener} -> {host_and_port(address, ntohs(port))} ({detail})")
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


@decodes("a sync daemon")
def decode_sync_daemon(payload: bytes) -> SyncDaemon:
    """Return the sync daemon of one message of a dump."""
    daemon = unpack_attributes(unpack_attributes(payload, _COMMAND_HEADER.size)[DAEMON])
    group = daemon.get(DAEMON_MCAST_GROUP) or daemon[DAEMON_MCAST_GROUP6]
    return SyncDaemon(
        _ROLE_BY_NUMBER[_decode_number(daemon[DAEMON_STATE])],
        name_text(daemon[DAEMON_MCAST_IFN]),
        _decode_number(daemon[DAEMON_SYNC_ID]),
        ip_address(group),
        _decode_number(daemon[DAEMON_MCAST_PORT]),
        _decode_number(daemon[DAEMON_MCAST_TTL]),
        _decode_number(daemon[DAEMON_SYNC_MAXLEN]),
    )


@decodes("the timeouts of IPVS")
def decode_timeouts(payload: bytes) -> list[Timeout]:
    """Return the connection timeouts of the one reply, in whole seconds."""
    attributes = unpack_attributes(payload, _COMMAND_HEADER.size)
    return [
        Timeout(name, _decode_number(attributes[type_]))
        for name, type_ in TIMEOUTS.items()
        if type_ in attributes
    ]


@decodes("the version of IPVS")
def decode_version(payload: bytes) -> str:
    """Return the version of IPVS, as `1.2.1`. Source: ip_vs.h, NVERSION."""
    version = _decode_number(unpack_attributes(payload, _COMMAND_HEADER.size)[INFO_VERSION])
    return f"{version >> 16 & 0xFF}.{version >> 8 & 0xFF}.{version & 0xFF}"


def decode_counters(stats: bytes) -> Counters:
    """Return the counters; all 0 before Linux 4.1, which has no 64-bit ones.

    A machine that reads only aligned numbers has padding between them.
    Source: ip_vs_ctl.c, ip_vs_genl_fill_stats64; net/netlink.h, nla_put_64bit.
    """
    if len(stats) == _STATS64.size:
        counts = _STATS64.unpack(stats)
        return Counters._make(counts) if any(counts) else ZERO_COUNTERS
    numbers = unpack_attributes(stats)
    counts = tuple(_decode_number(numbers.get(type_, b"")) for type_ in STATS)
    return Counters._make(counts) if any(counts) else ZERO_COUNTERS


def _decode_number(value: bytes) -> int:
    """Return a number of any width in this machine's byte order."""
    return int.from_bytes(value, sys.byteorder)


def _decode_port(value: bytes) -> int:
    if len(value) != 2:
        raise ValueError(f"port of {len(value)} bytes")
    return int.from_bytes(value, "big")


def _decode_address(value: bytes, family: int) -> IPAddress:
    """Return an address; the kernel writes 16 bytes in both families."""
    return IPv4Address(value[:4]) if family == AF_INET else IPv6Address(value)


def _decode_listener(svc: Attributes) -> Listener | Unnamed:
    family = _decode_number(svc[SVC_AF])
    if SVC_FWMARK in svc:
        is_ipv4 = family == AF_INET
        address_family = AddressFamily.IPV4 if is_ipv4 else AddressFamily.IPV6
        return FirewallMark(_decode_number(svc[SVC_FWMARK]), address_family)
    number = _decode_number(svc[SVC_PROTOCOL])
    address, port = _decode_address(svc[SVC_ADDR], family), _decode_port(svc[SVC_PORT])
    protocol = _PROTOCOL_BY_NUMBER.get(number)
    if protocol is None:
        return Unnamed(f"protocol {number} {host_and_port(address, port)}")
    return Endpoint(protocol, address, port)


def _decode_persistence(svc: Attributes, family: AddressFamily) -> Persistence:
    engine = name_text(svc[SVC_PE_NAME]) if SVC_PE_NAME in svc else None
    return Persistence(
        _decode_number(svc[SVC_TIMEOUT]),
        _decode_prefix_length(svc[SVC_NETMASK], family),
        None if engine is None else _ENGINE_BY_NAME.get(engine, ForeignName(engine)),
    )


def _decode_prefix_length(value: bytes, family: AddressFamily) -> int:
    """Return the prefix length; of a mask with holes, set by another program, the leading ones."""
    if family is AddressFamily.IPV6:
        return _decode_number(value)
    return 32 - (int.from_bytes(value, "big") ^ 0xFFFFFFFF).bit_length()


def _decode_tunnel(number: int, port: int, bits: int) -> Tunnel | Unnamed:
    """Return the tunnel, or `Unnamed` if its type or flags are unknown."""
    type_, checksum = _TUNNEL_TYPE_BY_NUMBER.get(number), _CHECKSUM_BY_NUMBER.get(bits)
    if type_ is None or checksum is None:
        return Unnamed(f"tunnel type {number} with flags {bits}")
    return Tunnel(type_, port, checksum)
