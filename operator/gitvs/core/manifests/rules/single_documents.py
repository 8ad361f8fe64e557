"""Rules within one document: a Service, a Pool or a Director by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from gitvs.core.manifests.syntax.source_positions import Spot
from gitvs.core.manifests.types import Director, Pool, Service, WrittenServer
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

_FLAGS_OF: dict[Scheduler, frozenset[SchedulerFlag]] = {
    Scheduler.MH: frozenset({SchedulerFlag.MH_PORT, SchedulerFlag.MH_FALLBACK}),
    Scheduler.SH: frozenset({SchedulerFlag.SH_PORT, SchedulerFlag.SH_FALLBACK}),
}
WIDEST_LOCAL_ROUTE = {4: 8, 6: 32}
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
    yield from _service_shape(service)
    yield from _vips(service)
    yield from _ports(service)
    yield from _scheduling(service)
    yield from _servers(service.real_servers)


def pool_problems(pool: Pool) -> Iterator[Problem]:
    """Yield what is wrong inside a Pool document."""
    yield from _servers(pool.real_servers)
    yield from _pool_duplicates(pool)


def director_problems(director: Director) -> Iterator[Problem]:
    """Yield what is wrong inside a Director document."""
    yield from _host_addresses(director)
    yield from _local_routes(director)
    yield from _sync_daemons(director)


_THIS_NETWORK = IPv4Network("0.0.0.0/8")
"""Source: RFC 1122, section 3.2.1.3 (a)."""


def unusable(address: IPAddress) -> str | None:
    """Return why no service and no server can have an address, if so."""
    if address.is_unspecified:
        return "unspecified"
    if address.is_multicast:
        return "multicast"
    return "broadcast" if address == _BROADCAST else None


def _service_shape(service: Service) -> Iterator[Problem]:
    spots = service.spots
    if service.firewall_mark is not None:
        if "hostAddresses" in spots:
            message = "a firewall-mark service has no hostAddresses: the mark decides what it "
            message += "serves; leave them out"
            yield spots["hostAddresses"].problem("mark-with-host-addresses", message)
        for vip in service.vips:
            if service.address_family not in (None, family_of(vip.address)):
                message = f"VIP {vip.address} is not {service.address_family}, the addressFamily "
                message += "of this firewall mark; leave one of the two out"
                yield vip.spot.problem("vip-of-another-family", message)
    else:
        if "vips" not in spots and "hostAddresses" not in spots:
            message = f"service {service.name} has ports and no address; give vips or hostAddresses"
            spot = service.spot_of("ports")
            yield spot.problem("service-without-address", message)
        if service.address_family is not None:
            message = "addressFamily is for firewall marks; a VIP says its family itself"
            yield spots["addressFamily"].problem("address-family-without-mark", message)
    if service.cross_family and service.forwarding is not Forwarding.TUN:
        message = f"crossFamily works with forwarding tun only, not with {service.forwarding}"
        yield service.spot_of("crossFamily").problem("cross-family-without-tun", message)


def _vips(service: Service) -> Iterator[Problem]:
    for vip in service.vips:
        address = vip.address
        why = unusable(address)
        if why is None and (address.is_loopback or address.is_link_local):
            why = "loopback" if address.is_loopback else "link-local"
        elif why is None and address in _THIS_NETWORK:
            why = f"of {_THIS_NETWORK}, which no packet comes to"
        if why is not None:
            message = f"VIP {address} is {why}; give an address that clients can route to"
            yield vip.spot.problem("vip-not-routable", message)


def _ports(service: Service) -> Iterator[Problem]:
    seen: dict[tuple[Protocol, int], Spot] = {}
    for port in service.ports:
        if (port.protocol, port.port) in seen:
            message = f"{port} is given twice, first in {seen[port.protocol, port.port]}"
            yield port.spot.problem("duplicate-port", f"{message}; remove one of the two")
        seen.setdefault((port.protocol, port.port), port.spot)
        if port.port == 0 and service.persistence is None:
            message = "port 0 is every port, and works with persistence only; give persistence"
            yield (port.spot / "port").problem("port-zero-without-persistence", message)
        if port.port == 0 and port.target_port is not None:
            message = "behind port 0 each connection keeps its port; leave targetPort out"
            yield (port.spot / "targetPort").problem("port-zero-with-target-port", message)
        if port.one_packet and port.protocol is not Protocol.UDP:
            message = f"one-packet scheduling is for udp, and this is {port}; use protocol: udp"
            yield (port.spot / "onePacket").problem("one-packet-without-udp", message)
        engine = service.persistence and service.persistence.engine
        if engine and port.protocol is not Protocol.UDP:
            message = f"persistence engine {engine} is for udp, and this is {port}"
            yield port.spot.problem("engine-without-udp", message)


def _scheduling(service: Service) -> Iterator[Problem]:
    scheduler = service.scheduler
    for flag in sorted(service.flags - _FLAGS_OF.get(scheduler, frozenset())):
        its = str(flag).partition("-")[0]
        message = f"flag {flag} is for scheduler {its}, and this service has {scheduler}"
        yield service.spot_of("schedulerFlags").problem("flag-of-another-scheduler", message)
    if scheduler is Scheduler.DH and service.drain_seconds:
        message = (
            "dh refuses the clients of a real server that drains; "
            "give drain: {timeout: 0s}, or use mh, which drains"
        )
        spot = service.spot_of("drain" if "drain" in service.spots else "scheduler")
        yield spot.problem("dh-with-drain", message)


def _servers(servers: Iterable[WrittenServer]) -> Iterator[Problem]:
    for server in servers:
        why = unusable(server.address)
        if why is None and server.address.version == 6 and server.address.is_link_local:
            why = "link-local"
        if why is not None:
            message = f"real server {server.address} is {why}; give a host's own address"
            yield (server.spot / "address").problem("real-server-not-routable", message)
        if server.lower_threshold > server.upper_threshold:
            upper = server.upper_threshold or "none"
            message = f"lowerThreshold {server.lower_threshold} is above upperThreshold ({upper})"
            yield (server.spot / "lowerThreshold").problem("thresholds-crossed", message)


def _pool_duplicates(pool: Pool) -> Iterator[Problem]:
    seen: dict[object, WrittenServer] = {}
    for server in pool.real_servers:
        labels = frozenset((server.labels or {}).items())
        first = seen.setdefault((server.address, server.port, labels), server)
        if first is not server:
            message = f"real server {server.address} is in {first.spot} already"
            yield server.spot.problem("duplicate-real-server", f"{message}; remove one of the two")


def _host_addresses(director: Director) -> Iterator[Problem]:
    for addresses in director.addresses.values():
        for address, spot in addresses.items():
            why = unusable(address)
            if why is not None:
                message = f"host address {address} is {why}; give an address that the host has"
                yield spot.problem("host-address-not-usable", message)


def _local_routes(director: Director) -> Iterator[Problem]:
    for prefix, spot in director.local_routes.items():
        widest = WIDEST_LOCAL_ROUTE[prefix.version]
        if prefix.prefixlen < widest:
            message = f"local route {prefix} is wider than /{widest}: it would "
            message += "make much of the Internet local; give the prefixes that you serve"
            yield spot.problem("local-route-too-wide", message)
            continue
        for name, never in _NEVER_LOCAL:
            if _overlap(prefix, never):
                message = f"local route {prefix} reaches into {name} ({never}); keep out of it"
                yield spot.problem("local-route-reserved", message)


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    if isinstance(one, IPv6Network) and isinstance(other, IPv6Network):
        return one.overlaps(other)
    return False


def _sync_daemons(director: Director) -> Iterator[Problem]:
    seen: set[SyncRole] = set()
    for daemon, spot in director.sync_daemons:
        if daemon.role in seen:
            message = f"a second {daemon.role} sync daemon; the kernel runs one of each role"
            yield spot.problem("duplicate-sync-daemon", message)
        seen.add(daemon.role)
