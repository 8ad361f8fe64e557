"""IPVS requests: resources to the messages that the kernel reads."""

from __future__ import annotations

from socket import (
    AF_INET,
    AF_INET6,
    htonl,
    htons,
)
from typing import assert_never

from gitvs.adapters.linux.ipvs_codec.numbers import (
    ALL_FLAGS,
    CHECKSUMS,
    DAEMON,
    DAEMON_MCAST_IFN,
    DAEMON_STATE,
    DAEMON_SYNC_ID,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    DEST,
    DEST_HEAD,
    DEST_KEY,
    DEST_KEY_HEADS,
    DEST_VALUES,
    DEST_VALUES_HEADS,
    ENDPOINT,
    ENDPOINT_HEADS,
    FAMILIES,
    FORWARDING,
    GET_CONFIG,
    GET_DAEMON,
    GET_DEST,
    GET_INFO,
    GET_SERVICE,
    MARK,
    MARK_HEADS,
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
    SVC_VALUES_HEADS,
    TIMEOUTS,
    TUNNEL,
    TUNNEL_HEADS,
    TUNNEL_TYPES,
    U32,
    Payload,
    attribute_head,
    pack_attribute,
)
from gitvs.core.model.resources import (
    AddressFamily,
    Endpoint,
    FirewallMark,
    Listener,
    Persistence,
    RealServer,
    SyncDaemon,
    SyncRole,
    Timeout,
    Tunnel,
    VirtualService,
)


def new_service(service: VirtualService) -> Payload:
    """Return the request to add a virtual service. Answers EEXIST if it is there."""
    return _service_request(NEW_SERVICE, service)


def set_service(service: VirtualService) -> Payload:
    """Return the request to set every attribute of a virtual service, in place."""
    return _service_request(SET_SERVICE, service)


def delete_service(listener: Listener) -> Payload:
    """Return the request to delete a virtual service, with its real servers."""
    return Payload(DEL_SERVICE + service_part(listener))


def get_services() -> Payload:
    """Return the request to dump the virtual services."""
    return Payload(GET_SERVICE)


def get_service(listener: Listener) -> Payload:
    """Return the request to read one virtual service; one reply, no dump. Answers ESRCH."""
    return Payload(GET_SERVICE + service_part(listener))


def service_part(listener: Listener) -> bytes:
    """Return the part of a request that names the virtual service.

    Real servers of one virtual service share it: it takes as long to make as all the rest.
    """
    return _nested(SERVICE, _listener(listener))


def new_real_server(server: RealServer, service: bytes = b"") -> Payload:
    """Return the request to add a real server. Answers EEXIST if it is there.

    `service` is the `service_part` of its listener, where that is made already.
    """
    return Payload(NEW_DEST + (service or service_part(server.listener)) + _dest(server))


def set_real_server(server: RealServer, service: bytes = b"") -> Payload:
    """Return the request to set every attribute of a real server, in place."""
    return Payload(SET_DEST + (service or service_part(server.listener)) + _dest(server))


def delete_real_server(server: RealServer, service: bytes = b"") -> Payload:
    """Return the request to delete a real server."""
    key = _nested(DEST, _dest_key(server))
    return Payload(DEL_DEST + (service or service_part(server.listener)) + key)


def get_real_servers(listener: Listener) -> Payload:
    """Return the request to dump the real servers of one virtual service."""
    return Payload(GET_DEST + service_part(listener))


def start_sync_daemon(daemon: SyncDaemon) -> Payload:
    """Return the request to start a sync daemon. Answers EEXIST if one of this role runs."""
    attributes = (
        pack_attribute(DAEMON_STATE, U32.pack(ROLES[daemon.role]))
        + pack_attribute(DAEMON_MCAST_IFN, daemon.interface.encode() + b"\0")
        + pack_attribute(DAEMON_SYNC_ID, U32.pack(daemon.id))
    )
    return Payload(NEW_DAEMON + pack_attribute(DAEMON, attributes))


def stop_sync_daemon(role: SyncRole) -> Payload:
    """Return the request to stop the sync daemon of one role. Answers ESRCH if none runs."""
    state = pack_attribute(DAEMON_STATE, U32.pack(ROLES[role]))
    return Payload(DEL_DAEMON + pack_attribute(DAEMON, state))


def get_sync_daemons() -> Payload:
    """Return the request to dump the sync daemons."""
    return Payload(GET_DAEMON)


