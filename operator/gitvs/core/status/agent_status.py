"""What a running director tells of itself: one value behind `gitvs status` and the metrics.

The agent makes a new one after each pass; everything in it is a copy, so that others may read
it from any thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gitvs.core.model.history import Commit, Outcome, Quarantine
from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resources import Key, RealServer, VirtualService
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.operations import NO_OPERATIONS, Operations


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Where commits come from, and how that goes. `head` is the newest accepted commit."""

    name: str
    """A remote without credentials and its branch, or a folder."""
    head: Commit | None = None
    signed_by: str = ""
    """Who signed the head; empty where no signature is asked for."""
    last_answer_at: datetime | None = None
    """When the source was last read without an error."""
    failure_count: int = 0
    """How often in a row it was not."""
    error: str = ""
    """Why the last time failed; empty after a success."""
    next_fetch_at: datetime | None = None
    """When it is asked again."""


@dataclass(frozen=True, slots=True)
class LastPass:
    """How the newest pass ended. `problems` are what kept the newest commit from being applied."""

    outcome: Outcome | None
    """None: nothing could be done at all."""
    at: datetime
    duration_seconds: float
    commit: Commit | None
    trigger: str
    """What set it off, such as `drift timer`."""
    problems: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One real server as IPVS had it at the last reading."""

    server: RealServer
    name: str = ""
    connections: ConnectionCounts = ConnectionCounts()
    counters: Counters = Counters()
    remaining_drain_seconds: float | None = None
    """How long it may still drain; None if it doesn't because of a change in Git."""
    is_drained_by_operator: bool = False
    is_local: bool = False


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One owned virtual service as IPVS had it at the last reading, with its real servers."""

    service: VirtualService
    name: str = ""
    """The Service of the manifests that it comes from."""
    counters: Counters = Counters()
    servers: tuple[ServerStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """A director at one moment. What is None or empty is not known yet, or not so."""

    director: str
    version: str
    at: datetime
    started_at: datetime | None = None
    """When the agent started; None: none is running."""
    source: SourceStatus = SourceStatus("")
    desired_commit: Commit | None = None
    """The commit that is to be in force: the pin's, or the newest accepted one."""
    applied_commit: Commit | None = None
    applied_at: datetime | None = None
    is_applied: bool = False
    """Whether anything is applied: a folder of manifests is, without a commit."""
    desired_digest: str = ""
    """What identifies the applied desired state."""
    last_pass: LastPass | None = None
    observed_at: datetime | None = None
    """When the kernel was last read as a whole."""
    drifted_keys: tuple[Key, ...] = ()
    """What the newest pass found changed behind gitvs's back."""
    vips: tuple[str, ...] = ()
    """The keys of owned VIPs and local routes that are there."""
    is_standby: bool = False
    """Whether Git or an operator keeps VIPs and local routes away."""
    operations: Operations = NO_OPERATIONS
    quarantined: tuple[Quarantine, ...] = ()
    services: tuple[ServiceStatus, ...] = ()
    is_transaction_open: bool = False
    foreign_objects: tuple[str, ...] = ()
    """Virtual services, sync daemons and addresses on our interface that are not gitvs's."""
