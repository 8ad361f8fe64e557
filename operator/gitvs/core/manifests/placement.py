"""Which directors a service is on, with which addresses and real servers, for all at once.

Sets of directors are bit masks, so that two thousand services on two hundred directors cost
two thousand steps and not four hundred thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gitvs.core.manifests.types import (
    Director,
    LabelMatch,
    Labels,
    Pool,
    PoolReference,
    Selector,
    Service,
    WrittenPort,
    WrittenServer,
    WrittenVip,
)
from gitvs.core.model.resources import AddressFamily, Forwarding, IPAddress, Tunnel, family_of

Mask = int
"""A set of directors: bit n is the director of index n."""


class Directors:
    """The directors of a repository, by name and by label."""

    def __init__(self, directors: Iterable[Director]) -> None:
        self.all = tuple(sorted(directors, key=lambda d: d.name))
        self.everywhere: Mask = (1 << len(self.all)) - 1
        self.index = {d.name: i for i, d in enumerate(self.all)}
        self._by_label: dict[tuple[str, str], Mask] = {}
        self._by_values: dict[tuple[str, ...], dict[tuple[str | None, ...], Mask]] = {}
        self._by_address: dict[IPAddress, Mask] = {}
        self._named: dict[str, dict[IPAddress, Mask]] = {}
        self._selected: dict[tuple[object, LabelMatch], Mask] = {}
        self._with_name: dict[str, Mask] = {}
        self._named_families: dict[str, dict[AddressFamily, Mask]] = {}
        self.has_address_by_two_names = False
        for i, director in enumerate(self.all):
            for label in director.labels.items():
                self._by_label[label] = self._by_label.get(label, 0) | 1 << i
            self._add_addresses(director, 1 << i)

    def _add_addresses(self, director: Director, bit: Mask) -> None:
        for name, addresses in director.addresses.items():
            self._with_name[name] = self._with_name.get(name, 0) | bit
            named = self._named.setdefault(name, {})
            families = self._named_families.setdefault(name, {})
            for address in addresses:
                family = family_of(address)
                families[family] = families.get(family, 0) | bit
                named[address] = named.get(address, 0) | bit
                others = self._by_address.get(address, 0)
                self.has_address_by_two_names |= bool(others & bit)
                self._by_address[address] = others | bit

    def with_address(self, name: str) -> Mask:
        """Return the directors that have a host address of this name."""
        return self._with_name.get(name, 0)

    def named_addresses(self, name: str) -> Mapping[IPAddress, Mask]:
        """Return the host addresses of this name, each with its directors."""
        return self._named.get(name, {})

    def named_families(self, name: str) -> Mapping[AddressFamily, Mask]:
        """Return the address families that host addresses of this name have, and where."""
        return self._named_families.get(name, {})

    def with_host_address(self, address: IPAddress) -> Mask:
        """Return the directors that have this host address under any name."""
        return self._by_address.get(address, 0)

    def selected(self, selector: Selector | None) -> Mask:
        """Return the directors that a selector means; unknown names mean none."""
        if selector is None:
            return self.everywhere
        known = self._selected.get((selector.names, selector.labels))
        if known is None:
            known = self._selected[selector.names, selector.labels] = self._select(selector)
        return known

    def _select(self, selector: Selector) -> Mask:
        mask = self.everywhere
        if selector.names is not None:
            mask = sum(1 << self.index[n] for n in set(selector.names) if n in self.index)
        for key, values in selector.labels:
            any_of = 0
            for value in values:
                any_of |= self._by_label.get((key, value), 0)
            mask &= any_of
        return mask

    def by_values(self, keys: tuple[str, ...]) -> Mapping[tuple[str | None, ...], Mask]:
        """Return the directors grouped by their values of some labels."""
        groups = self._by_values.get(keys)
        if groups is None:
            groups = self._by_values[keys] = {}
            for i, director in enumerate(self.all):
                values = tuple(director.labels.get(key) for key in keys)
                groups[values] = groups.get(values, 0) | 1 << i
        return groups

    def of(self, mask: Mask) -> Iterator[Director]:
        """Yield the directors of a set, by name."""
        while mask:
            lowest = mask & -mask
            yield self.all[lowest.bit_length() - 1]
            mask ^= lowest

    def on(self, mask: Mask) -> str:
        """Return ` on lb1 and lb2`, or nothing for no director."""
        return f" on {self.names(mask)}" if mask else ""

    def names(self, mask: Mask) -> str:
        """Return a set as a message says it: `lb1, lb2, lb3 and 5 more`."""
        names = [d.name for d in self.of(mask)]
        if len(names) > 4:
            names = [*names[:3], f"{len(names) - 3} more"]
        if len(names) < 2:
            return "".join(names)
        return f"{', '.join(names[:-1])} and {names[-1]}"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A real server that a service uses, with its weight after the pool's factor."""

    server: WrittenServer
    weight: int
    pool: PoolReference | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """The real servers of a service on some of its directors, all of them alike."""

    mask: Mask
    servers: tuple[Chosen, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A service on its directors. `is_known` is False where a pool of it could not be read."""

    service: Service
    mask: Mask
    vips: tuple[tuple[WrittenVip, Mask], ...]
    variants: tuple[Variant, ...]
    is_known: bool = True

    def vip_families(self, variant: Variant) -> dict[AddressFamily, Mask]:
        """Return on which directors of a variant each address family has a VIP."""
        masks: dict[AddressFamily, Mask] = {}
        for vip, mask in self.vips:
            if mask & variant.mask:
                family = family_of(vip.address)
                masks[family] = masks.get(family, 0) | mask & variant.mask
        return masks

    def mark_families(self, variant: Variant) -> dict[AddressFamily, Mask]:
        """Return which directors have the firewall mark's service in which address family."""
        service = self.service
        here = variant.mask
        if service.vips:
            here &= union(mask for _, mask in self.vips)
        if service.address_family is not None:
            return {service.address_family: here} if here else {}
        families = {family_of(c.server.address) for c in variant.servers}
        masks = dict.fromkeys(families, here) if here else {}
        if service.cross_family or not families:
            for family, mask in self.vip_families(variant).items():
                masks[family] = masks.get(family, 0) | mask
        return masks


def union(masks: Iterable[Mask]) -> Mask:
    """Return the directors that are in any of the sets."""
    result = 0
    for mask in masks:
        result |= mask
    return result


class Pools:
    """The pools of a repository; what a selection takes from one is found once."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        self._by_name: dict[str, Pool] = {}
        for pool in pools:
            self._by_name.setdefault(pool.name, pool)
        self._selected: dict[tuple[str, LabelMatch], tuple[WrittenServer, ...]] = {}

    def get(self, name: str) -> Pool | None:
        """Return a pool that could be read."""
        return self._by_name.get(name)

    def selected(
        self, reference: PoolReference, director_labels: Mapping[str, str | None]
    ) -> tuple[WrittenServer, ...]:
        """Return what a service takes from a pool on a director with these labels."""
        wanted: LabelMatch = reference.match_labels
        for key in reference.same_labels:
            value = director_labels.get(key)
            if value is None:
                return ()
            wanted = (*wanted, (key, frozenset((value,))))
        pool = self._by_name.get(reference.name)
        if pool is None or not wanted:
            return () if pool is None else pool.real_servers
        found = self._selected.get((pool.name, wanted))
        if found is None:
            found = tuple(s for s in pool.real_servers if matches(s.labels or {}, wanted))
            self._selected[pool.name, wanted] = found
        return found

    def chosen(
        self, reference: PoolReference, director_labels: Mapping[str, str | None]
    ) -> Iterator[Chosen]:
        """Yield the same with its weights."""
        for server in self.selected(reference, director_labels):
            yield Chosen(server, server.weight * reference.factor, reference)


def place(service: Service, directors: Directors, pools: Pools) -> Placed:
    """Return a service on its directors; unknown pools count as empty."""
    mask = directors.selected(service.directors)
    vips = []
    for vip in service.vips:
        on = mask if vip.directors is None else mask & directors.selected(vip.directors)
        vips.append((vip, on))
    known = [pools.get(reference.name) for reference in service.pools]
    is_known = all(pool is not None and pool.is_whole for pool in known)
    variants = tuple(_variants(service, mask, directors, pools))
    return Placed(service, mask, tuple(vips), variants, is_known and service.is_whole)


def _variants(
    service: Service, mask: Mask, directors: Directors, pools: Pools
) -> Iterator[Variant]:
    inline = tuple(Chosen(server, server.weight) for server in service.real_servers)
    if not service.pools:
        yield Variant(mask, inline)
        return
    keys = tuple(sorted({key for r in service.pools for key in r.same_labels}))
    for values, group in directors.by_values(keys).items():
        if group & mask:
            labels = dict(zip(keys, values, strict=True))
            chosen = [c for r in service.pools for c in pools.chosen(r, labels)]
            yield Variant(group & mask, tuple(chosen))


def matches(labels: Labels, wanted: LabelMatch) -> bool:
    """Return whether all wanted labels are there with a wanted value."""
    return all(labels.get(key) in values for key, values in wanted)


def forwarding_of(service: Service, server: WrittenServer) -> Forwarding:
    """Return how a real server's packets reach it."""
    return service.forwarding if server.forwarding is None else server.forwarding


def tunnel_of(service: Service, server: WrittenServer) -> Tunnel | None:
    """Return how a real server's packets are wrapped; None unless they are tunnelled."""
    if forwarding_of(service, server) is not Forwarding.TUN:
        return None
    return server.tunnel or service.tunnel or Tunnel()


def server_port(port: WrittenPort | None, server: WrittenServer) -> int:
    """Return the port of a real server; `port` is None under a firewall mark."""
    if server.port is not None:
        return server.port
    return 0 if port is None else port.server_port


def joins(service: Service, server: WrittenServer, family: AddressFamily) -> bool:
    """Return whether a real server is in the virtual services of an address family."""
    if family_of(server.address) is family:
        return True
    return service.cross_family and forwarding_of(service, server) is Forwarding.TUN


def host_addresses(service: Service, director: Director) -> list[IPAddress]:
    """Return the host addresses that a service has on a director."""
    return [a for name in service.host_addresses for a in director.addresses.get(name, ())]
