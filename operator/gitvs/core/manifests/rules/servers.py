"""Rules about the real servers that a service has on its directors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gitvs.core.manifests.placement import (
    Chosen,
    Directors,
    Mask,
    Placed,
    Pools,
    Variant,
    forwarding_of,
    joins,
    server_port,
)
from gitvs.core.manifests.syntax.source_positions import Spot
from gitvs.core.manifests.types import Service, WrittenPort, WrittenServer
from gitvs.core.model.resources import (
    AddressFamily,
    Forwarding,
    Scheduler,
    family_of,
    host_and_port,
)
from gitvs.core.problems import Problem

MAX_WEIGHT = 65535
_WITHOUT_WEIGHTS = {Scheduler.RR: Scheduler.WRR, Scheduler.LC: Scheduler.WLC}


def server_problems(placed: Placed, directors: Directors, pools: Pools) -> Iterator[Problem]:
    """Yield what is wrong with the real servers of one service."""
    service = placed.service
    used = _used(placed)
    for chosen in used:
        yield from _forwarding(service, chosen.server)
        yield from _own_port(service, chosen.server)
        yield from _weight(service, chosen)
    yield from _target_ports(service, [c.server for c in used])
    yield from _unused_tunnel(service, [c.server for c in used])
    yield from _empty_selections(placed, directors, pools)
    for variant in placed.variants:
        yield from _duplicates(service, variant)
        yield from _ignored_weights(service, variant, directors)
        if placed.is_known:
            yield from _families(placed, variant, directors)


def _used(placed: Placed) -> list[Chosen]:
    """Return every real server that the service uses on any director, once."""
    if len(placed.variants) == 1:
        return list(placed.variants[0].servers)
    return list({(id(c.server), c.weight): c for v in placed.variants for c in v.servers}.values())


def _forwarding(service: Service, server: WrittenServer) -> Iterator[Problem]:
    forwarding = forwarding_of(service, server)
    if server.tunnel is not None and forwarding is not Forwarding.TUN:
        message = f"real server {server.address} has a tunnel, and is reached by {forwarding} in "
        message += f"service {service.name}; give it forwarding: tun, or leave the tunnel out"
        yield (server.spot / "tunnel").problem("tunnel-without-tun", message)


def _own_port(service: Service, server: WrittenServer) -> Iterator[Problem]:
    if server.port is None:
        if server.forwarding not in (None, Forwarding.NAT, service.forwarding):
            yield from _own_forwarding(service, server)
        return
    if len({port.port for port in service.ports}) > 1:
        message = (
            f"real server {server.address} has port {server.port} of its own, and service "
            f"{service.name} has ports of different numbers; use targetPort, or a service for each"
        )
        yield (server.spot / "port").problem("own-port-with-several-ports", message)
        return
    forwarding = forwarding_of(service, server)
    listens_on = service.ports[0].port if service.ports else 0
    if forwarding is not Forwarding.NAT and server.port != listens_on:
        message = (
            f"{forwarding} cannot change the port: real server {server.address} has port "
            f"{server.port}, service {service.name} {_port_words(listens_on)}; use nat, or "
            "leave its port out"
        )
        yield (server.spot / "port").problem("port-changed-without-nat", message)
    elif service.ports and listens_on == 0:
        message = "behind port 0 each connection keeps its port; leave the real server's port out"
        yield (server.spot / "port").problem("port-zero-with-target-port", message)


def _port_words(port: int) -> str:
    return f"has port {port}" if port else "has none of its own"


def _own_forwarding(service: Service, server: WrittenServer) -> Iterator[Problem]:
    """A real server that, other than its service, cannot follow a targetPort."""
    for port in service.ports:
        if port.port and port.server_port != port.port:
            message = (
                f"{server.forwarding} cannot change the port: service {service.name} sends "
                f"{port} to port {port.server_port}; use nat, or a service without targetPort"
            )
            yield (server.spot / "forwarding").problem("port-changed-without-nat", message)
            return


def _target_ports(service: Service, servers: Iterable[WrittenServer]) -> Iterator[Problem]:
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
            yield (port.spot / "targetPort").problem("port-changed-without-nat", message)


def _unused_tunnel(service: Service, servers: Iterable[WrittenServer]) -> Iterator[Problem]:
    if service.tunnel is None or service.forwarding is Forwarding.TUN:
        return
    if not any(s.forwarding is Forwarding.TUN and s.tunnel is None for s in servers):
        message = f"a tunnel is for forwarding tun, and service {service.name} has "
        message += f"{service.forwarding}; give forwarding: tun, or leave the tunnel out"
        yield service.spot_of("tunnel").problem("tunnel-without-tun", message)


def _weight(service: Service, chosen: Chosen) -> Iterator[Problem]:
    if chosen.weight > MAX_WEIGHT and chosen.pool is not None:
        server = chosen.server
        message = (
            f"weight {server.weight} of real server {server.address} ({server.spot}) times "
            f"{chosen.pool.factor} is {chosen.weight}; the kernel takes at most {MAX_WEIGHT}"
        )
        yield chosen.pool.spot.problem("weight-over-limit", message)


def _empty_selections(placed: Placed, directors: Directors, pools: Pools) -> Iterator[Problem]:
    for reference in placed.service.pools:
        pool = pools.get(reference.name)
        if pool is None or not pool.real_servers or not pool.is_whole:
            continue
        if not reference.same_labels and not reference.match_labels:
            continue
        empty = 0
        for values, mask in directors.by_values(reference.same_labels).items():
            labels = dict(zip(reference.same_labels, values, strict=True))
            if mask & placed.mask and not pools.selected(reference, labels):
                empty |= mask & placed.mask
        if empty:
            message = (
                f"this leaves no real server of Pool {pool.name} on {directors.names(empty)}; "
                "check the labels of the pool's real servers and of the directors"
            )
            yield reference.spot.problem("empty-selection", message)


def _duplicates(service: Service, variant: Variant) -> Iterator[Problem]:
    seen: dict[object, WrittenServer] = {}
    port: WrittenPort | None = service.ports[0] if service.ports else None
    for chosen in variant.servers:
        server = chosen.server
        number = server_port(port, server)
        first = seen.setdefault((server.address, number), server)
        if first is server or _is_duplicate_in_pool(first, server):
            continue
        what = host_and_port(server.address, number) if number else str(server.address)
        if first.spot.document is server.spot.document:
            spot = server.spot
        else:
            spot = chosen.pool.spot if chosen.pool is not None else server.spot
        message = (
            f"real server {what} is twice in service {service.name}, in {first.spot} and in "
            f"{server.spot}; remove one of the two"
        )
        yield spot.problem("duplicate-real-server", message)


def _is_duplicate_in_pool(first: WrittenServer, second: WrittenServer) -> bool:
    """Two entries of one pool that are equal: a problem of the pool, once, and not of us."""
    return (
        first.spot.document is second.spot.document
        and first.spot.path[:2] == ("spec", "realServers")
        and (first.port, first.labels or {}) == (second.port, second.labels or {})
        and first.spot.document.kind == "Pool"
    )


def _ignored_weights(service: Service, variant: Variant, directors: Directors) -> Iterator[Problem]:
    instead = _WITHOUT_WEIGHTS.get(service.scheduler)
    if instead is None:
        return
    for family in AddressFamily:
        joined = [c for c in variant.servers if c.weight and joins(service, c.server, family)]
        weights = sorted({c.weight for c in joined})
        if len(weights) > 1:
            message = (
                f"scheduler {service.scheduler} ignores weights, and the real servers of service "
                f"{service.name} have weights {weights[0]} and {weights[-1]}"
                f"{directors.on(variant.mask)}; use {instead}, or make them equal"
            )
            yield service.spot_of("scheduler").problem("weights-ignored", message)
            return


def _families(placed: Placed, variant: Variant, directors: Directors) -> Iterator[Problem]:
    service = placed.service
    if not variant.servers:
        if service.firewall_mark is not None and not placed.mark_families(variant):
            message = f"service {service.name} has no VIP and no real server; give addressFamily"
            yield service.spot_of("firewallMark").problem("mark-without-family", message)
        return
    families = {family_of(chosen.server.address) for chosen in variant.servers}
    if service.cross_family:
        families = {
            f for f in AddressFamily if any(joins(service, c.server, f) for c in variant.servers)
        }
    for family, mask in _served(placed, variant, directors).items():
        if family not in families and mask:
            message = (
                f"service {service.name} has an {_word(family)} address on "
                f"{directors.names(mask)}, and real servers, none of them {_word(family)}; add "
                "one, or leave the address out"
            )
            spot = _spot_of_family(placed, family)
            yield spot.problem("family-without-real-servers", message)


def _word(family: AddressFamily) -> str:
    return "IPv4" if family is AddressFamily.IPV4 else "IPv6"


def _served(placed: Placed, variant: Variant, directors: Directors) -> Mapping[AddressFamily, Mask]:
    """Return on which directors of a variant each address family is served."""
    if placed.service.firewall_mark is not None:
        served = dict(placed.mark_families(variant))
        if placed.service.address_family is not None:
            return served
        for family, mask in placed.vip_families(variant).items():
            served[family] = served.get(family, 0) | mask
        return served
    served = placed.vip_families(variant)
    for name in placed.service.host_addresses:
        for family, mask in directors.named_families(name).items():
            served[family] = served.get(family, 0) | mask & variant.mask
    return served


def _spot_of_family(placed: Placed, family: AddressFamily) -> Spot:
    for vip, _ in placed.vips:
        if family_of(vip.address) is family:
            return vip.spot
    field = "hostAddresses" if placed.service.host_addresses else "addressFamily"
    return placed.service.spot_of(field)
