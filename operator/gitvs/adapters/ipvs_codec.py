"""IPVS messages: resources to bytes, and the kernel's replies to resources. No I/O.

A message here is a generic-netlink payload: the command header and its attributes. The
netlink header with its family, flags and sequence number is the socket's (`ipvs`).
Kernel numbers exist in this module alone, and `svc`, `dest` and `fwd` are the kernel's words.

Source of every number: Linux include/uapi/linux/ip_vs.h. Which attributes a command needs,
their sizes and byte order: net/netfilter/ipvs/ip_vs_ctl.c (ip_vs_svc_policy,
ip_vs_dest_policy, ip_vs_genl_fill_service, ip_vs_genl_fill_dest).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_SCTP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    htonl,
    htons,
    ntohs,
)
from struct import Struct, calcsize
from typing import NewType, assert_never

from gitvs.core.model import (
    AddressFamily,
    Connections,
    Counters,
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
    host_and_port,
)

FAMILY_NAME = "IPVS"  # IPVS_GENL_NAME
FAMILY_VERSION = 1  # IPVS_GENL_VERSION

Payload = NewType("Payload", bytes)
"""A generic-netlink payload for the family `IPVS`."""

_HEADER = Struct("=BBH")  # command, family version, reserved


def _header(command: int) -> bytes:
    return _HEADER.pack(command, FAMILY_VERSION, 0)


# IPVS_CMD_*, as what a message of each begins with
_NEW_SERVICE, _SET_SERVICE, _DEL_SERVICE, _GET_SERVICE = map(_header, (1, 2, 3, 4))
_NEW_DEST, _SET_DEST, _DEL_DEST, _GET_DEST = map(_header, (5, 6, 7, 8))
_NEW_DAEMON, _DEL_DAEMON, _GET_DAEMON = map(_header, (9, 10, 11))
_SET_CONFIG, _GET_CONFIG, _GET_INFO = map(_header, (12, 13, 15))

# IPVS_CMD_ATTR_*
_SERVICE, _DEST, _DAEMON = 1, 2, 3
_TIMEOUTS = {TimeoutName.TCP: 4, TimeoutName.TCP_FIN: 5, TimeoutName.UDP: 6}

# IPVS_SVC_ATTR_*
_SVC_AF, _SVC_PROTOCOL, _SVC_ADDR, _SVC_PORT, _SVC_FWMARK = 1, 2, 3, 4, 5
_SVC_SCHED_NAME, _SVC_FLAGS, _SVC_TIMEOUT, _SVC_NETMASK, _SVC_PE_NAME = 6, 7, 8, 9, 11
_SVC_STATS64 = 12

# IPVS_DEST_ATTR_*
_DEST_ADDR, _DEST_PORT, _DEST_FWD_METHOD, _DEST_WEIGHT = 1, 2, 3, 4
_DEST_U_THRESH, _DEST_L_THRESH = 5, 6
_DEST_ACTIVE_CONNS, _DEST_INACT_CONNS, _DEST_PERSIST_CONNS = 7, 8, 9
_DEST_ADDR_FAMILY, _DEST_STATS64 = 11, 12
_DEST_TUN_TYPE, _DEST_TUN_PORT, _DEST_TUN_FLAGS = 13, 14, 15

# IPVS_STATS_ATTR_*: CONNS, INPKTS, OUTPKTS, INBYTES, OUTBYTES; rates and padding follow.
_STATS = (1, 2, 3, 4, 5)

# IPVS_DAEMON_ATTR_*
_DAEMON_STATE, _DAEMON_MCAST_IFN, _DAEMON_SYNC_ID = 1, 2, 3

# IPVS_INFO_ATTR_*
_INFO_VERSION = 1

# IP_VS_SVC_F_*
_PERSISTENT, _ONE_PACKET, _SCHED1, _SCHED2 = 0x1, 0x4, 0x8, 0x10
_ALL_FLAGS = 0xFFFFFFFF
"""The mask of every request, so that flags are also taken away. Source: ipvsadm(8), libipvs."""

# IP_VS_CONN_F_*; LOCALNODE (1) and BYPASS (4) are the kernel's own, never a real server's.
_FORWARDING = {Forwarding.NAT: 0, Forwarding.TUN: 2, Forwarding.DR: 3}
# IP_VS_CONN_F_TUNNEL_TYPE_*
_TUNNEL_TYPES = {TunnelType.IPIP: 0, TunnelType.GUE: 1, TunnelType.GRE: 2}
# IP_VS_TUNNEL_ENCAP_FLAG_*
_CHECKSUMS = {TunnelChecksum.NONE: 0, TunnelChecksum.FULL: 1, TunnelChecksum.REMOTE: 2}
# IP_VS_STATE_*
_ROLES = {SyncRole.PRIMARY: 1, SyncRole.BACKUP: 2}

_PROTOCOLS = {
    Protocol.TCP: IPPROTO_TCP,
    Protocol.UDP: IPPROTO_UDP,
    Protocol.SCTP: IPPROTO_SCTP,
}
_FAMILIES = {AddressFamily.IPV4: AF_INET, AddressFamily.IPV6: AF_INET6}

# The two scheduler bits mean what the scheduler says they mean.
# Source: Linux ip_vs_sh.c and ip_vs_mh.c, IP_VS_SVC_F_SCHED_{SH,MH}_{FALLBACK,PORT}.
_SCHEDULER_FLAGS: Mapping[str, Mapping[SchedulerFlag, int]] = {
    Scheduler.SH: {SchedulerFlag.SH_FALLBACK: _SCHED1, SchedulerFlag.SH_PORT: _SCHED2},
    Scheduler.MH: {SchedulerFlag.MH_FALLBACK: _SCHED1, SchedulerFlag.MH_PORT: _SCHED2},
}

_FORWARDING_OF = {number: word for word, number in _FORWARDING.items()}
_TUNNEL_TYPE_OF = {number: word for word, number in _TUNNEL_TYPES.items()}
_CHECKSUM_OF = {number: word for word, number in _CHECKSUMS.items()}
_ROLE_OF = {number: word for word, number in _ROLES.items()}
_PROTOCOL_OF = {number: word for word, number in _PROTOCOLS.items()}
_SCHEDULER_OF: Mapping[str, Scheduler] = {str(word): word for word in Scheduler}
_ENGINE_OF: Mapping[str, PersistenceEngine] = {str(word): word for word in PersistenceEngine}

_ATTRIBUTE = Struct("=HH")  # length without padding, type
_U32 = Struct("=I")
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER


def _head(type_: int, size: int) -> bytes:
    """Return what an attribute with a value of `size` bytes begins with."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + size, type_)


