"""Rules between documents on the same director: duplicates, unknown addresses, packet loops.

All look-ups use indexes by key, address and prefix; the directors of an entry are a `DirectorSet`,
so no rule loops over services times directors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitvs.core.checkpoint import Checkpoint, checked, no_checkpoint
from gitvs.core.manifests.placement import NO_DIRECTORS, DirectorIndex, PlacedService
from gitvs.core.manifests.rules.prefix_index import PrefixIndex
from gitvs.core.manifests.rules.single_documents import MIN_LOCAL_ROUTE_PREFIX_LENGTH
from gitvs.core.manifests.syntax.source_positions import Origin
from gitvs.core.manifests.types import DirectorSet, ManifestPort, Service
from gitvs.core.model.resources import Endpoint, FirewallMark, IPAddress, IPNetwork
from gitvs.core.problems import Problem


def between_services_problems(
    placed: Sequence[PlacedService],
    directors: DirectorIndex,
    checkpoint: Checkpoint = no_checkpoint,
) -> Iterator[Problem]:
    """Yield the problems between the documents on a director."""
    yield from _duplicate_listener_problems(placed, directors, checkpoint)
    yield from _unknown_host_address_problems(placed, directors)
    yield from _different_bind_problems(placed, directors)
    yield from _vip_is_host_address_problems(placed, directors)
    yield from _looping_server_problems(placed, directors)


class _ServicesByKey:
    """The services that have each key, and their directors, in file order."""

    def __init__(self) -> None:
        self._entries: dict[object, list[tuple[DirectorSet, Service, Origin]]] = {}
        self._directors: dict[object, DirectorSet] = {}

    def add(
        self, key: object, on: DirectorSet, service: Service, origin: Origin
    ) -> tuple[DirectorSet, Service, Origin] | None:
        """Add a service, or return the first earlier one with the key on a common director."""
        earlier = self.find(key, on)
        if earlier is None:
            self._entries.setdefault(key, []).append((on, service, origin))
            self._directors[key] = self._directors.get(key, NO_DIRECTORS) | on
        return earlier

    def find(self, key: object, on: DirectorSet) -> tuple[DirectorSet, Service, Origin] | None:
        """Return the first service with the key on any of these directors, and on which of them."""
        # Most keys meet none here: a service on each director.
        if not self._directors.get(key, NO_DIRECTORS).meets(on):
            return None
        for entry_directors, service, origin in self._entries[key]:
            if entry_directors.meets(on):
                return entry_directors & on, service, origin
        return None


def _duplicate_listener_problems(
    placed: Sequence[PlacedService], directors: DirectorIndex, checkpoint: Checkpoint
) -> Iterator[Problem]:
    services_by_key = _ServicesByKey()
    for each in placed:
        for key, on, origin in checked(listener_keys(each, directors), checkpoint):
            earlier = services_by_key.add(key, on, each.service, origin)
            if earlier is not None:
                listener = Endpoint(*key) if isinstance(key, tuple) else key
                yield _duplicate_listener_problem(
                    str(listener), each.service, origin, earlier, directors
                )


def _duplicate_listener_problem(
    listener: str,
    service: Service,
    origin: Origin,
    earlier: tuple[DirectorSet, Service, Origin],
    directors: DirectorIndex,
) -> Problem:
    on, other, other_origin = earlier
    where = f"on {directors.names_text(on)}"
    if other is service:
        message = (
            f"{listener} is twice in service {service.name} {where}, first in {other_origin}; "
        )
        return origin.problem("duplicate-vip", message + "remove one of the two", other_origin)
    what = "address, port" if service.firewall_mark is None else "firewallMark"
    message = (
        f"service {service.name} ({origin}) and service {other.name} ({other_origin}) both serve "
        f"{listener} {where}; give one of them another {what} or director"
    )
    return origin.problem("same-virtual-service", message, origin, other_origin)


def listener_keys(
    placed: PlacedService, directors: DirectorIndex
) -> Iterator[tuple[object, DirectorSet, Origin]]:
    """Yield a key for each listener of a service; equal listeners have equal keys.

    The key of an endpoint is the tuple of its fields, because an `Endpoint` is rarely needed.
    """
    service = placed.service
    if service.firewall_mark is not None:
        for variant in placed.variants:
            for family, on in placed.mark_families(variant).items():
                mark = FirewallMark(service.firewall_mark, family)
                yield mark, on, service.origin_of("firewallMark")
        return
    ports = _distinct_ports(service.ports)
    for vip, on in placed.vips:
        for port in ports:
            yield (port.protocol, vip.address, port.port), on, vip.origin
    if not directors.has_address_by_two_names:
        yield from _named_listener_keys(placed, ports)
        return
    for address, on, origin in _placed_host_addresses(placed, directors):
        for port in ports:
            yield (port.protocol, address, port.port), on, origin


def _named_listener_keys(
    placed: PlacedService, ports: Iterable[ManifestPort]
) -> Iterator[tuple[object, DirectorSet, Origin]]:
    """Yield keys by names of host addresses, for the case that no address has two names."""
    origin = placed.service.origin_of("hostAddresses")
    for index, name in enumerate(placed.service.host_addresses):
        for port in ports:
            yield f"{port} of host address {name}", placed.directors, origin / index


def _distinct_ports(ports: Iterable[ManifestPort]) -> list[ManifestPort]:
    """Return ports without duplicates, which another rule reports."""
    return list({(port.protocol, port.port): port for port in ports}.values())


def _placed_host_addresses(
    placed: PlacedService, directors: DirectorIndex
) -> Iterator[tuple[IPAddress, DirectorSet, Origin]]:
    service = placed.service
    if not service.host_addresses:
        return
    origin = service.origin_of("hostAddresses")
    for index, name in enumerate(service.host_addresses):
        for address, on in directors.named_addresses(name).items():
            if on.meets(placed.directors):
                yield address, on & placed.directors, origin / index


def _unknown_host_address_problems(
    placed: Sequence[PlacedService], directors: DirectorIndex
) -> Iterator[Problem]:
    for each in placed:
        if each.service.firewall_mark is not None:
            continue
        for index, name in enumerate(each.service.host_addresses):
            missing = each.directors - directors.having_address_name(name)
            if missing:
                message = (
                    f"host address {name} is not among the addresses of Director"
                    f" {directors.names_text(missing)}; add it there (an empty list is"
                    " enough), or select other directors"
                )
                origin = each.service.origin_of("hostAddresses") / index
                yield origin.problem("unknown-host-address", message)


def _different_bind_problems(
    placed: Sequence[PlacedService], directors: DirectorIndex
) -> Iterator[Problem]:
    if len({vip.is_bound for each in placed for vip in each.service.vips}) < 2:
        return
    services_by_bind = {True: _ServicesByKey(), False: _ServicesByKey()}
    for each in placed:
        for vip, on in each.vips:
            other = services_by_bind[not vip.is_bound].find(vip.address, on)
            if other is not None:
                message = (
                    f"VIP {vip.address} has bind: {str(vip.is_bound).lower()} here and bind: "
                    f"{str(not vip.is_bound).lower()} in {other[2]}, both on "
                    f"{directors.names_text(other[0])}; make them equal"
                )
                yield vip.origin.problem("different-bind", message)
            services_by_bind[vip.is_bound].add(vip.address, on, each.service, vip.origin)


def _vip_is_host_address_problems(
    placed: Sequence[PlacedService], directors: DirectorIndex
) -> Iterator[Problem]:
    for each in placed:
        for vip, on in each.vips:
            clashing = on & directors.having_host_address(vip.address)
            if clashing:
                message = (
                    f"VIP {vip.address} is a host address of Director"
                    f" {directors.names_text(clashing)}; "
                    "name it in hostAddresses, or take it out of the Director's addresses"
                )
                yield vip.origin.problem("vip-is-host-address", message)


def _looping_server_problems(
    placed: Sequence[PlacedService], directors: DirectorIndex
) -> Iterator[Problem]:
    """Yield real servers whose packets the director would deliver to itself."""
    local = _local_servers(placed, directors)
    if not local:
        return
    for each in placed:
        for variant in each.variants:
            for chosen in variant.servers:
                address = chosen.server.address
                vip_directors, covering = local.get(id(chosen.server), (NO_DIRECTORS, ()))
                if clashing := vip_directors & variant.directors:
                    message = (
                        f"{_server_text(each, address)} is a VIP of"
                        f" {directors.names_text(clashing)}: its "
                    )
                    message += (
                        "packets would come back to the director; give an address of"
                        " the real server itself"
                    )
                    yield chosen.server.origin.problem("real-server-is-vip", message)
                for prefix, on in covering:
                    if on.meets(variant.directors):
                        where = directors.names_text(on & variant.directors)
                        message = (
                            f"{_server_text(each, address)} is inside local route {prefix} of "
                        )
                        message += (
                            f"{where}: its packets would never leave the director;"
                            " choose an address outside the route"
                        )
                        yield chosen.server.origin.problem("real-server-in-local-route", message)


def _local_servers(
    placed: Sequence[PlacedService], directors: DirectorIndex
) -> dict[int, tuple[DirectorSet, Sequence[tuple[IPNetwork, DirectorSet]]]]:
    """Return the real servers that are a VIP or in local routes, and where, by their `id`.

    There are hardly ever any, and services share the real servers of pools.
    """
    vips: dict[IPAddress, DirectorSet] = {}
    for each in placed:
        for vip, on in each.vips:
            vips[vip.address] = vips.get(vip.address, NO_DIRECTORS) | on
    routes = _local_route_index(directors)
    local: dict[int, tuple[DirectorSet, Sequence[tuple[IPNetwork, DirectorSet]]]] = {}
    servers = {id(c.server): c.server for p in placed for v in p.variants for c in v.servers}
    for key, server in servers.items():
        found = vips.get(server.address, NO_DIRECTORS), tuple(routes.covering(server.address))
        if any(found):
            local[key] = found
    return local


def _local_route_index(directors: DirectorIndex) -> PrefixIndex[DirectorSet]:
    routes: PrefixIndex[DirectorSet] = PrefixIndex()
    for number, director in enumerate(directors.all):
        for prefix in director.local_routes:
            if prefix.prefixlen < MIN_LOCAL_ROUTE_PREFIX_LENGTH[prefix.version]:
                continue  # another rule reports it; here it would be repeated for each real server
            routes.put(prefix, (routes.get(prefix) or NO_DIRECTORS) | DirectorSet.of(number))
    return routes


def _server_text(placed: PlacedService, address: IPAddress) -> str:
    return f"real server {address} of service {placed.service.name}"
