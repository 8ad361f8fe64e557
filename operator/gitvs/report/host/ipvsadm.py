"""A state as lines for `ipvsadm -R`, in the order and spelling of `ipvsadm -Sn`.

These lines end with the thresholds, which `ipvsadm -Sn` omits. Tested with ipvsadm 1.31 on
Linux 6.1 (tests/kernel/test_ipvsadm_format.py). One spelling differs: ipvsadm prints a firewall
mark from 2147483648 on as a negative number, which it refuses to read.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network

from gitvs.core.model.resources import (
    Endpoint,
    FirewallMark,
    Forwarding,
    IPAddress,
    Key,
    Listener,
    Persistence,
    Protocol,
    RealServer,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualService,
)
from gitvs.core.model.state import State

_PROTOCOL_OPTIONS = {Protocol.TCP: "-t", Protocol.UDP: "-u", Protocol.SCTP: "--sctp-service"}
_PROTOCOL_NUMBERS = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132}
_FORWARDING_OPTIONS = {Forwarding.NAT: "-m", Forwarding.DR: "-g", Forwarding.TUN: "-i"}
_CHECKSUM_OPTIONS = {
    TunnelChecksum.NONE: "--tun-nocsum",
    TunnelChecksum.FULL: "--tun-csum",
    TunnelChecksum.REMOTE: "--tun-remcsum",
}
_HALF_RANGE = 1 << 31

SortKey = tuple[int, ...]
"""The numbers by which ipvsadm sorts an object."""


def ipvsadm_lines(state: State) -> Iterator[str]:
    """Yield one line for each virtual service, followed by its real servers."""
    servers: dict[Key, dict[SortKey, RealServer]] = {}
    for server in state.of_type(RealServer):
        servers.setdefault(server.service_key, {})[_server_sort_key(server)] = server
    services = {
        _service_sort_key(service.listener): service for service in state.of_type(VirtualService)
    }
    for service_sort_key in _sorted_as_ipvsadm(services):
        service = services[service_sort_key]
        yield f"-A {_listener_options(service.listener)} {' '.join(_service_options(service))}"
        service_servers = servers.get(service.key, {})
        for server_sort_key in _sorted_as_ipvsadm(service_servers):
            server = service_servers[server_sort_key]
            yield f"-a {_listener_options(service.listener)} {' '.join(_server_options(server))}"


def _service_sort_key(listener: Listener) -> SortKey:
    """Source: ipvsadm, libipvs.c, ipvs_cmp_services."""
    if isinstance(listener, FirewallMark):
        family = socket.AF_INET if listener.family == "ipv4" else socket.AF_INET6
        return (listener.mark, family, 0, 0, 0, 0, 0, 0)
    family = socket.AF_INET if listener.address.version == 4 else socket.AF_INET6
    return (
        0,
        family,
        _PROTOCOL_NUMBERS[listener.protocol],
        *_address_words(listener.address),
        listener.port,
    )


def _server_sort_key(server: RealServer) -> SortKey:
    """Source: ipvsadm, libipvs.c, ipvs_cmp_dests."""
    return (*_address_words(server.address), server.port)


def _address_words(address: IPAddress) -> SortKey:
    """Return an address as four numbers of 32 bits; an IPv4 address is the first."""
    packed = address.packed.ljust(16, b"\0")
    return tuple(int.from_bytes(packed[i : i + 4]) for i in range(0, 16, 4))


def _sorted_as_ipvsadm(sort_keys: Iterable[SortKey]) -> list[SortKey]:
    """Sort rows as ipvsadm does: number by number, each by the sign of a 32-bit difference."""
    rests_by_first: dict[int, list[SortKey]] = {}
    for sort_key in sort_keys:
        if not sort_key:
            return [sort_key]
        rests_by_first.setdefault(sort_key[0], []).append(sort_key[1:])
    return [
        (n, *rest)
        for n in _sorted_modulo_32_bits(rests_by_first)
        for rest in _sorted_as_ipvsadm(rests_by_first[n])
    ]


def _sorted_modulo_32_bits(numbers: Iterable[int]) -> list[int]:
    """Sort numbers by the sign of their differences in 32 bits, which wrap around like a circle.

    So 203.0.113.10 comes before 10.0.0.1. If no half of the circle is empty, ipvsadm's own
    order depends on the kernel's hash; here it is ascending.
    """
    ascending = sorted(numbers)
    for i in range(1, len(ascending)):
        if ascending[i] - ascending[i - 1] > _HALF_RANGE:
            return ascending[i:] + ascending[:i]
    return ascending


def _listener_options(listener: Listener) -> str:
    match listener:
        case FirewallMark(mark, family):
            return f"-f {mark} -6" if family == "ipv6" else f"-f {mark}"
        case Endpoint(protocol, address, port):
            return f"{_PROTOCOL_OPTIONS[protocol]} {_host_and_port(address, port)}"


def _host_and_port(address: IPAddress, port: int) -> str:
    """Return host and port, spelled by inet_ntop(3) as in ipvsadm: `::ffff:192.0.2.1`."""
    if address.version == 4:
        return f"{address}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, address.packed)}]:{port}"


def _service_options(service: VirtualService) -> Iterator[str]:
    yield f"-s {service.scheduler}"
    if service.persistence is not None:
        yield from _persistence_options(service.persistence, service.listener)
    if service.is_one_packet:
        yield "-o"
    if service.flags:
        yield f"-b {','.join(sorted(service.flags))}"


def _persistence_options(persistence: Persistence, listener: Listener) -> Iterator[str]:
    yield f"-p {persistence.timeout_seconds}"
    prefix_length = persistence.prefix_length
    if listener.family == "ipv6" and prefix_length != 128:
        yield f"-M {prefix_length}"
    elif listener.family == "ipv4" and prefix_length != 32:
        yield f"-M {IPv4Network((0, prefix_length)).netmask}"
    if persistence.engine is not None:
        yield f"--pe {persistence.engine}"


def _server_options(server: RealServer) -> Iterator[str]:
    yield f"-r {_host_and_port(server.address, server.port)}"
    yield f"{_FORWARDING_OPTIONS[server.forwarding]} -w {server.weight}"
    if server.tunnel is not None:
        yield from _tunnel_options(server.tunnel)
    if server.upper_threshold:
        yield f"-x {server.upper_threshold}"
    if server.lower_threshold:
        yield f"-y {server.lower_threshold}"


def _tunnel_options(tunnel: Tunnel) -> Iterator[str]:
    yield f"--tun-type {tunnel.type}"
    if tunnel.type is TunnelType.GUE:
        yield f"--tun-port {tunnel.port}"
    if tunnel.type is not TunnelType.IPIP:
        yield _CHECKSUM_OPTIONS[tunnel.checksum]
