"""IPVS requests: resources to the messages that the kernel reads.

It also makes the bytes that the kernel sends for them in a dump, so that a reading can compare
bytes.
"""

from __future__ import annotations

from functools import lru_cache
from socket import (
    AF_INET,
    AF_INET6,
    htonl,
    htons,
)
from typing import assert_never

from gitvs.adapters.linux.attributes import ATTRIBUTE, pack_attribute
from gitvs.adapters.linux.ipvs_codec.numbers import (
    _DEST_CONFIGURATION,
    _DEST_CONFIGURATION_HEADERS,
    _DEST_HEADER,
    _DEST_KEY_HEADERS,
    _DEST_VALUES_HEADERS,
    _ENDPOINT_HEADERS,
    _MARK_HEADERS,
    _SVC_VALUES_HEADERS,
    _TUNNEL_HEADERS,
    ALL_FLAGS,
    CHECKSUMS,
    DAEMON,
    DAEMON_MCAST_GROUP,
    DAEMON_MCAST_GROUP6,
    DAEMON_MCAST_IFN,
    DAEMON_MCAST_PORT,
    DAEMON_MCAST_TTL,
    DAEMON_STATE,
    DAEMON_SYNC_ID,
    DAEMON_SYNC_MAXLEN,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    DEST,
    DEST_KEY,
    DEST_VALUES,
    ENDPOINT,
    FAMILIES,
    FORWARDING,
    GET_CONFIG,
    GET_DAEMON,
    GET_DEST,
    GET_INFO,
    GET_SERVICE,
    HASHED,
    MARK,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    ONE_PACKET,
    PERSISTENT,
    PROTOCOLS,
    ROLES,
    SCHEDULER_FLAGS,
    SERVICE,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    SVC_PE_NAME,
    SVC_SCHED_NAME,
    SVC_VALUES,
    TIMEOUTS,
    TUNNEL,
    TUNNEL_TYPES,
    U8,
    U16,
    U32,
    Payload,
    _attribute_header,
)
from gitvs.core.model.resources import (
    AddressFamily,
    Endpoint,
    FirewallMark,
    Listener,
    Persistence,
    RealServer,
    SchedulerFlag,
    SyncDaemon,
    SyncRole,
    Timeout,
    Tunnel,
    VirtualService,
)


def new_service(service: VirtualService, packed_service: bytes = b"") -> Payload:
    """Return the request to add a virtual service; it is refused with EEXIST if it exists.

    `packed_service` is the `service_attribute` of its listener, if that was already made.
    """
    return _service_request(NEW_SERVICE, service, packed_service)


def set_service(service: VirtualService, packed_service: bytes = b"") -> Payload:
    """Return the request to set every attribute of a virtual service, in place."""
    return _service_request(SET_SERVICE, service, packed_service)


def delete_service(listener: Listener, packed_service: bytes = b"") -> Payload:
    """Return the request to delete a virtual service, with its real servers."""
    return DEL_SERVICE + (packed_service or service_attribute(listener))


def get_services() -> Payload:
    """Return the request to dump the virtual services."""
    return GET_SERVICE


def get_service(listener: Listener) -> Payload:
    """Return the request to read one virtual service: one reply, no dump.

    It is refused with ESRCH if the virtual service does not exist.
    """
    return GET_SERVICE + service_attribute(listener)


def service_attribute(listener: Listener) -> bytes:
    """Return the part of a request that names the virtual service.

    The real servers of a virtual service share it, since making it takes as long as all the
    rest.
    """
    return _pack_nested_attribute(SERVICE, _pack_listener(listener))


def new_real_server(server: RealServer, packed_service: bytes = b"") -> Payload:
    """Return the request to add a real server; it is refused with EEXIST if it exists.

    `packed_service` is the `service_attribute` of its listener, if that was already made.
    """
    return NEW_DEST + (packed_service or service_attribute(server.listener)) + _pack_dest(server)


def set_real_server(server: RealServer, packed_service: bytes = b"") -> Payload:
    """Return the request to set every attribute of a real server, in place."""
    return SET_DEST + (packed_service or service_attribute(server.listener)) + _pack_dest(server)


def delete_real_server(server: RealServer, packed_service: bytes = b"") -> Payload:
    """Return the request to delete a real server."""
    key = _pack_nested_attribute(DEST, _pack_dest_key(server))
    return DEL_DEST + (packed_service or service_attribute(server.listener)) + key


