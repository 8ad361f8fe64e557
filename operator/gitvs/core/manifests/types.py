"""What people wrote, typed: the documents of the manifests with their defaults filled in.

Every value knows the spot where it was written. What it means for one director is the
business of `placement` and `render`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitvs.core.manifests.syntax.source_positions import Spot
from gitvs.core.model.desired import Policy
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
"""Labels that must all match, each with the values of which any does."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which directors; all that is given must match. `names` None: any name."""

    spot: Spot
    names: tuple[str, ...] | None = None
    labels: LabelMatch = ()


@dataclass(frozen=True, slots=True)
class WrittenVip:
    spot: Spot
    address: IPAddress
    directors: Selector | None = None
    bind: bool = True


@dataclass(frozen=True, slots=True)
class WrittenPort:
    spot: Spot
    port: int
    protocol: Protocol = Protocol.TCP
    target_port: int | None = None
    one_packet: bool = False

    @property
    def server_port(self) -> int:
        """The port of real servers that have none of their own."""
        return self.port if self.target_port is None else self.target_port

    def __str__(self) -> str:
        return f"{self.protocol} port {self.port}"


@dataclass(frozen=True, slots=True)
class WrittenServer:
    """A real server as written, in a Service or a Pool; None: as the Service has it."""

    spot: Spot
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
    spot: Spot
    name: str
    same_labels: tuple[str, ...] = ()
    match_labels: LabelMatch = ()
    factor: int = 1


@dataclass(frozen=True, slots=True)
class WrittenPersistence:
    timeout_seconds: int
    ipv4_prefix: int = 32
    ipv6_prefix: int = 128
    engine: PersistenceEngine | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A Service document. `spots` tells where each field of its spec was written.

    It is not whole where a value could not be read: what is missing then proves nothing.
    """

    spot: Spot
    name: str
    labels: Labels
    directors: Selector | None
    vips: tuple[WrittenVip, ...]
    host_addresses: tuple[str, ...]
    ports: tuple[WrittenPort, ...]
    firewall_mark: int | None
    address_family: AddressFamily | None
    scheduler: Scheduler
    flags: frozenset[SchedulerFlag]
    persistence: WrittenPersistence | None
    forwarding: Forwarding
    tunnel: Tunnel | None
    cross_family: bool
    drain_seconds: float
    real_servers: tuple[WrittenServer, ...]
    pools: tuple[PoolReference, ...]
    spots: Mapping[str, Spot]
    is_whole: bool = True

    def spot_of(self, field: str) -> Spot:
        """Return where a field was written; the document where it wasn't."""
        return self.spots.get(field, self.spot)


@dataclass(frozen=True, slots=True)
class Pool:
    spot: Spot
    name: str
    labels: Labels
    real_servers: tuple[WrittenServer, ...]
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Director:
    """A Director document. `spots` tells where each field of its spec was written."""

    spot: Spot
    name: str
    labels: Labels
    interface: str
    addresses: Mapping[str, Mapping[IPAddress, Spot]]
    local_routes: Mapping[IPNetwork, Spot]
    sysctls: Mapping[str, str]
    timeouts: Mapping[TimeoutName, int]
    sync_daemons: tuple[tuple[SyncDaemon, Spot], ...]
    standby: bool
    spots: Mapping[str, Spot]

    def spot_of(self, field: str) -> Spot:
        """Return where a field was written; the document where it wasn't."""
        return self.spots.get(field, self.spot)


@dataclass(frozen=True, slots=True)
class WrittenOwner:
    """A folder of a team, and what is its alone."""

    spot: Spot
    path: str
    prefixes: Mapping[IPNetwork, Spot]
    firewall_marks: tuple[int, ...]
    directors: Selector | None


@dataclass(frozen=True, slots=True)
class WrittenPolicy:
    spot: Spot
    limits: Policy
    owners: tuple[WrittenOwner, ...]