def _template(*attributes: tuple[int, str]) -> tuple[Struct, tuple[bytes, ...]]:
    """Return how attributes of fixed sizes lie in a row, and what each of them begins with.

    They are given as types and formats of their values. The `Struct` packs and unpacks them
    in one step, as a head and a value in turn: that is what makes thousands of rules cheap.
    """
    sizes = [calcsize(f"={format_}") for _, format_ in attributes]
    rows = [
        f"4s{format_}{-size % 4}x" for (_, format_), size in zip(attributes, sizes, strict=True)
    ]
    heads = [_head(type_, size) for (type_, _), size in zip(attributes, sizes, strict=True)]
    return Struct(f"={''.join(rows)}"), tuple(heads)


_ENDPOINT, _ENDPOINT_HEADS = _template(
    (_SVC_AF, "H"), (_SVC_PROTOCOL, "H"), (_SVC_ADDR, "16s"), (_SVC_PORT, "H")
)
_MARK, _MARK_HEADS = _template((_SVC_AF, "H"), (_SVC_FWMARK, "I"))
_SVC_VALUES, _SVC_VALUES_HEADS = _template(
    (_SVC_FLAGS, "II"), (_SVC_TIMEOUT, "I"), (_SVC_NETMASK, "I")
)

_KEY = ((_DEST_ADDR, "16s"), (_DEST_PORT, "H"), (_DEST_ADDR_FAMILY, "H"))
_METHOD_AND_WEIGHT = ((_DEST_FWD_METHOD, "I"), (_DEST_WEIGHT, "I"))
_THRESHOLDS = ((_DEST_U_THRESH, "I"), (_DEST_L_THRESH, "I"))
_TUNNELLING = ((_DEST_TUN_TYPE, "B"), (_DEST_TUN_PORT, "H"), (_DEST_TUN_FLAGS, "H"))
_DEST_KEY, _DEST_KEY_HEADS = _template(*_KEY)
_DEST_VALUES, _DEST_VALUES_HEADS = _template(*_KEY, *_METHOD_AND_WEIGHT, *_THRESHOLDS)
_TUNNEL, _TUNNEL_HEADS = _template(*_TUNNELLING)
_DEST_HEAD = _head(_DEST, _DEST_VALUES.size + _TUNNEL.size)
_DEST_NUMBERS = (*_KEY[1:2], *_METHOD_AND_WEIGHT, *_TUNNELLING, *_THRESHOLDS, *_KEY[2:])
_DEST_REPLY, _DEST_REPLY_HEADS = _template(*_KEY[:1], *_DEST_NUMBERS)
"""In the kernel's order since Linux 5.3, without what it counts."""

