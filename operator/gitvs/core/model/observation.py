"""The result of one kernel reading: a state, and what rules need to know about the host."""

from __future__ import annotations

from collections.abc import (
    Collection,
    Mapping,
)
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gitvs.core.model.grouped import OTHERS, Grouped
from gitvs.core.model.resources import (
    AddressFamily,
    IPAddress,
    IPNetwork,
    Key,
    Listener,
    Protocol,
    Scheduler,
    V,
)
from gitvs.core.model.state import State


class ConnectionCounts(NamedTuple):
    """The connections of one real server, as IPVS counts them."""

    active: int = 0
    inactive: int = 0
    persistent: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether no connection is left; `persistent` does not count."""
        return self.active == 0 and self.inactive == 0


class Counters(NamedTuple):
    """What IPVS has counted for one virtual service or real server since its creation.

    The rates are the kernel's own, of the last seconds.
    Source: Linux net/netfilter/ipvs/ip_vs_est.c: a moving average, renewed every 2 s.

    A tuple, as `ConnectionCounts`: making one takes a quarter of the time of a dataclass, and a
    reading makes one for each object that is in use.
    """

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    connections_per_second: int = 0
    bytes_in_per_second: int = 0
    bytes_out_per_second: int = 0


DEFAULT_MTU = 1500
"""The MTU of a link if none is given: that of Ethernet."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface; `kind` is rtnetlink's (`dummy`, `veth`), empty for hardware."""

    name: str
    kind: str
    alias: str
    is_up: bool
    addresses: tuple[IPAddress, ...] = ()
    networks: tuple[IPNetwork, ...] = ()
    """The prefixes of its neighbours; an address with /32 or /128 adds none."""
    vrf: str = ""
    """The VRF that it belongs to; its addresses are local only there."""
    mtu: int = DEFAULT_MTU


@dataclass(frozen=True, slots=True, order=True)
class WildcardListener:
    """A socket that listens on a port of every address of its host, in one address family."""

    protocol: Protocol
    family: AddressFamily
    port: int

    def __str__(self) -> str:
        return f"{self.protocol} port {self.port}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What an observation has to read in addition to IPVS and routing."""

    interfaces: frozenset[str] = frozenset()
    sysctls: frozenset[str] = frozenset()
    includes_host_settings: bool = False
    """Whether to read what only risk notes need: wildcard listeners and settings of links."""
    includes_gateways: bool = True
    """Whether to read the gateways of all routes; only new VIPs and local routes need them."""
    listeners: frozenset[Listener] | None = None
    """The virtual services to read, with their real servers; None means all."""
    expected: State = field(default_factory=State, compare=False, repr=False)
    """The expected state; objects that are read as equal are shared with it, which saves time."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The result of one full kernel reading.

    `state` holds every resource of the kinds that gitvs manages, owned or foreign: all virtual
    services and real servers, addresses on the scope's interfaces, routes of protocol 71,
    sync daemons, timeouts, the scope's sysctls that exist here, the scope's interfaces that
    are dummies. The other fields are what rules need to know about the host.
    """

    state: State
    connections: Mapping[Key, ConnectionCounts] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    gateways: frozenset[IPAddress] = frozenset()
    """The gateways of all routes; empty if they were not read."""
    foreign_routes: frozenset[IPNetwork] = frozenset()
    """Prefixes in table `local` that neither the kernel nor gitvs put there."""
    missing_schedulers: frozenset[Scheduler] = frozenset()
    """Schedulers that this kernel definitely lacks."""
    unknown_objects: frozenset[str] = frozenset()
    """Texts of IPVS objects that gitvs cannot represent: they are foreign and not in `state`."""
    kernel_release: str = ""
    counters: Mapping[Key, Counters] = field(default_factory=dict)
    """The counters of virtual services and real servers, where the kernel reports them."""
    wildcard_listeners: frozenset[WildcardListener] = frozenset()
    """The sockets that listen on every address; empty if they were not read."""

    def updated_with(self, newer: Observation, listeners: Collection[Listener]) -> Observation:
        """Return this observation updated with `newer`.

        `newer` observed everything except the virtual services that are not in `listeners`.
        """
        keys = [OTHERS, *(listener.key for listener in listeners)]

        def updated(old: Mapping[Key, V], new: Mapping[Key, V]) -> Grouped[V]:
            newer_groups = Grouped.of(new).groups
            return Grouped.of(old).with_groups({key: newer_groups.get(key, {}) for key in keys})

        return replace(
            newer,
            state=self.state.with_groups({key: newer.state.groups.get(key, {}) for key in keys}),
            connections=updated(self.connections, newer.connections),
            counters=updated(self.counters, newer.counters),
            unknown_objects=self.unknown_objects | newer.unknown_objects,
        )

    def state_of_services(self, listeners: Collection[Listener]) -> State:
        """Return the observed state of these virtual services, with their real servers."""
        groups = self.state.groups
        return State.of_groups({x.key: groups[x.key] for x in listeners if x.key in groups})
