"""Rules about the real servers that a service has on its directors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gitvs.core.manifests.placement import (
    NO_DIRECTORS,
    ChosenServer,
    DirectorIndex,
    PlacedService,
    PoolIndex,
    ServerVariant,
    forwarding_of,
    real_server_port,
    serves_family,
)
from gitvs.core.manifests.syntax.source_positions import Origin
from gitvs.core.manifests.types import DirectorSet, ManifestPort, ManifestRealServer, Service
from gitvs.core.model.resources import (
    AddressFamily,
    Forwarding,
    Scheduler,
    family_of,
    host_and_port,
)
from gitvs.core.problems import Problem

MAX_WEIGHT = 65535
_WEIGHTED_ALTERNATIVE = {Scheduler.RR: Scheduler.WRR, Scheduler.LC: Scheduler.WLC}


def server_problems(
    placed: PlacedService, directors: DirectorIndex, pools: PoolIndex
) -> Iterator[Problem]:
    """Yield what is wrong with the real servers of one service."""
    service = placed.service
    used = _used_servers(placed)
    for chosen in used:
        yield from _forwarding_problems(service, chosen.server)
        yield from _own_port_problems(service, chosen.server)
        yield from _weight_problems(service, chosen)
    yield from _target_port_problems(service, [c.server for c in used])
    yield from _unused_tunnel_problems(service, [c.server for c in used])
    yield from _empty_selection_problems(placed, directors, pools)
    for variant in placed.variants:
        yield from _duplicate_server_problems(service, variant)
        yield from _ignored_weight_problems(service, variant, directors)
        if placed.is_complete:
            yield from _family_problems(placed, variant, directors)


def _used_servers(placed: PlacedService) -> list[ChosenServer]:
    """Return every real server that the service uses on any director, once."""
    if len(placed.variants) == 1:
        return list(placed.variants[0].servers)
    return list({(id(c.server), c.weight): c for v in placed.variants for c in v.servers}.values())


def _forwarding_problems(service: Service, server: ManifestRealServer) -> Iterator[Problem]:
    forwarding = forwarding_of(service, server)
    if server.tunnel is not None and forwarding is not Forwarding.TUN:
        message = f"real server {server.address} has a tunnel, and is reached by {forwarding} in "
        message += f"service {service.name}; give it forwarding: tun, or leave the tunnel out"
        yield (server.origin / "tunnel").problem("tunnel-without-tun", message)


def _own_port_problems(service: Service, server: ManifestRealServer) -> Iterator[Problem]:
    if server.port is None:
        if server.forwarding not in (None, Forwarding.NAT, service.forwarding):
            yield from _own_forwarding_problems(service, server)
        return
    if len({port.port for port in service.ports}) > 1:
        message = (
            f"real server {server.address} has port {server.port} of its own, and service "
            f"{service.name} has ports of different numbers; use targetPort, or a service for each"
        )
        yield (server.origin / "port").problem("own-port-with-several-ports", message)
        return
    forwarding = forwarding_of(service, server)
    service_port = service.ports[0].port if service.ports else 0
    if forwarding is not Forwarding.NAT and server.port != service_port:
        message = (
            f"{forwarding} cannot change the port: real server {server.address} has port "
            f"{server.port}, service {service.name} {_port_text(service_port)}; use nat, or "
            "leave its port out"
        )
        yield (server.origin / "port").problem("port-changed-without-nat", message)
    elif service.ports and service_port == 0:
        message = "with port 0, each connection keeps its port; leave the real server's port out"
        yield (server.origin / "port").problem("port-zero-with-target-port", message)


def _port_text(port: int) -> str:
    return f"has port {port}" if port else "has none of its own"


def _own_forwarding_problems(service: Service, server: ManifestRealServer) -> Iterator[Problem]:
    """Yield a problem if a real server cannot use targetPort because of its own forwarding."""
    for port in service.ports:
        if port.port and port.server_port != port.port:
            message = (
                f"{server.forwarding} cannot change the port: service {service.name} sends "
                f"{port} to port {port.server_port}; use nat, or a service without targetPort"
            )
            yield (server.origin / "forwarding").problem("port-changed-without-nat", message)
            return


def _target_port_problems(
    service: Service, servers: Iterable[ManifestRealServer]
) -> Iterator[Problem]:
    if service.forwarding is Forwarding.NAT:
        return
    servers = list(servers)
    if servers and all(forwarding_of(service, s) is Forwarding.NAT for s in servers):
        return
    for port in service.ports:
        if port.port and port.server_port != port.port:
            message = (
                f"{service.forwarding} cannot change port {port.port} to {port.server_port}; "
                "use nat, or leave targetPort out"
            )
            yield (port.origin / "targetPort").problem("port-changed-without-nat", message)


def _unused_tunnel_problems(
    service: Service, servers: Iterable[ManifestRealServer]
) -> Iterator[Problem]:
    if service.tunnel is None or service.forwarding is Forwarding.TUN:
        return
    if not any(s.forwarding is Forwarding.TUN and s.tunnel is None for s in servers):
        message = f"a tunnel is for forwarding tun, and service {service.name} has "
        message += f"{service.forwarding}; give forwarding: tun, or leave the tunnel out"
        yield service.origin_of("tunnel").problem("tunnel-without-tun", message)


def _weight_problems(service: Service, chosen: ChosenServer) -> Iterator[Problem]:
    if chosen.weight > MAX_WEIGHT and chosen.pool_reference is not None:
        server = chosen.server
        message = (
            f"weight {server.weight} of real server {server.address} ({server.origin}) times "
            f"{chosen.pool_reference.weight_factor} is {chosen.weight}; the kernel takes at most"
            f" {MAX_WEIGHT}"
        )
        yield chosen.pool_reference.origin.problem("weight-over-limit", message, server.origin)


def _empty_selection_problems(
    placed: PlacedService, directors: DirectorIndex, pools: PoolIndex
) -> Iterator[Problem]:
    for reference in placed.service.pools:
        pool = pools.get(reference.name)
        if pool is None or not pool.real_servers or not pool.is_complete:
            continue
        if not reference.same_labels and not reference.match_labels:
            continue
        empty_on = NO_DIRECTORS
        for values, on in directors.by_label_values(reference.same_labels).items():
            labels = dict(zip(reference.same_labels, values, strict=True))
            if on.meets(placed.directors) and not pools.selected_servers(reference, labels):
                empty_on |= on & placed.directors
        if empty_on:
            message = (
                f"this selects no real server of Pool {pool.name} on"
                f" {directors.names_text(empty_on)}; check the labels of the pool's real"
                " servers and of the directors"
            )
            yield reference.origin.problem("empty-selection", message)


def _duplicate_server_problems(service: Service, variant: ServerVariant) -> Iterator[Problem]:
    seen: dict[object, ManifestRealServer] = {}
    port: ManifestPort | None = service.ports[0] if service.ports else None
    for chosen in variant.servers:
        server = chosen.server
        number = real_server_port(port, server)
        first = seen.setdefault((server.address, number), server)
        if first is server or _is_duplicate_in_pool(first, server):
            continue
        what = host_and_port(server.address, number) if number else str(server.address)
        if first.origin.document is server.origin.document:
            origin = server.origin
        else:
            origin = (
                chosen.pool_reference.origin if chosen.pool_reference is not None else server.origin
            )
        message = (
            f"real server {what} is twice in service {service.name}, "
            f"{_both_places(first.origin, server.origin)}; remove one of the two"
        )
        yield origin.problem("duplicate-real-server", message, first.origin, server.origin)


def _both_places(first: Origin, second: Origin) -> str:
    """Return the positions of two entries; entries on the same line have one position."""
    if str(first) == str(second):
        return f"both in {first}"
    return f"in {first} and in {second}"


def _is_duplicate_in_pool(first: ManifestRealServer, second: ManifestRealServer) -> bool:
    """Return whether two entries of one pool are equal, which `single_documents` reports once."""
    return (
        first.origin.document is second.origin.document
        and first.origin.path[:2] == ("spec", "realServers")
        and (first.port, first.labels or {}) == (second.port, second.labels or {})
        and first.origin.document.kind == "Pool"
    )


def _ignored_weight_problems(
    service: Service, variant: ServerVariant, directors: DirectorIndex
) -> Iterator[Problem]:
    alternative = _WEIGHTED_ALTERNATIVE.get(service.scheduler)
    if alternative is None:
        return
    for family in AddressFamily:
        family_servers = [
            c for c in variant.servers if c.weight and serves_family(service, c.server, family)
        ]
        weights = sorted({c.weight for c in family_servers})
        if len(weights) > 1:
            message = (
                f"scheduler {service.scheduler} ignores weights, and the real servers of service "
                f"{service.name} have weights {weights[0]} and {weights[-1]}"
                f"{directors.on_text(variant.directors)}; use {alternative}, or make them equal"
            )
            yield service.origin_of("scheduler").problem("weights-ignored", message)
            return


def _family_problems(
    placed: PlacedService, variant: ServerVariant, directors: DirectorIndex
) -> Iterator[Problem]:
    service = placed.service
    if not variant.servers:
        is_mark = service.firewall_mark is not None
        if is_mark and not service.vips and service.address_family is None:
            message = f"service {service.name} has no VIP and no real server; give addressFamily"
            yield service.origin_of("firewallMark").problem("mark-without-family", message)
        return
    families = {family_of(chosen.server.address) for chosen in variant.servers}
    if service.is_cross_family:
        families = {
            f
            for f in AddressFamily
            if any(serves_family(service, c.server, f) for c in variant.servers)
        }
    for family, on in _served_families(placed, variant, directors).items():
        if family not in families and on:
            message = (
                f"service {service.name} has an {_family_name(family)} address on"
                f" {directors.names_text(on)}, but no {_family_name(family)} real"
                " server; add one, or leave the address out"
            )
            origin = _origin_of_family(placed, family)
            yield origin.problem("family-without-real-servers", message)


def _family_name(family: AddressFamily) -> str:
    return "IPv4" if family is AddressFamily.IPV4 else "IPv6"


def _served_families(
    placed: PlacedService, variant: ServerVariant, directors: DirectorIndex
) -> Mapping[AddressFamily, DirectorSet]:
    """Return on which directors of a variant each address family is served."""
    if placed.service.firewall_mark is not None:
        served = dict(placed.mark_families(variant))
        if placed.service.address_family is not None:
            return served
        for family, on in placed.vip_families(variant).items():
            served[family] = served.get(family, NO_DIRECTORS) | on
        return served
    served = placed.vip_families(variant)
    for name in placed.service.host_addresses:
        for family, on in directors.named_families(name).items():
            served[family] = served.get(family, NO_DIRECTORS) | on & variant.directors
    return served


def _origin_of_family(placed: PlacedService, family: AddressFamily) -> Origin:
    for vip, _ in placed.vips:
        if family_of(vip.address) is family:
            return vip.origin
    field = "hostAddresses" if placed.service.host_addresses else "addressFamily"
    return placed.service.origin_of(field)
