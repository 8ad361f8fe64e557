"""The rule that no director gets too many objects, checked before any of them is built.

A short Service may stand for millions: its addresses, ports and real servers multiply.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gitvs.core.manifests.placement import (
    NO_DIRECTORS,
    DirectorIndex,
    PoolIndex,
    host_addresses,
)
from gitvs.core.manifests.types import Director, DirectorSet, ManifestRealServer, Service
from gitvs.core.model.resources import AddressFamily, family_of
from gitvs.core.problems import Problem

MAX_RULES_PER_DIRECTOR = 200_000
"""Virtual services and real servers: three times 10,000 services of 5, for which an agent needs
242 MB; the unit's MemoryMax is made for this."""

MAX_PLACED_SERVERS = 2_000_000
"""Real servers of all services, counted once for each group of directors with the same ones."""


@dataclass(frozen=True, slots=True)
class ObjectCounts:
    """How many objects services stand for; `most_rules` is an upper bound for any director."""

    most_rules: int = 0
    placed_servers: int = 0

    def __add__(self, other: ObjectCounts) -> ObjectCounts:
        return ObjectCounts(
            self.most_rules + other.most_rules, self.placed_servers + other.placed_servers
        )

    def __sub__(self, other: ObjectCounts) -> ObjectCounts:
        return ObjectCounts(
            self.most_rules - other.most_rules, self.placed_servers - other.placed_servers
        )

    @property
    def is_within_limits(self) -> bool:
        """Whether it is certain that no director gets too many objects."""
        return (
            self.most_rules <= MAX_RULES_PER_DIRECTOR and self.placed_servers <= MAX_PLACED_SERVERS
        )


def count_objects(
    services: Sequence[Service], directors: DirectorIndex, pools: PoolIndex
) -> ObjectCounts:
    """Count without building anything."""
    counts = _Counts(directors, pools)
    return ObjectCounts(
        sum(map(counts.most_rules, services)), sum(map(counts.placed_servers, services))
    )


def object_count_problems(
    total: ObjectCounts, services: Sequence[Service], directors: DirectorIndex, pools: PoolIndex
) -> Iterator[Problem]:
    """Yield a problem for the largest service of directors that would get too many objects."""
    if total.is_within_limits:
        return
    counts = _Counts(directors, pools)
    if sum(map(counts.most_rules, services)) > MAX_RULES_PER_DIRECTOR:
        yield from _rule_count_problems(services, directors, counts)
    placed_servers = [counts.placed_servers(service) for service in services]
    if sum(placed_servers) > MAX_PLACED_SERVERS:
        number, service = max(zip(placed_servers, services, strict=True), key=lambda pair: pair[0])
        message = (
            f"{sum(placed_servers):,} real servers in all, over gitvs's limit of"
            f" {MAX_PLACED_SERVERS:,} for one repository; service {service.name} has {number:,},"
            " counted once for each group of directors with servers of their own"
        )
        yield service.origin.problem("too-many-objects", message)


def _rule_count_problems(
    services: Sequence[Service], directors: DirectorIndex, counts: _Counts
) -> Iterator[Problem]:
    selections = [(service, directors.selected(service.directors)) for service in services]
    directors_by_largest: dict[int, DirectorSet] = {}
    products: dict[int, tuple[Service, _Product, int]] = {}
    for number, director in enumerate(directors.all):
        here = [
            (counts.product(service, director), service)
            for service, on in selections
            if number in on
        ]
        total = sum(product.rules for product, _ in here)
        if total > MAX_RULES_PER_DIRECTOR:
            product, largest = max(here, key=lambda pair: pair[0].rules)
            directors_by_largest[id(largest)] = directors_by_largest.get(
                id(largest), NO_DIRECTORS
            ) | DirectorSet.of(number)
            products.setdefault(id(largest), (largest, product, total))
    for key, (service, product, total) in products.items():
        others = "" if total == product.rules else f" of {total:,}"
        message = (
            f"service {service.name} makes {product.rules:,}{others} rules on"
            f" {directors.names_text(directors_by_largest[key])}: {product}. gitvs's limit for one"
            f" director is {MAX_RULES_PER_DIRECTOR:,}; take fewer addresses, ports or real servers,"
            " a firewall mark for many ports, or more directors"
        )
        yield service.origin.problem("too-many-objects", message)


@dataclass(frozen=True, slots=True)
class _Product:
    """The number of virtual services and real servers of a service on one director."""

    addresses: int
    ports: int
    servers: int
    rules: int

    def __str__(self) -> str:
        what = f"{self.addresses:,} addresses x {self.ports:,} ports, each with"
        return f"{what} up to {self.servers:,} real servers"


class _Counts:
    """Counts without building; a selection from a pool is counted once."""

    def __init__(self, directors: DirectorIndex, pools: PoolIndex) -> None:
        self._directors = directors
        self._pools = pools
        self._families: dict[int, tuple[tuple[ManifestRealServer, ...], dict[AddressFamily, int]]]
        self._families = {}
        self._most_named: dict[str, int] = {}

    def most_rules(self, service: Service) -> int:
        """Return at least as many rules as a service makes on any director."""
        servers = len(service.real_servers)
        for reference in service.pools:
            pool = self._pools.get(reference.name)
            servers += 0 if pool is None else len(pool.real_servers)
        if service.firewall_mark is not None:
            return len(AddressFamily) * (1 + servers)
        addresses = len(service.vips) + sum(map(self._most_addresses, service.host_addresses))
        return addresses * len(service.ports) * (1 + servers)

    def _most_addresses(self, name: str) -> int:
        if name not in self._most_named:
            named = (len(d.addresses.get(name, ())) for d in self._directors.all)
            self._most_named[name] = max(named, default=0)
        return self._most_named[name]

    def product(self, service: Service, director: Director) -> _Product:
        """Count what a service makes on one of its directors."""
        index = self._directors.index_by_name[director.name]
        selections = [service.real_servers]
        selections += [self._pools.selected_servers(r, director.labels) for r in service.pools]
        servers = {
            family: sum(self._count(selection, family, service) for selection in selections)
            for family in AddressFamily
        }
        if service.firewall_mark is not None:
            rules = sum(1 + number for number in servers.values())
            return _Product(1, 1, max(servers.values()), rules)
        addresses = [
            *(v.address for v in service.vips if index in self._directors.selected(v.directors)),
            *host_addresses(service, director),
        ]
        rules = sum(1 + servers[family_of(address)] for address in addresses) * len(service.ports)
        return _Product(len(addresses), len(service.ports), max(servers.values()), rules)

    def placed_servers(self, service: Service) -> int:
        """Count a service's real servers, once for each group of its directors."""
        if not service.pools:
            return len(service.real_servers)
        on = self._directors.selected(service.directors)
        keys = tuple(sorted({key for r in service.pools for key in r.same_labels}))
        number = 0
        for values, group in self._directors.by_label_values(keys).items():
            if group.meets(on):
                labels = dict(zip(keys, values, strict=True))
                number += sum(len(self._pools.selected_servers(r, labels)) for r in service.pools)
        return number

    def _count(
        self, servers: tuple[ManifestRealServer, ...], family: AddressFamily, service: Service
    ) -> int:
        if service.is_cross_family:
            return len(servers)
        counted = self._families.get(id(servers))
        if counted is None:
            of_ipv4 = sum(family_of(s.address) is AddressFamily.IPV4 for s in servers)
            families = {
                AddressFamily.IPV4: of_ipv4,
                AddressFamily.IPV6: len(servers) - of_ipv4,
            }
            counted = self._families[id(servers)] = servers, families
        return counted[1][family]
