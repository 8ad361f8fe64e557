"""The view of a plan for reports: the plan itself, and what people need to judge it.

Text, JSON and all other formats use the same view, so that they agree. It is made from a
proposal, so it has core types only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain

from gitvs.core.model.desired import Desired, ManifestLocation
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.observation import ConnectionCounts, Observation
from gitvs.core.model.resources import IPAddress, Key, RealServer, Resource, V
from gitvs.core.model.state import State
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.operations import NO_OPERATIONS, Operations, with_operations
from gitvs.core.planning.overlay import removals_after_drains
from gitvs.core.planning.plan import Action, Change, Plan, desired_digest, plan_digest
from gitvs.core.planning.proposal import Proposal
from gitvs.core.planning.repairs import differs_in_fallback_only
from gitvs.core.planning.risks import Risk
from gitvs.report.plan.health_view import NO_HEALTH_PLAN, HealthPlan, health_plan
from gitvs.report.text.places import NO_PLACES, Places


class PlanSideKind(StrEnum):
    """Where a plan starts, or ends."""

    LIVE = "live"
    SAVED_OBSERVATION = "state"
    """A saved `observe --format json`."""
    COMMIT = "commit"
    WORK_TREE = "work-tree"
    NOTHING = "nothing"
    """What a teardown leads to."""


@dataclass(frozen=True, slots=True)
class PlanSide:
    """One end of a plan.

    `name` is for people: a commit's subject, or the path of a saved observation or a work tree.
    """

    kind: PlanSideKind
    commit: str | None = None
    name: str = ""

    def __str__(self) -> str:
        match self.kind:
            case PlanSideKind.LIVE:
                return "this host" + (f" at {self._commit_text()}" if self.commit else "")
            case PlanSideKind.SAVED_OBSERVATION:
                return f"the saved state {self.name}".rstrip()
            case PlanSideKind.COMMIT:
                return self._commit_text()
            case PlanSideKind.WORK_TREE:
                return f"the work tree {self.name}".rstrip()
            case PlanSideKind.NOTHING:
                return "nothing"

    def _commit_text(self) -> str:
        """Return `commit 9ab0af1a283e "Add web3"`."""
        subject = f' "{self.name}"' if self.name else ""
        return f"commit {(self.commit or '')[:12]}{subject}"


class PlanOutcome(StrEnum):
    CHANGES = "changes"
    NONE = "none"
    BLOCKED = "blocked"


class Presence(StrEnum):
    """Whether the manifests of both sides have a director."""

    STAYS = "stays"
    APPEARS = "appears"
    DISAPPEARS = "disappears"


@dataclass(frozen=True, slots=True)
class DirectorPlan:
    """A plan of one director. `boottime_seconds` is the clock that the drains' deadlines are on.

    `state_before` is the state that the plan starts from: what is owned, as observed or assumed.
    """

    director: str
    plan: Plan
    desired: Desired
    target: State
    gates: tuple[Gate, ...] = ()
    foreign_names: tuple[str, ...] = ()
    """Objects that gitvs does not manage, as people read them."""
    locations: Mapping[Key, ManifestLocation] = field(default_factory=dict)
    server_names: Mapping[Key, str] = field(default_factory=dict)
    """The names of real servers in the manifests."""
    drift: frozenset[Key] = frozenset()
    """Changes that no manifest asked for: somebody changed the kernel."""
    drains: Mapping[Key, Drain] = field(default_factory=dict)
    """In force once the plan is applied."""
    ended_drains: frozenset[Key] = frozenset()
    """Drains that are over: their real servers are removed, or are wanted again."""
    connections: Mapping[Key, ConnectionCounts] = field(default_factory=dict)
    host_addresses: frozenset[IPAddress] = frozenset()
    boottime_seconds: float | None = None
    operations: Operations = NO_OPERATIONS
    """The operations of operators, which are not in the manifests."""
    state_before: State = field(default_factory=State)
    presence: Presence = Presence.STAYS
    risks: tuple[Risk, ...] = ()
    repairs: tuple[Change, ...] = ()
    """Drift on the host that the next sync repairs, whether or not this plan is applied."""
    repair_keys: frozenset[Key] = frozenset()
    """The changes of the plan that are repairs; the others are the commit's own."""
    unrepairable: Mapping[Key, str] = field(default_factory=dict)
    """What cannot be repaired on the host, with the reasons."""
    policy_location: ManifestLocation | None = None
    """Where the limits of the gates were set."""
    places: Places = NO_PLACES
    """How places in the manifests are written."""
    after_drains: tuple[Change, ...] = ()
    """What later passes delete once the drains are over, in their order."""
    health: HealthPlan = NO_HEALTH_PLAN
    """What changes about health checks, which is nothing in the kernel and no change of `plan`."""

    @property
    def digest(self) -> str:
        """The digest of the plan."""
        return plan_digest(self.desired, self.plan)

    @property
    def desired_digest(self) -> str:
        """The digest of the desired state.

        Computed on demand: few reports show it, and it is a tenth of a preview with a cache.
        """
        return desired_digest(self.desired)

    @property
    def outcome(self) -> PlanOutcome:
        if any(not gate.is_allowed for gate in self.gates):
            return PlanOutcome.BLOCKED
        return PlanOutcome.CHANGES if self.has_changes else PlanOutcome.NONE

    @property
    def has_changes(self) -> bool:
        """Whether anything changes, in the kernel or about health checks."""
        return bool(self.plan or self.health)

    @property
    def is_notable(self) -> bool:
        """Whether there is anything to report: a change, a gate, or a new or removed director."""
        return bool(self.has_changes or self.gates) or self.presence is not Presence.STAYS

    @property
    def summary(self) -> dict[str, int]:
        return summary_of(self.plan.changes)

    @property
    def longest_drain_seconds(self) -> float:
        """How long until the last of `after_drains` is removed, at the latest; 0 if none is."""
        return max((self.seconds_left(change.key) for change in self.after_drains), default=0.0)

    def seconds_left(self, key: Key) -> float:
        """How long a real server may still drain; 0 if it does not."""
        drain = self.drains.get(key)
        if drain is None:
            return 0.0
        now = self.boottime_seconds
        return drain.timeout_seconds if now is None else max(0.0, drain.deadline_seconds - now)

    def location_of(self, resource: Resource) -> ManifestLocation | None:
        """Return the location of a resource; a real server without one has its service's."""
        location = self.locations.get(resource.key)
        if location is None and isinstance(resource, RealServer):
            return self.locations.get(resource.service_key)
        return location

    def is_local(self, address: IPAddress) -> bool:
        """Whether an address is the director's own."""
        return address.is_loopback or address in self.host_addresses