_STATS64 = Struct("=4xQ4xQ4xQ4xQ4xQ60x")
"""Ten numbers without padding, as most machines have them; the last five are rates."""
NOT_COUNTED = Counters()
"""The one object for all that has counted nothing."""


@dataclass(frozen=True, slots=True)
class Unnamed:
    """An IPVS object that the model has no words for, as people read it."""

    text: str


# Requests


def new_service(service: VirtualService) -> Payload:
    """Return the request to add a virtual service. Answers EEXIST if it is there."""
    return _service_request(_NEW_SERVICE, service)


def set_service(service: VirtualService) -> Payload:
    """Return the request to set every attribute of a virtual service, in place."""
    return _service_request(_SET_SERVICE, service)


def delete_service(listener: Listener) -> Payload:
    """Return the request to delete a virtual service, with its real servers."""
    return Payload(_DEL_SERVICE + service_part(listener))


def get_services() -> Payload:
    """Return the request to dump the virtual services."""
    return Payload(_GET_SERVICE)


def get_service(listener: Listener) -> Payload:
    """Return the request to read one virtual service; one reply, no dump. Answers ESRCH."""
    return Payload(_GET_SERVICE + service_part(listener))


def service_part(listener: Listener) -> bytes:
    """Return the part of a request that names the virtual service.

    Real servers of one virtual service share it: it takes as long to make as all the rest.
    """
    return _nested(_SERVICE, _listener(listener))


def new_real_server(server: RealServer, service: bytes = b"") -> Payload:
    """Return the request to add a real server. Answers EEXIST if it is there.

    `service` is the `service_part` of its listener, where that is made already.
    """
    return Payload(_NEW_DEST + (service or service_part(server.listener)) + _dest(server))


def set_real_server(server: RealServer, service: bytes = b"") -> Payload:
    """Return the request to set every attribute of a real server, in place."""
    return Payload(_SET_DEST + (service or service_part(server.listener)) + _dest(server))


def delete_real_server(server: RealServer, service: bytes = b"") -> Payload:
    """Return the request to delete a real server."""
    key = _nested(_DEST, _dest_key(server))
    return Payload(_DEL_DEST + (service or service_part(server.listener)) + key)


def get_real_servers(listener: Listener) -> Payload:
    """Return the request to dump the real servers of one virtual service."""
    return Payload(_GET_DEST + service_part(listener))


def start_sync_daemon(daemon: SyncDaemon) -> Payload:
    """Return the request to start a sync daemon. Answers EEXIST if one of this role runs."""
    attributes = (
        pack_attribute(_DAEMON_STATE, _U32.pack(_ROLES[daemon.role]))
        + pack_attribute(_DAEMON_MCAST_IFN, daemon.interface.encode() + b"\0")
        + pack_attribute(_DAEMON_SYNC_ID, _U32.pack(daemon.id))
    )
    return Payload(_NEW_DAEMON + pack_attribute(_DAEMON, attributes))


def stop_sync_daemon(role: SyncRole) -> Payload:
    """Return the request to stop the sync daemon of one role. Answers ESRCH if none runs."""
    state = pack_attribute(_DAEMON_STATE, _U32.pack(_ROLES[role]))
    return Payload(_DEL_DAEMON + pack_attribute(_DAEMON, state))


