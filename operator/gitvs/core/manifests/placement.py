"""Finds the directors, addresses and real servers of each service, for all directors at once.

A rule computes with whole sets of directors, so that 2,000 services on 200 directors cost
2,000 steps and not 400,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import is_

from gitvs.core.manifests.types import (
    Director,
    DirectorSelector,
    DirectorSet,
    LabelMatch,
    Labels,
    ManifestPort,
    ManifestRealServer,
    ManifestVip,
    Pool,
    PoolReference,
    Service,
)
from gitvs.core.model.health import Health, OnFailure
from gitvs.core.model.resources import (
    AddressFamily,
    Forwarding,
    IPAddress,
    Protocol,
    Scheduler,
    Tunnel,
    family_of,
)

NO_DIRECTORS = DirectorSet()


class DirectorIndex:
    """The directors of a repository, by name and by label."""

    def __init__(self, directors: Iterable[Director]) -> None:
        self.all = tuple(sorted(directors, key=lambda d: d.name))
        self._everyone = DirectorSet.of_first(len(self.all))
        self.index_by_name = {d.name: i for i, d in enumerate(self.all)}
        self._by_label: dict[tuple[str, str], DirectorSet] = {}
        self._by_label_values: dict[tuple[str, ...], dict[tuple[str | None, ...], DirectorSet]] = {}
        self._by_address: dict[IPAddress, DirectorSet] = {}
        self._addresses_by_name: dict[str, dict[IPAddress, DirectorSet]] = {}
        self._by_selector: dict[tuple[object, LabelMatch], DirectorSet] = {}
        self._by_address_name: dict[str, DirectorSet] = {}
        self._by_sysctl: dict[tuple[str, str], DirectorSet] = {}
        self._families_by_name: dict[str, dict[AddressFamily, DirectorSet]] = {}
        self.has_address_by_two_names = False
        for i, director in enumerate(self.all):
            alone = DirectorSet.of(i)
            for label in director.labels.items():
                self._by_label[label] = self._by_label.get(label, NO_DIRECTORS) | alone
            self._add_addresses(director, alone)

    def _add_addresses(self, director: Director, alone: DirectorSet) -> None:
        for name, addresses in director.addresses.items():
            self._by_address_name[name] = self._by_address_name.get(name, NO_DIRECTORS) | alone
            named = self._addresses_by_name.setdefault(name, {})
            families = self._families_by_name.setdefault(name, {})
            for address in addresses:
                family = family_of(address)
                families[family] = families.get(family, NO_DIRECTORS) | alone
                named[address] = named.get(address, NO_DIRECTORS) | alone
                others = self._by_address.get(address, NO_DIRECTORS)
                self.has_address_by_two_names |= others.meets(alone)
                self._by_address[address] = others | alone

    def having_address_name(self, name: str) -> DirectorSet:
        """Return the directors that have a host address of this name."""
        return self._by_address_name.get(name, NO_DIRECTORS)

    def named_addresses(self, name: str) -> Mapping[IPAddress, DirectorSet]:
        """Return the host addresses of this name, each with its directors."""
        return self._addresses_by_name.get(name, {})

    def named_families(self, name: str) -> Mapping[AddressFamily, DirectorSet]:
        """Return the families of the host addresses of this name, each with its directors."""
        return self._families_by_name.get(name, {})

    def having_host_address(self, address: IPAddress) -> DirectorSet:
        """Return the directors that have this host address under any name."""
        return self._by_address.get(address, NO_DIRECTORS)

    def selected(self, selector: DirectorSelector | None) -> DirectorSet:
        """Return the directors that a selector matches; unknown names match none."""
        if selector is None:
            return self._everyone
        on = self._by_selector.get((selector.names, selector.labels))
        if on is None:
            on = self._by_selector[selector.names, selector.labels] = self._select(selector)
        return on

    def _select(self, selector: DirectorSelector) -> DirectorSet:
        on = self._everyone
        if selector.names is not None:
            on = DirectorSet.of(
                *(self.index_by_name[n] for n in selector.names if n in self.index_by_name)
            )
        for key, values in selector.labels:
            any_of = NO_DIRECTORS
            for value in values:
                any_of |= self._by_label.get((key, value), NO_DIRECTORS)
            on &= any_of
        return on

    def by_label_values(
        self, keys: tuple[str, ...]
    ) -> Mapping[tuple[str | None, ...], DirectorSet]:
        """Return the directors grouped by their values of some labels."""
        groups = self._by_label_values.get(keys)
        if groups is None:
            groups = self._by_label_values[keys] = {}
            for i, director in enumerate(self.all):
                values = tuple(director.labels.get(key) for key in keys)
                groups[values] = groups.get(values, NO_DIRECTORS) | DirectorSet.of(i)
        return groups

    def in_set(self, on: DirectorSet) -> Iterator[Director]:
        """Yield the directors of a set, sorted by name."""
        return (self.all[index] for index in on)

    def having_sysctl(self, name: str, value: str) -> DirectorSet:
        """Return the directors that give a setting this value."""
        found = self._by_sysctl.get((name, value))
        if found is None:
            found = DirectorSet.of(
                *(i for i, director in enumerate(self.all) if director.sysctls.get(name) == value)
            )
            self._by_sysctl[name, value] = found
        return found

    def on_text(self, on: DirectorSet) -> str:
        """Return ` on lb1 and lb2`, or an empty text if there is no director."""
        return f" on {self.names_text(on)}" if on else ""

    def names_text(self, on: DirectorSet) -> str:
        """Return the names of a set for a message: `lb1, lb2, lb3 and 5 more`."""
        count = len(on)
        names = [d.name for d in islice(self.in_set(on), 3 if count > 4 else count)]
        if count > 4:
            names.append(f"{count - 3} more")
        if len(names) < 2:
            return "".join(names)
        return f"{', '.join(names[:-1])} and {names[-1]}"


def updated_index(previous: DirectorIndex, directors: Iterable[Director]) -> DirectorIndex:
    """Return the index of the first director of each name; the previous one if that is the same."""
    first_by_name: dict[str, Director] = {}
    for director in directors:
        first_by_name.setdefault(director.name, director)
    index = DirectorIndex(first_by_name.values())
    is_same = len(index.all) == len(previous.all) and all(map(is_, index.all, previous.all))
    return previous if is_same else index


@dataclass(frozen=True, slots=True)
class ChosenServer:
    """A real server that a service uses, with its weight times the pool's factor."""

    server: ManifestRealServer
    weight: int
    pool_reference: PoolReference | None = None


