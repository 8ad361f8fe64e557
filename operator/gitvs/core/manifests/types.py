"""Typed values of the documents of the manifests, with their defaults filled in.

Values keep the origin where they were written. What they mean for one director is left to
`placement` and `render`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitvs.core.manifests.syntax.source_positions import Origin
from gitvs.core.model.desired import Policy
from gitvs.core.model.health import Check, CheckTimes, OnFailure
from gitvs.core.model.resources import (
    AddressFamily,
    Forwarding,
    IPAddress,
    IPNetwork,
    PersistenceEngine,
    Protocol,
    Scheduler,
    SchedulerFlag,
    SyncDaemon,
    TimeoutName,
    Tunnel,
)

Labels = Mapping[str, str]
LabelMatch = tuple[tuple[str, frozenset[str]], ...]
"""Labels that must all match, each with its accepted values."""


class DirectorSet:
    """A set of directors of a repository, each by its index in `DirectorIndex.all`."""

    # A bit mask (bit n is the director of index n), not a frozenset: with 100 directors, one & of
    # masks took 38 ns of CPU time, not 441, and one | took 35 ns, not 600.
    __slots__ = ("_mask",)

    def __init__(self, mask: int = 0) -> None:
        self._mask = mask

    @classmethod
    def of(cls, *indexes: int) -> DirectorSet:
        """Return the set of the directors of these indexes."""
        return cls(sum(1 << index for index in set(indexes)))

    @classmethod
    def of_first(cls, count: int) -> DirectorSet:
        """Return the set of the first directors."""
        return cls((1 << count) - 1)

    def __and__(self, other: DirectorSet) -> DirectorSet:
        return DirectorSet(self._mask & other._mask)

    def __or__(self, other: DirectorSet) -> DirectorSet:
        return DirectorSet(self._mask | other._mask)

    def __sub__(self, other: DirectorSet) -> DirectorSet:
        return DirectorSet(self._mask & ~other._mask)

    def __bool__(self) -> bool:
        return self._mask != 0

    def __len__(self) -> int:
        return self._mask.bit_count()

    def __contains__(self, index: int) -> bool:
        return self._mask >> index & 1 == 1

    def __iter__(self) -> Iterator[int]:
        rest = self._mask
        while rest:
            lowest = rest & -rest
            yield lowest.bit_length() - 1
            rest ^= lowest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DirectorSet) and self._mask == other._mask

    def __hash__(self) -> int:
        return hash(self._mask)

    def __repr__(self) -> str:
        return f"DirectorSet.of({', '.join(map(str, self))})"

    def meets(self, other: DirectorSet) -> bool:
        """Return whether a director is in both sets."""
        return self._mask & other._mask != 0


@dataclass(frozen=True, slots=True)
class DirectorSelector:
    """A choice of directors that match every condition; `names` None means any name."""

    origin: Origin
    names: tuple[str, ...] | None = None
    labels: LabelMatch = ()


@dataclass(frozen=True, slots=True)
class ManifestVip:
    origin: Origin
    address: IPAddress
    directors: DirectorSelector | None = None
    is_bound: bool = True


@dataclass(frozen=True, slots=True)
class ManifestPort:
    origin: Origin
    port: int
    protocol: Protocol = Protocol.TCP
    target_port: int | None = None
    is_one_packet: bool = False

    @property
    def server_port(self) -> int:
        """The port of real servers that do not have their own."""
        return self.port if self.target_port is None else self.target_port

    def __str__(self) -> str:
        return f"{self.protocol} port {self.port}"


@dataclass(frozen=True, slots=True)
class ManifestRealServer:
    """A real server as written in a Service or a Pool.

    Where `port`, `forwarding` or `tunnel` is None, the value of the Service is used.
    """

    origin: Origin
    address: IPAddress
    name: str | None = None
    port: int | None = None
    weight: int = 1
    upper_threshold: int = 0
    lower_threshold: int = 0
    forwarding: Forwarding | None = None
    tunnel: Tunnel | None = None
    labels: Labels | None = None


@dataclass(frozen=True, slots=True)
class PoolReference:
    origin: Origin
    name: str
    same_labels: tuple[str, ...] = ()
    match_labels: LabelMatch = ()
    weight_factor: int = 1


@dataclass(frozen=True, slots=True)
class ManifestPersistence:
    timeout_seconds: int
    ipv4_prefix_length: int = 32
    ipv6_prefix_length: int = 128
    engine: PersistenceEngine | None = None


@dataclass(frozen=True, slots=True)
class ManifestCheck:
    origin: Origin
    check: Check


@dataclass(frozen=True, slots=True)
class ManifestHealth:
    """The health checks of a Service; `on_failure` is None where the protocol decides."""

    origin: Origin
    checks: tuple[ManifestCheck, ...]
    times: CheckTimes
    rise: int
    fall: int
    on_failure: OnFailure | None
    keep_percent: float
    lose_percent: float
    gain_percent: float


@dataclass(frozen=True, slots=True)
class Service:
    """A Service document; `origins` has the origin of each field of its spec.

    `is_complete` is False where a VIP or real server could not be parsed: rules then conclude
    nothing from a missing one.
    """

    origin: Origin
    name: str
    labels: Labels
    directors: DirectorSelector | None
    vips: tuple[ManifestVip, ...]
    host_addresses: tuple[str, ...]
    ports: tuple[ManifestPort, ...]
    firewall_mark: int | None
    address_family: AddressFamily | None
    scheduler: Scheduler
    flags: frozenset[SchedulerFlag]
    persistence: ManifestPersistence | None
    forwarding: Forwarding
    tunnel: Tunnel | None
    is_cross_family: bool
    drain_seconds: float
    health: ManifestHealth | None
    real_servers: tuple[ManifestRealServer, ...]
    pools: tuple[PoolReference, ...]
    origins: Mapping[str, Origin]
    is_complete: bool = True

    def origin_of(self, field: str) -> Origin:
        """Return the origin of a field; the document's if the field was not written."""
        return self.origins.get(field, self.origin)


@dataclass(frozen=True, slots=True)
class Pool:
    origin: Origin
    name: str
    labels: Labels
    real_servers: tuple[ManifestRealServer, ...]
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Director:
    """A Director document; `origins` has the origin of each field of its spec."""

    origin: Origin
    name: str
    labels: Labels
    interface: str
    addresses: Mapping[str, Mapping[IPAddress, Origin]]
    local_routes: Mapping[IPNetwork, Origin]
    sysctls: Mapping[str, str]
    timeouts: Mapping[TimeoutName, int]
    sync_daemons: tuple[tuple[SyncDaemon, Origin], ...]
    is_standby: bool
    origins: Mapping[str, Origin]

    def origin_of(self, field: str) -> Origin:
        """Return the origin of a field; the document's if the field was not written."""
        return self.origins.get(field, self.origin)


@dataclass(frozen=True, slots=True)
class ManifestOwner:
    """A folder of a team, its exclusive prefixes and marks, and the directors that it may use."""

    origin: Origin
    path: str
    prefixes: Mapping[IPNetwork, Origin]
    firewall_marks: tuple[int, ...]
    directors: DirectorSelector | None


@dataclass(frozen=True, slots=True)
class ManifestPolicy:
    origin: Origin
    limits: Policy
    owners: tuple[ManifestOwner, ...]
