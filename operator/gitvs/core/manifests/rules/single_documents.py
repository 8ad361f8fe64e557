"""Rules within one document: a Service, a Pool or a Director by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from gitvs.core.manifests.rules.health_checks import health_problems
from gitvs.core.manifests.syntax.source_positions import Origin
from gitvs.core.manifests.types import Director, ManifestRealServer, Pool, Service
from gitvs.core.model.resources import (
    Forwarding,
    IPAddress,
    IPNetwork,
    Protocol,
    Scheduler,
    SchedulerFlag,
    SyncRole,
    family_of,
)
from gitvs.core.problems import Problem

_FLAGS_BY_SCHEDULER: dict[Scheduler, frozenset[SchedulerFlag]] = {
    Scheduler.MH: frozenset({SchedulerFlag.MH_PORT, SchedulerFlag.MH_FALLBACK}),
    Scheduler.SH: frozenset({SchedulerFlag.SH_PORT, SchedulerFlag.SH_FALLBACK}),
}
MIN_LOCAL_ROUTE_PREFIX_LENGTH = {4: 8, 6: 32}
_NEVER_LOCAL: tuple[tuple[str, IPNetwork], ...] = tuple(
    (name, ip_network(prefix))
    for name, prefix in (
        ("loopback", "127.0.0.0/8"),
        ("loopback", "::1/128"),
        ("link-local", "169.254.0.0/16"),
        ("link-local", "fe80::/10"),
        ("multicast", "224.0.0.0/4"),
        ("multicast", "ff00::/8"),
    )
)
_BROADCAST = IPv4Address("255.255.255.255")


def service_problems(service: Service) -> Iterator[Problem]:
    """Yield what is wrong inside a Service document."""
    yield from _listener_problems(service)
    yield from _vip_problems(service)
    yield from _port_problems(service)
    yield from _scheduling_problems(service)
    yield from health_problems(service)
    yield from _server_problems(service.real_servers)


def pool_problems(pool: Pool) -> Iterator[Problem]:
    """Yield what is wrong inside a Pool document."""
    yield from _server_problems(pool.real_servers)
    yield from _duplicate_server_problems(pool)


def director_problems(director: Director) -> Iterator[Problem]:
    """Yield what is wrong inside a Director document."""
    yield from _host_address_problems(director)
    yield from _local_route_problems(director)
    yield from _sync_daemon_problems(director)


_THIS_NETWORK = IPv4Network("0.0.0.0/8")
"""Source: RFC 1122, section 3.2.1.3 (a)."""


def unusable_reason(address: IPAddress) -> str | None:
    """Return why no service or real server can use an address; None if they can."""
    if address.is_unspecified:
        return "unspecified"
    if address.is_multicast:
        return "multicast"
    return "broadcast" if address == _BROADCAST else None


def _listener_problems(service: Service) -> Iterator[Problem]:
    origins = service.origins
    if service.firewall_mark is not None:
        if "hostAddresses" in origins:
            message = "a firewall-mark service has no hostAddresses: the mark decides what it "
            message += "serves; leave them out"
            yield origins["hostAddresses"].problem("mark-with-host-addresses", message)
        for vip in service.vips:
            if service.address_family not in (None, family_of(vip.address)):
                message = f"VIP {vip.address} is not {service.address_family}, the addressFamily "
                message += "of this firewall mark; leave one of the two out"
                yield vip.origin.problem("vip-of-another-family", message)
    else:
        if "vips" not in origins and "hostAddresses" not in origins:
            message = f"service {service.name} has ports and no address; give vips or hostAddresses"
            origin = service.origin_of("ports")
            yield origin.problem("service-without-address", message)
        if service.address_family is not None:
            message = "addressFamily is for firewall marks; a VIP has the family of its address"
            yield origins["addressFamily"].problem("address-family-without-mark", message)
    if service.is_cross_family and service.forwarding is not Forwarding.TUN:
        message = f"crossFamily works with forwarding tun only, not with {service.forwarding}"
        yield service.origin_of("crossFamily").problem("cross-family-without-tun", message)


def _vip_problems(service: Service) -> Iterator[Problem]:
    for vip in service.vips:
        address = vip.address
        reason = unusable_reason(address)
        if reason is None and (address.is_loopback or address.is_link_local):
            reason = "loopback" if address.is_loopback else "link-local"
        elif reason is None and address in _THIS_NETWORK:
            reason = f"of {_THIS_NETWORK}, which no packet comes to"
        if reason is not None:
            message = f"VIP {address} is {reason}; give an address that clients can route to"
            yield vip.origin.problem("vip-not-routable", message)


def _port_problems(service: Service) -> Iterator[Problem]:
    seen: dict[tuple[Protocol, int], Origin] = {}
    for port in service.ports:
        if (port.protocol, port.port) in seen:
            first = seen[port.protocol, port.port]
            message = f"{port} is given twice, first in {first}; remove one of the two"
            yield port.origin.problem("duplicate-port", message, first)
        seen.setdefault((port.protocol, port.port), port.origin)
        if port.port == 0 and service.persistence is None:
            message = "port 0 is every port, and works with persistence only; give persistence"
            yield (port.origin / "port").problem("port-zero-without-persistence", message)
        if port.port == 0 and port.target_port is not None:
            message = "with port 0, each connection keeps its port; leave targetPort out"
            yield (port.origin / "targetPort").problem("port-zero-with-target-port", message)
        if port.is_one_packet and port.protocol is not Protocol.UDP:
            message = f"one-packet scheduling is for udp, and this is {port}; use protocol: udp"
            yield (port.origin / "onePacket").problem("one-packet-without-udp", message)
        engine = service.persistence and service.persistence.engine
        if engine and port.protocol is not Protocol.UDP:
            message = f"persistence engine {engine} is for udp, and this is {port}"
            yield port.origin.problem("engine-without-udp", message)


def _scheduling_problems(service: Service) -> Iterator[Problem]:
    scheduler = service.scheduler
    for flag in sorted(service.flags - _FLAGS_BY_SCHEDULER.get(scheduler, frozenset())):
        required_scheduler = str(flag).partition("-")[0]
        message = (
            f"flag {flag} is for scheduler {required_scheduler}, and this service has {scheduler}"
        )
        yield service.origin_of("schedulerFlags").problem("flag-of-another-scheduler", message)
    if scheduler is Scheduler.DH and service.drain_seconds:
        message = (
            "dh refuses the clients of a real server that drains; "
            "give drain: {timeout: 0s}, or use mh, which drains"
        )
        origin = service.origin_of("drain" if "drain" in service.origins else "scheduler")
        yield origin.problem("dh-with-drain", message)


def _server_problems(servers: Iterable[ManifestRealServer]) -> Iterator[Problem]:
    for server in servers:
        reason = unusable_reason(server.address)
        if reason is None and server.address.version == 6 and server.address.is_link_local:
            reason = "link-local"
        if reason is not None:
            message = f"real server {server.address} is {reason}; give a host's own address"
            yield (server.origin / "address").problem("real-server-not-routable", message)
        if server.lower_threshold > server.upper_threshold:
            lower, upper = server.lower_threshold, server.upper_threshold
            message = (
                f"lowerThreshold {lower} is above upperThreshold ({upper or 'none'}); lower it, or"
                f" {'raise' if upper else 'give an'} upperThreshold"
            )
            yield (server.origin / "lowerThreshold").problem("thresholds-crossed", message)


def _duplicate_server_problems(pool: Pool) -> Iterator[Problem]:
    seen: dict[object, ManifestRealServer] = {}
    for server in pool.real_servers:
        labels = frozenset((server.labels or {}).items())
        first = seen.setdefault((server.address, server.port, labels), server)
        if first is not server:
            message = f"real server {server.address} is in {first.origin} already"
            yield server.origin.problem(
                "duplicate-real-server", f"{message}; remove one of the two", first.origin
            )


def _host_address_problems(director: Director) -> Iterator[Problem]:
    for addresses in director.addresses.values():
        for address, origin in addresses.items():
            reason = unusable_reason(address)
            if reason is not None:
                message = f"host address {address} is {reason}; give an address that the host has"
                yield origin.problem("host-address-not-usable", message)


def _local_route_problems(director: Director) -> Iterator[Problem]:
    for prefix, origin in director.local_routes.items():
        min_prefix_length = MIN_LOCAL_ROUTE_PREFIX_LENGTH[prefix.version]
        if prefix.prefixlen < min_prefix_length:
            message = f"local route {prefix} is wider than /{min_prefix_length}: it would "
            message += "make much of the Internet local; give the prefixes that you serve"
            yield origin.problem("local-route-too-wide", message)
            continue
        for name, reserved in _NEVER_LOCAL:
            if _overlaps(prefix, reserved):
                message = (
                    f"local route {prefix} reaches into {name} ({reserved}); choose another prefix"
                )
                yield origin.problem("local-route-reserved", message)


def _overlaps(one: IPNetwork, other: IPNetwork) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    if isinstance(one, IPv6Network) and isinstance(other, IPv6Network):
        return one.overlaps(other)
    return False


def _sync_daemon_problems(director: Director) -> Iterator[Problem]:
    seen: set[SyncRole] = set()
    for daemon, origin in director.sync_daemons:
        if daemon.role in seen:
            message = f"a second {daemon.role} sync daemon; the kernel runs one of each role"
            yield origin.problem("duplicate-sync-daemon", message)
        seen.add(daemon.role)