def summary_of(changes: Iterable[Change]) -> dict[str, int]:
    """Return how many changes of each action there are; a replacement counts as an update."""
    counts = Counter(c.action for c in changes)
    return {
        "create": counts[Action.CREATE],
        "update": counts[Action.UPDATE] + counts[Action.REPLACE],
        "delete": counts[Action.DELETE],
        "drain": counts[Action.DRAIN],
    }


def summary_text(summary: Mapping[str, int]) -> str:
    """Return `3 to create, 1 to update, 0 to delete, 1 to drain`."""
    return ", ".join(f"{number} to {action}" for action, number in summary.items())


def director_plan(
    proposal: Proposal,
    *,
    observation: Observation | None = None,
    applied: Desired | None = None,
    ledger: Ledger | None = None,
    boottime_seconds: float | None = None,
) -> DirectorPlan:
    """Return the view of a proposal, with what is known of the host it is for."""
    observed = observation or Observation(State())
    ledger_before = ledger or Ledger()
    removed = {c.key for c in proposal.plan.changes if c.after is None}
    drains = {k: d for k, d in proposal.ledger.drains.items() if k not in removed}
    effective = with_operations(proposal.desired, proposal.operations)
    return DirectorPlan(
        director=proposal.desired.director,
        plan=proposal.plan,
        desired=proposal.desired,
        target=proposal.target,
        gates=proposal.gates,
        foreign_names=(*proposal.foreign, *sorted(observed.unknown_objects)),
        locations=_merged(applied.locations if applied else {}, proposal.desired.locations),
        server_names=_merged(
            applied.server_names if applied else {}, proposal.desired.server_names
        ),
        drift=drift_of(proposal, applied, ledger_before),
        drains=drains,
        ended_drains=frozenset(ledger_before.drains.keys() - drains.keys()),
        connections=observed.connections,
        host_addresses=frozenset(a for link in observed.links.values() for a in link.addresses),
        boottime_seconds=boottime_seconds,
        operations=proposal.operations,
        state_before=proposal.owned,
        repair_keys=proposal.repair_keys,
        unrepairable=proposal.unrepairable,
        policy_location=proposal.desired.policy.location,
        after_drains=removals_after_drains(proposal.target, effective.state),
        health=health_plan(applied, proposal.desired),
    )


def _merged(old: Mapping[Key, V], new: Mapping[Key, V]) -> dict[Key, V]:
    """Return both; `{**old, **new}` would take a Python call for each key."""
    return dict(chain(old.items(), new.items()))


def drift_of(proposal: Proposal, applied: Desired | None, ledger: Ledger) -> frozenset[Key]:
    """Return the changes that no manifest asked for: somebody changed the kernel."""
    drifted = frozenset(_drifted_keys(proposal, applied))
    return drifted - ledger.drains.keys() - proposal.health_keys


def _drifted_keys(proposal: Proposal, applied: Desired | None) -> Iterator[Key]:
    """Yield the changes between an unchanged desired state and a changed kernel."""
    if applied is None:
        return
    for change in proposal.plan.changes:
        desired = proposal.desired.state.get(change.key)
        if desired is None or desired != applied.state.get(change.key) or change.after != desired:
            continue
        if not differs_in_fallback_only(change):
            yield change.key