def get_real_servers(listener: Listener) -> Payload:
    """Return the request to dump the real servers of one virtual service."""
    return GET_DEST + service_attribute(listener)


def start_sync_daemon(daemon: SyncDaemon) -> Payload:
    """Return the request to start a sync daemon; refused with EEXIST if its role is running."""
    group = DAEMON_MCAST_GROUP if daemon.group.version == 4 else DAEMON_MCAST_GROUP6
    length = daemon.max_length
    max_length = b"" if length is None else pack_attribute(DAEMON_SYNC_MAXLEN, U16.pack(length))
    attributes = (
        pack_attribute(DAEMON_STATE, U32.pack(ROLES[daemon.role]))
        + pack_attribute(DAEMON_MCAST_IFN, daemon.interface.encode() + b"\0")
        + pack_attribute(DAEMON_SYNC_ID, U32.pack(daemon.id))
        + max_length
        + pack_attribute(group, daemon.group.packed)
        + pack_attribute(DAEMON_MCAST_PORT, U16.pack(daemon.port))
        + pack_attribute(DAEMON_MCAST_TTL, U8.pack(daemon.ttl))
    )
    return NEW_DAEMON + pack_attribute(DAEMON, attributes)


def stop_sync_daemon(role: SyncRole) -> Payload:
    """Return the request to stop the sync daemon of one role; refused with ESRCH if none runs."""
    state = pack_attribute(DAEMON_STATE, U32.pack(ROLES[role]))
    return DEL_DAEMON + pack_attribute(DAEMON, state)


def get_sync_daemons() -> Payload:
    """Return the request to dump the sync daemons."""
    return GET_DAEMON


def set_timeout(timeout: Timeout) -> Payload:
    """Return the request to set one connection timeout; the kernel keeps the others."""
    value = pack_attribute(TIMEOUTS[timeout.name], U32.pack(timeout.seconds))
    return SET_CONFIG + value


def get_timeouts() -> Payload:
    """Return the request to read the connection timeouts; one reply, no dump."""
    return GET_CONFIG


def get_info() -> Payload:
    """Return the request to read the version of IPVS; one reply, no dump."""
    return GET_INFO


def _pack_nested_attribute(type_: int, attributes: bytes) -> bytes:
    """Return one attribute that contains others, which are already padded."""
    return _attribute_header(type_, len(attributes)) + attributes


def _pack_listener(listener: Listener) -> bytes:
    """Return the attributes that identify a virtual service."""
    match listener:
        case Endpoint():
            family, protocol, address, port = _ENDPOINT_HEADERS
            packed = listener.address.packed
            return ENDPOINT.pack(
                family, AF_INET if len(packed) == 4 else AF_INET6,
                protocol, PROTOCOLS[listener.protocol],
                address, packed,
                port, htons(listener.port),
            )  # fmt: skip
        case FirewallMark():
            family, mark = _MARK_HEADERS
            return MARK.pack(family, FAMILIES[listener.family], mark, listener.mark)
        case _:
            assert_never(listener)


def _family_number(packed: bytes) -> int:
    return AF_INET if len(packed) == 4 else AF_INET6


def service_configuration(service: VirtualService) -> bytes:
    """Return what a dump says of a virtual service, up to its counters.

    If another kernel sends other bytes, the virtual service is decoded. Source: ip_vs_ctl.c,
    ip_vs_genl_fill_service.
    """
    scheduler, values, engine = _service_attributes(service, HASHED)
    return _pack_listener(service.listener) + scheduler + engine + values


def real_server_configuration(server: RealServer) -> bytes:
    """Return what a dump says of a real server, without its connections and counters.

    As `service_configuration`. Source: ip_vs_ctl.c, ip_vs_genl_fill_dest, since Linux 5.3.
    """
    address, port, method, weight, type_, tunnel_port, flags, upper, lower, family = (
        _DEST_CONFIGURATION_HEADERS
    )
    tunnel = server.tunnel or DEFAULT_TUNNEL
    packed = server.address.packed
    return _DEST_CONFIGURATION.pack(
        address, packed,
        port, htons(server.port),
        method, FORWARDING[server.forwarding],
        weight, server.weight,
        type_, TUNNEL_TYPES[tunnel.type],
        tunnel_port, htons(tunnel.port),
        flags, CHECKSUMS[tunnel.checksum],
        upper, server.upper_threshold,
        lower, server.lower_threshold,
        family, AF_INET if len(packed) == 4 else AF_INET6,
    )  # fmt: skip