def get_sync_daemons() -> Payload:
    """Return the request to dump the sync daemons."""
    return Payload(_GET_DAEMON)


def set_timeout(timeout: Timeout) -> Payload:
    """Return the request to set one connection timeout; the kernel keeps the others."""
    value = pack_attribute(_TIMEOUTS[timeout.name], _U32.pack(timeout.seconds))
    return Payload(_SET_CONFIG + value)


def get_timeouts() -> Payload:
    """Return the request to read the connection timeouts; one reply, no dump."""
    return Payload(_GET_CONFIG)


def get_info() -> Payload:
    """Return the request to read the version of IPVS; one reply, no dump."""
    return Payload(_GET_INFO)


def pack_attribute(type_: int, value: bytes) -> bytes:
    """Return one attribute, padded to four bytes; its length says how much of it is value."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, type_) + value + bytes(-length % 4)


def _nested(type_: int, attributes: bytes) -> bytes:
    """Return one attribute that holds others, which are padded already."""
    return _head(type_, len(attributes)) + attributes


def _listener(listener: Listener) -> bytes:
    """Return the attributes that identify a virtual service."""
    match listener:
        case Endpoint():
            family, protocol, address, port = _ENDPOINT_HEADS
            packed = listener.address.packed
            return _ENDPOINT.pack(
                *(family, _family(packed)),
                *(protocol, _PROTOCOLS[listener.protocol]),
                *(address, packed),
                *(port, htons(listener.port)),
            )
        case FirewallMark():
            family, mark = _MARK_HEADS
            return _MARK.pack(family, _FAMILIES[listener.family], mark, listener.mark)
        case _:
            assert_never(listener)


def _family(packed: bytes) -> int:
    return AF_INET if len(packed) == 4 else AF_INET6


def _service_request(command: bytes, service: VirtualService) -> Payload:
    persistence = service.persistence
    bits = _SCHEDULER_FLAGS.get(service.scheduler, {})
    flags = (_ONE_PACKET if service.one_packet else 0) | (_PERSISTENT if persistence else 0)
    for flag in service.flags:
        flags |= bits.get(flag, 0)
    timeout = persistence.timeout_seconds if persistence else 0
    netmask = _netmask(service.listener.family, persistence)
    flags_head, timeout_head, netmask_head = _SVC_VALUES_HEADS
    attributes = (
        _listener(service.listener)
        + pack_attribute(_SVC_SCHED_NAME, service.scheduler.encode() + b"\0")
        + _SVC_VALUES.pack(
            *(flags_head, flags, _ALL_FLAGS),
            *(timeout_head, timeout),
            *(netmask_head, netmask),
        )
    )
    if persistence and persistence.engine is not None:
        attributes += pack_attribute(_SVC_PE_NAME, persistence.engine.encode() + b"\0")
    return Payload(command + _nested(_SERVICE, attributes))


def _netmask(family: AddressFamily, persistence: Persistence | None) -> int:
    """Return the number whose native bytes are the netmask: big-endian for IPv4.

    For IPv6 it is a prefix length, 1 to 128, checked even without persistence.
    """
    if family is AddressFamily.IPV6:
        return persistence.prefix_length if persistence else 128
    length = persistence.prefix_length if persistence else 32
    return htonl(0xFFFFFFFF << (32 - length) & 0xFFFFFFFF)


def _dest_key(server: RealServer) -> bytes:
    address, port, family = _DEST_KEY_HEADS
    packed = server.address.packed
    return _DEST_KEY.pack(
        *(address, packed),
        *(port, htons(server.port)),
        *(family, _family(packed)),
    )


def _dest(server: RealServer) -> bytes:
    tunnel = _NO_TUNNEL if server.tunnel is None else _tunnel(server.tunnel)
    address, port, family, method, weight, upper, lower = _DEST_VALUES_HEADS
    packed = server.address.packed
    return _DEST_HEAD + _DEST_VALUES.pack(
        address, packed,
        port, htons(server.port),
        family, _family(packed),
        method, _FORWARDING[server.forwarding],
        weight, server.weight,
        upper, server.upper_threshold,
        lower, server.lower_threshold,
    ) + tunnel  # fmt: skip


def _tunnel(tunnel: Tunnel) -> bytes:
    type_, port, flags = _TUNNEL_HEADS
    return _TUNNEL.pack(
        *(type_, _TUNNEL_TYPES[tunnel.type]),
        *(port, htons(tunnel.port)),
        *(flags, _CHECKSUMS[tunnel.checksum]),
    )


_DEFAULT_TUNNEL = Tunnel()
_NO_TUNNEL = _tunnel(_DEFAULT_TUNNEL)
"""What a real server without a tunnel says; the kernel's own default."""