def set_timeout(timeout: Timeout) -> Payload:
    """Return the request to set one connection timeout; the kernel keeps the others."""
    value = pack_attribute(TIMEOUTS[timeout.name], U32.pack(timeout.seconds))
    return Payload(SET_CONFIG + value)


def get_timeouts() -> Payload:
    """Return the request to read the connection timeouts; one reply, no dump."""
    return Payload(GET_CONFIG)


def get_info() -> Payload:
    """Return the request to read the version of IPVS; one reply, no dump."""
    return Payload(GET_INFO)


def _nested(type_: int, attributes: bytes) -> bytes:
    """Return one attribute that holds others, which are padded already."""
    return attribute_head(type_, len(attributes)) + attributes


def _listener(listener: Listener) -> bytes:
    """Return the attributes that identify a virtual service."""
    match listener:
        case Endpoint():
            family, protocol, address, port = ENDPOINT_HEADS
            packed = listener.address.packed
            return ENDPOINT.pack(
                *(family, family_number(packed)),
                *(protocol, PROTOCOLS[listener.protocol]),
                *(address, packed),
                *(port, htons(listener.port)),
            )
        case FirewallMark():
            family, mark = MARK_HEADS
            return MARK.pack(family, FAMILIES[listener.family], mark, listener.mark)
        case _:
            assert_never(listener)


def family_number(packed: bytes) -> int:
    return AF_INET if len(packed) == 4 else AF_INET6


def _service_request(command: bytes, service: VirtualService) -> Payload:
    persistence = service.persistence
    bits = SCHEDULER_FLAGS.get(service.scheduler, {})
    flags = (ONE_PACKET if service.one_packet else 0) | (PERSISTENT if persistence else 0)
    for flag in service.flags:
        flags |= bits.get(flag, 0)
    timeout = persistence.timeout_seconds if persistence else 0
    netmask = _netmask(service.listener.family, persistence)
    flags_head, timeout_head, netmask_head = SVC_VALUES_HEADS
    attributes = (
        _listener(service.listener)
        + pack_attribute(SVC_SCHED_NAME, service.scheduler.encode() + b"\0")
        + SVC_VALUES.pack(
            *(flags_head, flags, ALL_FLAGS),
            *(timeout_head, timeout),
            *(netmask_head, netmask),
        )
    )
    if persistence and persistence.engine is not None:
        attributes += pack_attribute(SVC_PE_NAME, persistence.engine.encode() + b"\0")
    return Payload(command + _nested(SERVICE, attributes))


def _netmask(family: AddressFamily, persistence: Persistence | None) -> int:
    """Return the number whose native bytes are the netmask: big-endian for IPv4.

    For IPv6 it is a prefix length, 1 to 128, checked even without persistence.
    """
    if family is AddressFamily.IPV6:
        return persistence.prefix_length if persistence else 128
    length = persistence.prefix_length if persistence else 32
    return htonl(0xFFFFFFFF << (32 - length) & 0xFFFFFFFF)


def _dest_key(server: RealServer) -> bytes:
    address, port, family = DEST_KEY_HEADS
    packed = server.address.packed
    return DEST_KEY.pack(
        *(address, packed),
        *(port, htons(server.port)),
        *(family, family_number(packed)),
    )


def _dest(server: RealServer) -> bytes:
    tunnel = _NO_TUNNEL if server.tunnel is None else _tunnel(server.tunnel)
    address, port, family, method, weight, upper, lower = DEST_VALUES_HEADS
    packed = server.address.packed
    return DEST_HEAD + DEST_VALUES.pack(
        address, packed,
        port, htons(server.port),
        family, family_number(packed),
        method, FORWARDING[server.forwarding],
        weight, server.weight,
        upper, server.upper_threshold,
        lower, server.lower_threshold,
    ) + tunnel  # fmt: skip


def _tunnel(tunnel: Tunnel) -> bytes:
    type_, port, flags = TUNNEL_HEADS
    return TUNNEL.pack(
        *(type_, TUNNEL_TYPES[tunnel.type]),
        *(port, htons(tunnel.port)),
        *(flags, CHECKSUMS[tunnel.checksum]),
    )


DEFAULT_TUNNEL = Tunnel()

_NO_TUNNEL = _tunnel(DEFAULT_TUNNEL)
"""What a real server without a tunnel says; the kernel's own default."""
