"""The status of a director: one value behind `gitvs status` and the metrics.

The agent makes a new one after each pass. Everything in it is a copy, so that any thread may
read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gitvs.core.model.history import Commit, HistoryEntry, Outcome, Quarantine
from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resources import Key, RealServer, VirtualService
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.operations import NO_OPERATIONS, Operations
from gitvs.core.planning.repairs import Unrepairable
from gitvs.core.problems import Problem
from gitvs.core.status.health import NO_HEALTH_STATUS, HealthStatus


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The followed source and the result of reading it. `head` is the newest accepted commit."""

    name: str
    """A remote without credentials and its branch, or a folder."""
    head: Commit | None = None
    signed_by: str = ""
    """Who signed the head; empty if no signature is required."""
    last_answer_at: datetime | None = None
    """When the source was last read without an error."""
    failure_count: int = 0
    """How often in a row reading it failed."""
    error: str = ""
    """Why the last reading failed; empty after a success."""
    next_fetch_at: datetime | None = None
    """When it is read again."""
    judging_since: datetime | None = None
    """When reading and checking the newest commit began, if that is under way."""


@dataclass(frozen=True, slots=True)
class HookStatus:
    """The listener for announced pushes."""

    listen: str
    last_push_at: datetime | None = None
    """When a push was last accepted."""
    error: str = ""
    """Why no push can be accepted; empty if it listens."""


@dataclass(frozen=True, slots=True)
class LastPass:
    """How the newest pass ended. `problems` are why the newest commit was not applied."""

    outcome: Outcome | None
    """None if no pass could run."""
    at: datetime
    duration_seconds: float
    commit: Commit | None
    trigger: str
    """What triggered it, such as `drift timer`."""
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
    """How long it may still drain; None if no change in Git makes it drain."""
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
    """A director at one moment. None or empty means not known yet, or not the case."""

    director: str
    version: str
    at: datetime
    started_at: datetime | None = None
    """When the agent started; None if no agent runs."""
    source: SourceStatus = SourceStatus("")
    hook: HookStatus | None = None
    """None if the settings name no hook, or no agent runs."""
    desired_commit: Commit | None = None
    """The commit that should be in force: the pinned one, or the newest accepted one."""
    applied_commit: Commit | None = None
    applied_at: datetime | None = None
    is_applied: bool = False
    """Whether anything is applied; a folder of manifests is applied without a commit."""
    desired_digest: str = ""
    """The digest of the applied desired state."""
    last_pass: LastPass | None = None
    last_change: HistoryEntry | None = None
    """The newest transaction in the history that changed the kernel and was not undone."""
    observed_at: datetime | None = None
    """When the kernel was last read as a whole."""
    drifted_keys: tuple[Key, ...] = ()
    """What the newest pass found changed by something other than gitvs."""
    warnings: tuple[Problem, ...] = ()
    """What is allowed in the newest judged manifests, or in the messages of their commits, and
    probably not meant."""
    unrepairable: tuple[Unrepairable, ...] = ()
    """What the newest pass could not repair."""
    vips: tuple[str, ...] = ()
    """The keys of owned VIPs and local routes that exist."""
    is_standby: bool = False
    """Whether Git or an operator sets standby: no VIPs and no local routes."""
    operations: Operations = NO_OPERATIONS
    quarantined: tuple[Quarantine, ...] = ()
    services: tuple[ServiceStatus, ...] = ()
    health: HealthStatus = NO_HEALTH_STATUS
    is_transaction_open: bool = False
    foreign_objects: tuple[str, ...] = ()
    """Virtual services, sync daemons and addresses on gitvs's interface that gitvs does not own."""