# Replies

_Attributes = dict[int, bytes]


def service_from(payload: bytes) -> tuple[VirtualService | Unnamed, Counters]:
    """Return the virtual service of one message of a dump, and what it has counted."""
    svc = unpack_attributes(unpack_attributes(payload, _HEADER.size)[_SERVICE])
    return _service_from(svc), counters_from(svc.get(_SVC_STATS64, b""))


def configured_service(attributes: bytes) -> VirtualService | Unnamed:
    """Return the virtual service that attributes of a dump say."""
    return _service_from(unpack_attributes(attributes))


def _service_from(svc: _Attributes) -> VirtualService | Unnamed:
    listener = _listener_from(svc)
    if isinstance(listener, Unnamed):
        return listener
    name = _string(svc[_SVC_SCHED_NAME])
    scheduler = _SCHEDULER_OF.get(name, ForeignName(name))
    flags = _number(svc[_SVC_FLAGS][:4])
    known = _SCHEDULER_FLAGS.get(scheduler, {})
    return VirtualService(
        listener,
        scheduler,
        frozenset(flag for flag, bit in known.items() if flags & bit),
        bool(flags & _ONE_PACKET),
        _persistence_from(svc, listener.family) if flags & _PERSISTENT else None,
    )


def real_server_from(
    payload: bytes, listener: Listener
) -> tuple[RealServer | Unnamed, Connections, Counters]:
    """Return the real server of one message of a dump of `listener`.

    With it go the connections that it has, and what it has counted.
    """
    dest = unpack_attributes(unpack_attributes(payload, _HEADER.size)[_DEST])
    connections = Connections(
        _number(dest[_DEST_ACTIVE_CONNS]),
        _number(dest[_DEST_INACT_CONNS]),
        _number(dest[_DEST_PERSIST_CONNS]),
    )
    counters = counters_from(dest.get(_DEST_STATS64, b""))
    return _real_server_from(dest, listener), connections, counters


def configuration(server: RealServer) -> bytes:
    """Return the attributes by which the kernel says in a dump how a real server is configured.

    `configured_real_server` takes them back, in several times as long.
    """
    tunnel = server.tunnel or _DEFAULT_TUNNEL
    address, port, method, weight, type_, tunnel_port, flags, upper, lower, family = (
        _DEST_REPLY_HEADS
    )
    packed = server.address.packed
    return _DEST_REPLY.pack(
        address, packed,
        port, htons(server.port),
        method, _FORWARDING[server.forwarding],
        weight, server.weight,
        type_, _TUNNEL_TYPES[tunnel.type],
        tunnel_port, htons(tunnel.port),
        flags, _CHECKSUMS[tunnel.checksum],
        upper, server.upper_threshold,
        lower, server.lower_threshold,
        family, _family(packed),
    )  # fmt: skip


def configured_real_server(attributes: bytes, listener: Listener) -> RealServer | Unnamed:
    """Return the real server that attributes of a dump say, whatever it counts."""
    if len(attributes) == _DEST_REPLY.size:
        parts = _DEST_REPLY.unpack(attributes)
        if parts[::2] == _DEST_REPLY_HEADS:
            return _real_server(listener, *parts[1::2])
    return _real_server_from(unpack_attributes(attributes), listener)


