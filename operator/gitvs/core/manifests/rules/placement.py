"""Rules between documents that meet on a director: what is served twice, by nobody, or in circles.

Everything goes through indexes by key, address and prefix; the directors of an entry are a
bit mask, so no rule loops over services times directors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitvs.core.manifests.placement import Directors, Mask, Placed
from gitvs.core.manifests.rules.prefix_index import PrefixIndex
from gitvs.core.manifests.rules.single_documents import WIDEST_LOCAL_ROUTE
from gitvs.core.manifests.syntax.source_positions import Spot
from gitvs.core.manifests.types import Service, WrittenPort
from gitvs.core.model.resources import Endpoint, FirewallMark, IPAddress, IPNetwork
from gitvs.core.problems import Problem


def problems(placed: Sequence[Placed], directors: Directors) -> Iterator[Problem]:
    """Yield what is wrong where services meet."""
    yield from _same_listener(placed, directors)
    yield from _unknown_host_addresses(placed, directors)
    yield from _vip_and_bind(placed, directors)
    yield from _vip_is_host_address(placed, directors)
    yield from _looping_servers(placed, directors)


class _Holders:
    """Who holds each key on which directors, in file order."""

    def __init__(self) -> None:
        self._holders: dict[object, list[tuple[Mask, Service, Spot]]] = {}

    def add(
        self, key: object, mask: Mask, service: Service, spot: Spot
    ) -> tuple[Mask, Service, Spot] | None:
        """Add a holder; return the first earlier one on one of its directors."""
        holders = self._holders.setdefault(key, [])
        earlier = _first_on(mask, holders)
        if earlier is None:
            holders.append((mask, service, spot))
        return earlier

    def find(self, key: object, mask: Mask) -> tuple[Mask, Service, Spot] | None:
        """Return the first holder on one of these directors, with those that it is on."""
        return _first_on(mask, self._holders.get(key, ()))


def _first_on(
    mask: Mask, holders: Iterable[tuple[Mask, Service, Spot]]
) -> tuple[Mask, Service, Spot] | None:
    for held, service, spot in holders:
        if held & mask:
            return held & mask, service, spot
    return None


def _same_listener(placed: Sequence[Placed], directors: Directors) -> Iterator[Problem]:
    holders = _Holders()
    for each in placed:
        for key, mask, spot in _listeners(each, directors):
            earlier = holders.add(key, mask, each.service, spot)
            if earlier is not None:
                listener = Endpoint(*key) if isinstance(key, tuple) else key
                yield _taken(str(listener), each.service, spot, earlier, directors)


def _taken(
    listener: str,
    service: Service,
    spot: Spot,
    earlier: tuple[Mask, Service, Spot],
    directors: Directors,
) -> Problem:
    mask, other, other_spot = earlier
    where = f"on {directors.names(mask)}"
    if other is service:
        message = f"{listener} is twice in service {service.name} {where}, first in {other_spot}; "
        return spot.problem("duplicate-vip", message + "remove one of the two")
    message = (
        f"service {service.name} ({spot}) and service {other.name} ({other_spot}) both serve "
        f"{listener} {where}; give one of them another address, port or director"
    )
    return spot.problem("same-virtual-service", message)


def _listeners(placed: Placed, directors: Directors) -> Iterator[tuple[object, Mask, Spot]]:
    """Yield what a service listens on: keys that are equal where the listeners are.

    The key of an endpoint is what it is made from: that is rarely needed.
    """
    service = placed.service
    if service.firewall_mark is not None:
        for variant in placed.variants:
            for family, mask in placed.mark_families(variant).items():
                mark = FirewallMark(service.firewall_mark, family)
                yield mark, mask, service.spot_of("firewallMark")
        return
    ports = _distinct(service.ports)
    for vip, mask in placed.vips:
        for port in ports:
            yield (port.protocol, vip.address, port.port), mask, vip.spot
    if not directors.has_address_by_two_names:
        yield from _named_listeners(placed, ports)
        return
    for address, mask, spot in _host_addresses(placed, directors):
        for port in ports:
            yield (port.protocol, address, port.port), mask, spot


def _named_listeners(
    placed: Placed, ports: Iterable[WrittenPort]
) -> Iterator[tuple[object, Mask, Spot]]:
    """Yield host addresses by their names, where no two names mean one address."""
    spot = placed.service.spot_of("hostAddresses")
    for index, name in enumerate(placed.service.host_addresses):
        for port in ports:
            yield f"{port} of host address {name}", placed.mask, spot / index


def _distinct(ports: Iterable[WrittenPort]) -> list[WrittenPort]:
    """Leave equal ports of one service out: that is a problem of its own."""
    return list({(port.protocol, port.port): port for port in ports}.values())


def _host_addresses(placed: Placed, directors: Directors) -> Iterator[tuple[IPAddress, Mask, Spot]]:
    service = placed.service
    if not service.host_addresses:
        return
    spot = service.spot_of("hostAddresses")
    for index, name in enumerate(service.host_addresses):
        for address, mask in directors.named_addresses(name).items():
            if mask & placed.mask:
                yield address, mask & placed.mask, spot / index


def _unknown_host_addresses(placed: Sequence[Placed], directors: Directors) -> Iterator[Problem]:
    for each in placed:
        if each.service.firewall_mark is not None:
            continue
        for index, name in enumerate(each.service.host_addresses):
            missing = each.mask & ~directors.with_address(name)
            if missing:
                message = (
                    f"host address {name} is not among the addresses of Director "
                    f"{directors.names(missing)}; add it there (an empty list will do), "
                    "or select other directors"
                )
                spot = each.service.spot_of("hostAddresses") / index
                yield spot.problem("unknown-host-address", message)


def _vip_and_bind(placed: Sequence[Placed], directors: Directors) -> Iterator[Problem]:
    if len({vip.bind for each in placed for vip in each.service.vips}) < 2:
        return
    holders = {True: _Holders(), False: _Holders()}
    for each in placed:
        for vip, mask in each.vips:
            other = holders[not vip.bind].find(vip.address, mask)
            if other is not None:
                message = (
                    f"VIP {vip.address} has bind: {str(vip.bind).lower()} here and bind: "
                    f"{str(not vip.bind).lower()} in {other[2]}, both on "
                    f"{directors.names(other[0])}; make them equal"
                )
                yield vip.spot.problem("different-bind", message)
            holders[vip.bind].add(vip.address, mask, each.service, vip.spot)


def _vip_is_host_address(placed: Sequence[Placed], directors: Directors) -> Iterator[Problem]:
    for each in placed:
        for vip, mask in each.vips:
            on = mask & directors.with_host_address(vip.address)
            if on:
                message = (
                    f"VIP {vip.address} is a host address of Director {directors.names(on)}; "
                    "name it in hostAddresses, or take it out of the Director's addresses"
                )
                yield vip.spot.problem("vip-is-host-address", message)


def _looping_servers(placed: Sequence[Placed], directors: Directors) -> Iterator[Problem]:
    """Real servers that the director itself would answer for."""
    local = _local_servers(placed, directors)
    if not local:
        return
    for each in placed:
        for variant in each.variants:
            for chosen in variant.servers:
                address = chosen.server.address
                held, covering = local.get(id(chosen.server), (0, ()))
                if on := held & variant.mask:
                    message = f"{_server(each, address)} is a VIP of {directors.names(on)}: its "
                    message += "packets would come back; give its own address"
                    yield chosen.server.spot.problem("real-server-is-vip", message)
                for prefix, mask in covering:
                    if mask & variant.mask:
                        where = directors.names(mask & variant.mask)
                        message = f"{_server(each, address)} is inside local route {prefix} of "
                        message += f"{where}: its packets would never leave; keep it out"
                        yield chosen.server.spot.problem("real-server-in-local-route", message)


def _local_servers(
    placed: Sequence[Placed], directors: Directors
) -> dict[int, tuple[Mask, Sequence[tuple[IPNetwork, Mask]]]]:
    """Return the real servers, by their `id`, that are a VIP or in local routes, and where.

    It is hardly ever any; and services share those of pools.
    """
    vips: dict[IPAddress, Mask] = {}
    for each in placed:
        for vip, mask in each.vips:
            vips[vip.address] = vips.get(vip.address, 0) | mask
    routes = _local_routes(directors)
    local: dict[int, tuple[Mask, Sequence[tuple[IPNetwork, Mask]]]] = {}
    servers = {id(c.server): c.server for p in placed for v in p.variants for c in v.servers}
    for key, server in servers.items():
        found = vips.get(server.address, 0), tuple(routes.covering(server.address))
        if any(found):
            local[key] = found
    return local


def _local_routes(directors: Directors) -> PrefixIndex[Mask]:
    routes: PrefixIndex[Mask] = PrefixIndex()
    for number, director in enumerate(directors.all):
        for prefix in director.local_routes:
            if prefix.prefixlen < WIDEST_LOCAL_ROUTE[prefix.version]:
                continue  # a problem of its own, which would be repeated for each real server
            routes.put(prefix, (routes.get(prefix) or 0) | 1 << number)
    return routes


def _server(placed: Placed, address: IPAddress) -> str:
    return f"real server {address} of service {placed.service.name}"
