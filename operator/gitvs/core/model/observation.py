"""What one reading of a kernel found: a state, and what rules need to know about the host."""

from __future__ import annotations

from collections.abc import (
    Collection,
    Mapping,
)
from dataclasses import dataclass, field, replace

from gitvs.core.model.resources import (
    AddressFamily,
    IPAddress,
    IPNetwork,
    Key,
    Listener,
    Protocol,
    RealServer,
    Scheduler,
    V,
    VirtualService,
)
from gitvs.core.model.state import State

_SERVICE_CLASSES = (VirtualService, RealServer)


@dataclass(frozen=True, slots=True)
class ConnectionCounts:
    """What IPVS counts for one real server."""

    active: int = 0
    inactive: int = 0
    persistent: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether no connection is left; a persistent client alone is none."""
        return self.active == 0 and self.inactive == 0


@dataclass(frozen=True, slots=True)
class Counters:
    """What IPVS has counted for one virtual service or real server since it was made."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface. `kind` is rtnetlink's (`dummy`, `veth`), empty for hardware."""

    name: str
    kind: str
    alias: str
    is_up: bool
    addresses: tuple[IPAddress, ...] = ()
    networks: tuple[IPNetwork, ...] = ()
    """The prefixes that its neighbours are in; none for an address alone (/32, /128)."""


@dataclass(frozen=True, slots=True, order=True)
class WildcardListener:
    """A socket that takes what comes to a port of any address of its host, in one family."""

    protocol: Protocol
    family: AddressFamily
    port: int

    def __str__(self) -> str:
        return f"{self.protocol} port {self.port}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What an observation has to read beyond what IPVS and routing say by themselves."""

    interfaces: frozenset[str] = frozenset()
    sysctls: frozenset[str] = frozenset()
    includes_host_settings: bool = False
    """Whether to read what only risk notes need: wildcard listeners, and settings of links."""
    listeners: frozenset[Listener] | None = None
    """Of IPVS's rules, the virtual services to read, with their real servers; None: all."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one full reading of a kernel found.

    `state` holds everything of the kinds that gitvs manages, whoever made it: all virtual
    services and real servers, addresses on the scope's interfaces, routes of protocol 71,
    sync daemons, timeouts, the scope's sysctls that exist here, the scope's interfaces that
    are dummies. The rest is what rules need to know about the host.
    """

    state: State
    connections: Mapping[Key, ConnectionCounts] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    gateways: frozenset[IPAddress] = frozenset()
    foreign_routes: frozenset[IPNetwork] = frozenset()
    """Prefixes in table `local` that neither the kernel nor gitvs put there."""
    missing_schedulers: frozenset[Scheduler] = frozenset()
    """Schedulers that this kernel surely lacks."""
    unknown_objects: frozenset[str] = frozenset()
    """IPVS objects that gitvs has no words for, as people read them: foreign, not in `state`."""
    kernel_release: str = ""
    counters: Mapping[Key, Counters] = field(default_factory=dict)
    """What was counted for each virtual service and real server, where the kernel tells."""
    wildcard_listeners: frozenset[WildcardListener] = frozenset()
    """The daemons that answer on every address; none: not read."""

    def updated_with(self, newer: Observation, listeners: Collection[Listener]) -> Observation:
        """Return a reading of everything with a newer one of these virtual services put in."""
        replaced = self.state_of_services(listeners)
        other_keys = [key for key, r in self.state.items() if not isinstance(r, _SERVICE_CLASSES)]
        removed = replaced.keys() - newer.state.keys()

        def merged(old: Mapping[Key, V], new: Mapping[Key, V]) -> dict[Key, V]:
            result = {**old, **new}
            for key in removed:
                result.pop(key, None)
            return result

        return replace(
            newer,
            state=self.state.with_changes(newer.state.values(), [*replaced, *other_keys]),
            connections=merged(self.connections, newer.connections),
            counters=merged(self.counters, newer.counters),
            unknown_objects=self.unknown_objects | newer.unknown_objects,
        )

    def state_of_services(self, listeners: Collection[Listener]) -> State:
        """Return what was read of these virtual services, with their real servers."""
        keys = {listener.key for listener in listeners}
        services = [s for s in self.state.of_type(VirtualService) if s.listener.key in keys]
        return State(
            [*services, *(s for s in self.state.of_type(RealServer) if s.listener.key in keys)]
        )