@dataclass(frozen=True, slots=True)
class ServerVariant:
    """The real servers of a service on those of its directors that have the same ones."""

    directors: DirectorSet
    servers: tuple[ChosenServer, ...]


@dataclass(frozen=True, slots=True)
class PlacedService:
    """A service on its directors; `is_complete` is False if it or its pools have unread parts."""

    service: Service
    directors: DirectorSet
    vips: tuple[tuple[ManifestVip, DirectorSet], ...]
    variants: tuple[ServerVariant, ...]
    is_complete: bool = True

    def vip_families(self, variant: ServerVariant) -> dict[AddressFamily, DirectorSet]:
        """Return the address families of the VIPs, each with its directors of a variant."""
        families: dict[AddressFamily, DirectorSet] = {}
        for vip, on in self.vips:
            if on.meets(variant.directors):
                family = family_of(vip.address)
                families[family] = families.get(family, NO_DIRECTORS) | on & variant.directors
        return families

    def mark_families(self, variant: ServerVariant) -> dict[AddressFamily, DirectorSet]:
        """Return the address families of the firewall mark's services, each with its directors."""
        service = self.service
        here = variant.directors
        if service.vips:
            here &= union_of(on for _, on in self.vips)
        if service.address_family is not None:
            return {service.address_family: here} if here else {}
        server_families = {family_of(c.server.address) for c in variant.servers}
        families = dict.fromkeys(server_families, here) if here else {}
        if service.is_cross_family or not server_families:
            for family, on in self.vip_families(variant).items():
                families[family] = families.get(family, NO_DIRECTORS) | on
        return families


def union_of(sets: Iterable[DirectorSet]) -> DirectorSet:
    """Return the directors that are in any of the sets."""
    result = NO_DIRECTORS
    for on in sets:
        result |= on
    return result