def _service_request(command: bytes, service: VirtualService, packed_service: bytes) -> Payload:
    packed_service = packed_service or service_attribute(service.listener)
    attributes = packed_service[ATTRIBUTE.size :] + b"".join(_service_attributes(service))
    return command + _pack_nested_attribute(SERVICE, attributes)


def _service_attributes(
    service: VirtualService, kernel_flags: int = 0
) -> tuple[bytes, bytes, bytes]:
    """Return a virtual service's scheduler, values, and persistence engine if there is one."""
    return _pack_service(
        service.listener.family,
        service.scheduler,
        service.flags,
        service.persistence,
        kernel_flags | (ONE_PACKET if service.is_one_packet else 0),
    )


@lru_cache(maxsize=64)
def _pack_service(
    family: AddressFamily,
    scheduler: str,
    scheduler_flags: frozenset[SchedulerFlag],
    persistence: Persistence | None,
    flags: int,
) -> tuple[bytes, bytes, bytes]:
    """Return `_service_attributes`.

    Most virtual services of a director have the same. Packing them once, and the name of each
    service once for all its requests, saves an eighth of the user time of writing rules.
    """
    flag_bits = SCHEDULER_FLAGS.get(scheduler, {})
    flags |= PERSISTENT if persistence else 0
    for flag in scheduler_flags:
        flags |= flag_bits.get(flag, 0)
    timeout = persistence.timeout_seconds if persistence else 0
    flags_header, timeout_header, netmask_header = _SVC_VALUES_HEADERS
    values = SVC_VALUES.pack(
        *(flags_header, flags, ALL_FLAGS),
        *(timeout_header, timeout),
        *(netmask_header, _netmask(family, persistence)),
    )
    name = pack_attribute(SVC_SCHED_NAME, scheduler.encode() + b"\0")
    engine = b""
    if persistence and persistence.engine is not None:
        engine = pack_attribute(SVC_PE_NAME, persistence.engine.encode() + b"\0")
    return name, values, engine


def _netmask(family: AddressFamily, persistence: Persistence | None) -> int:
    """Return the number whose native bytes are the netmask: big-endian for IPv4.

    For IPv6 it is a prefix length, 1 to 128, checked even without persistence.
    """
    if family is AddressFamily.IPV6:
        return persistence.prefix_length if persistence else 128
    length = persistence.prefix_length if persistence else 32
    return htonl(0xFFFFFFFF << (32 - length) & 0xFFFFFFFF)


def _pack_dest_key(server: RealServer) -> bytes:
    address, port, family = _DEST_KEY_HEADERS
    packed = server.address.packed
    return DEST_KEY.pack(
        *(address, packed),
        *(port, htons(server.port)),
        *(family, _family_number(packed)),
    )


_ADDRESS, _PORT, _FAMILY, _METHOD, _WEIGHT, _UPPER, _LOWER = _DEST_VALUES_HEADERS


def _pack_dest(server: RealServer) -> bytes:
    tunnel = _PACKED_DEFAULT_TUNNEL if server.tunnel is None else _pack_tunnel(server.tunnel)
    packed = server.address.packed
    return _DEST_HEADER + DEST_VALUES.pack(
        _ADDRESS, packed,
        _PORT, htons(server.port),
        _FAMILY, AF_INET if len(packed) == 4 else AF_INET6,
        _METHOD, FORWARDING[server.forwarding],
        _WEIGHT, server.weight,
        _UPPER, server.upper_threshold,
        _LOWER, server.lower_threshold,
    ) + tunnel  # fmt: skip


def _pack_tunnel(tunnel: Tunnel) -> bytes:
    type_, port, flags = _TUNNEL_HEADERS
    return TUNNEL.pack(
        *(type_, TUNNEL_TYPES[tunnel.type]),
        *(port, htons(tunnel.port)),
        *(flags, CHECKSUMS[tunnel.checksum]),
    )


DEFAULT_TUNNEL = Tunnel()

_PACKED_DEFAULT_TUNNEL = _pack_tunnel(DEFAULT_TUNNEL)
"""Sent for a real server without a tunnel; the kernel's own default."""