def _real_server_from(dest: _Attributes, listener: Listener) -> RealServer | Unnamed:
    """Return a real server of any kernel: tunnels came with Linux 5.2, the family with 3.18."""
    address = dest[_DEST_ADDR]
    numbers = (_number(dest.get(type_, b"")) for type_, _ in _DEST_NUMBERS)
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
    """Return a real server from what `_DEST_REPLY` has, ports in the order of the network."""
    address = _address_from(packed, family or _FAMILIES[listener.family])
    forwarding = _FORWARDING_OF.get(method)
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
    daemon = unpack_attributes(unpack_attributes(payload, _HEADER.size)[_DAEMON])
    return SyncDaemon(
        _ROLE_OF[_number(daemon[_DAEMON_STATE])],
        _string(daemon[_DAEMON_MCAST_IFN]),
        _number(daemon[_DAEMON_SYNC_ID]),
    )


def timeouts_from(payload: bytes) -> list[Timeout]:
    """Return the connection timeouts of the one reply, in whole seconds."""
    attributes = unpack_attributes(payload, _HEADER.size)
    return [
        Timeout(name, _number(attributes[type_]))
        for name, type_ in _TIMEOUTS.items()
        if type_ in attributes
    ]


def version_from(payload: bytes) -> str:
    """Return the version of IPVS, as `1.2.1`. Source: ip_vs.h, NVERSION."""
    version = _number(unpack_attributes(payload, _HEADER.size)[_INFO_VERSION])
    return f"{version >> 16 & 0xFF}.{version >> 8 & 0xFF}.{version & 0xFF}"


def unpack_attributes(data: bytes, at: int = 0) -> _Attributes:
    """Return the attributes from `at` on, by type."""
    found = {}
    end = len(data)
    while at + 4 <= end:
        length, type_ = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            break
        found[type_ & _TYPE_MASK] = data[at + 4 : at + length]
        at += length + 3 & ~3
    return found


def counters_from(stats: bytes) -> Counters:
    """Return what was counted. Before Linux 4.1 there are no numbers of 64 bits, and no answer.

    A machine that reads only aligned numbers has padding among them.
    Source: ip_vs_ctl.c, ip_vs_genl_fill_stats64; net/netlink.h, nla_put_64bit.
    """
    if len(stats) == _STATS64.size:
        counts = _STATS64.unpack(stats)
    else:
        numbers = unpack_attributes(stats)
        counts = tuple(_number(numbers.get(type_, b"")) for type_ in _STATS)
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


def _listener_from(svc: _Attributes) -> Listener | Unnamed:
    family = _number(svc[_SVC_AF])
    if _SVC_FWMARK in svc:
        is_ipv4 = family == AF_INET
        name = AddressFamily.IPV4 if is_ipv4 else AddressFamily.IPV6
        return FirewallMark(_number(svc[_SVC_FWMARK]), name)
    number = _number(svc[_SVC_PROTOCOL])
    address, port = _address_from(svc[_SVC_ADDR], family), _port_from(svc[_SVC_PORT])
    protocol = _PROTOCOL_OF.get(number)
    if protocol is None:
        return Unnamed(f"protocol {number} {host_and_port(address, port)}")
    return Endpoint(protocol, address, port)


def _persistence_from(svc: _Attributes, family: AddressFamily) -> Persistence:
    engine = _string(svc[_SVC_PE_NAME]) if _SVC_PE_NAME in svc else None
    return Persistence(
        _number(svc[_SVC_TIMEOUT]),
        _prefix_length_from(svc[_SVC_NETMASK], family),
        None if engine is None else _ENGINE_OF.get(engine, ForeignName(engine)),
    )


def _prefix_length_from(value: bytes, family: AddressFamily) -> int:
    """Return the prefix length; of a mask with holes, which only others set, its leading ones."""
    if family is AddressFamily.IPV6:
        return _number(value)
    return 32 - (int.from_bytes(value, "big") ^ 0xFFFFFFFF).bit_length()


def _tunnel_from(number: int, port: int, bits: int) -> Tunnel | Unnamed:
    """Return how packets are wrapped."""
    type_, checksum = _TUNNEL_TYPE_OF.get(number), _CHECKSUM_OF.get(bits)
    if type_ is None or checksum is None:
        return Unnamed(f"tunnel type {number} with flags {bits}")
    return Tunnel(type_, port, checksum)