class PoolIndex:
    """The pools of a repository; each selection from a pool is computed once."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        self._by_name: dict[str, Pool] = {}
        for pool in pools:
            self._by_name.setdefault(pool.name, pool)
        self._servers_by_labels: dict[tuple[str, LabelMatch], tuple[ManifestRealServer, ...]] = {}

    def get(self, name: str) -> Pool | None:
        """Return a pool; None if there is none or it could not be read."""
        return self._by_name.get(name)

    def selected_servers(
        self, reference: PoolReference, director_labels: Mapping[str, str | None]
    ) -> tuple[ManifestRealServer, ...]:
        """Return the real servers that a reference selects on a director with these labels."""
        wanted: LabelMatch = reference.match_labels
        for key in reference.same_labels:
            value = director_labels.get(key)
            if value is None:
                return ()
            wanted = (*wanted, (key, frozenset((value,))))
        pool = self._by_name.get(reference.name)
        if pool is None or not wanted:
            return () if pool is None else pool.real_servers
        found = self._servers_by_labels.get((pool.name, wanted))
        if found is None:
            found = tuple(s for s in pool.real_servers if matches_labels(s.labels or {}, wanted))
            self._servers_by_labels[pool.name, wanted] = found
        return found

    def chosen_servers(
        self, reference: PoolReference, director_labels: Mapping[str, str | None]
    ) -> Iterator[ChosenServer]:
        """Yield the selected real servers with their weights."""
        for server in self.selected_servers(reference, director_labels):
            yield ChosenServer(server, server.weight * reference.weight_factor, reference)


def place_service(service: Service, directors: DirectorIndex, pools: PoolIndex) -> PlacedService:
    """Return a service on its directors; unknown pools count as empty."""
    on = directors.selected(service.directors)
    vips = []
    for vip in service.vips:
        vip_directors = on if vip.directors is None else on & directors.selected(vip.directors)
        vips.append((vip, vip_directors))
    used_pools = [pools.get(reference.name) for reference in service.pools]
    are_pools_complete = all(pool is not None and pool.is_complete for pool in used_pools)
    variants = tuple(_variants(service, on, directors, pools))
    return PlacedService(
        service, on, tuple(vips), variants, are_pools_complete and service.is_complete
    )


def _variants(
    service: Service, on: DirectorSet, directors: DirectorIndex, pools: PoolIndex
) -> Iterator[ServerVariant]:
    inline = tuple(ChosenServer(server, server.weight) for server in service.real_servers)
    if not service.pools:
        yield ServerVariant(on, inline)
        return
    keys = tuple(sorted({key for r in service.pools for key in r.same_labels}))
    for values, group in directors.by_label_values(keys).items():
        if group.meets(on):
            labels = dict(zip(keys, values, strict=True))
            chosen = [c for r in service.pools for c in pools.chosen_servers(r, labels)]
            yield ServerVariant(group & on, tuple(chosen))


def matches_labels(labels: Labels, wanted: LabelMatch) -> bool:
    """Return whether every wanted label is present with a wanted value."""
    return all(labels.get(key) in values for key, values in wanted)


def forwarding_of(service: Service, server: ManifestRealServer) -> Forwarding:
    """Return the forwarding method of a real server."""
    return service.forwarding if server.forwarding is None else server.forwarding


def tunnel_of(service: Service, server: ManifestRealServer) -> Tunnel | None:
    """Return the tunnel of a real server; None unless its forwarding is `tun`."""
    if forwarding_of(service, server) is not Forwarding.TUN:
        return None
    return server.tunnel or service.tunnel or Tunnel()


def real_server_port(port: ManifestPort | None, server: ManifestRealServer) -> int:
    """Return the port of a real server; `port` is None under a firewall mark."""
    if server.port is not None:
        return server.port
    return 0 if port is None else port.server_port


def serves_family(service: Service, server: ManifestRealServer, family: AddressFamily) -> bool:
    """Return whether a real server is in the virtual services of an address family."""
    if family_of(server.address) is family:
        return True
    return service.is_cross_family and forwarding_of(service, server) is Forwarding.TUN


def on_failure_of(service: Service, port: ManifestPort | None) -> OnFailure:
    """Return what happens to real servers that are down; `port` is None under a firewall mark.

    Where weight 0 would leave clients on a dead real server, the default is to remove it. Under
    `sh` it never is: removing one of four real servers moved 23 of 34 clients of the others.
    """
    if service.health is not None and service.health.on_failure is not None:
        return service.health.on_failure
    if service.scheduler is Scheduler.SH:
        return OnFailure.DRAIN
    is_flow = port is not None and port.protocol is Protocol.UDP and not port.is_one_packet
    return OnFailure.REMOVE if is_flow or service.scheduler is Scheduler.DH else OnFailure.DRAIN


def health_of(service: Service, port: ManifestPort | None) -> Health | None:
    """Return how the real servers of a virtual service are checked; None if they are not."""
    health = service.health
    if health is None:
        return None
    return Health(
        tuple(one.check for one in health.checks),
        health.times,
        health.rise,
        health.fall,
        on_failure_of(service, port),
        health.keep_percent,
        health.lose_percent,
        health.gain_percent,
    )


def host_addresses(service: Service, director: Director) -> list[IPAddress]:
    """Return the host addresses that a service has on a director."""
    return [a for name in service.host_addresses for a in director.addresses.get(name, ())]
