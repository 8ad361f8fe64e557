"""One pass: recover → observe → propose → gates → repairs → the commit's changes → record.

The repairs are one transaction, and what cannot be repaired is left out. The commit's own
changes are another transaction after it, and the commit is judged by that alone.

Brings one kernel to the desired state of one commit. The caller has found the commit and loaded
its manifests; the agent decides when a pass runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gitvs.core.errors import ExitCode, UnexpectedPlan
from gitvs.core.health.records import RecordedAt, health_from_record, is_recent
from gitvs.core.health.serving import EVERYBODY_SERVES, Serving
from gitvs.core.health.tracker import HealthTracker
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import DummyInterface, Key, Listener, service_key_in
from gitvs.core.model.state import State
from gitvs.core.planning.gates import Lift
from gitvs.core.planning.operations import NO_OPERATIONS, Operations, with_operations
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX, scope_of
from gitvs.core.planning.plan import Change, Plan, diff
from gitvs.core.planning.proposal import Proposal, propose
from gitvs.core.planning.repairs import Failures, Unrepairable, ledger_keys, merged_ledger
from gitvs.ports import Applied, Ports
from gitvs.reconcile.partial_reading import (
    are_read_singly,
    listeners_of,
    observe_listeners,
)
from gitvs.reconcile.repair_memory import RepairMemory
from gitvs.reconcile.results import TransactionResult
from gitvs.reconcile.store_age import adopt_with_older_store, refuse_older_store
from gitvs.reconcile.transaction import apply, recover


@dataclass(frozen=True, slots=True)
class PassOptions:
    """The options of one pass. `expected_digest` is a plan's or a desired state's digest.

    `allowed_gates` are lifted by hand, `lifts` by commit messages.
    `only_keys` are the keys that a pause lets change. Without `is_full_reading`, and if the
    result of the previous pass is known, only those virtual services are read that the step from
    the applied state to the target is about; a full reading finds drift of the others.
    """

    allowed_gates: frozenset[str] = frozenset()
    adopt: bool = False
    expected_digest: str | None = None
    only_keys: frozenset[Key] | None = None
    is_full_reading: bool = True
    lifts: tuple[Lift, ...] = ()
    includes_gateways: bool = False
    """Whether to read the gateways of routes even if no new VIP or local route needs them."""
    serving: Serving | None = None
    """What health says of the real servers of the target; None for what is recorded of it."""


@dataclass(frozen=True, slots=True)
class PlannedPass:
    """A proposal, with everything that it was computed from."""

    proposal: Proposal
    observation: Observation
    ledger: Ledger
    applied: Applied | None
    boottime_seconds: float
    has_open_transaction: bool = False
    """Whether a transaction was left open: the next pass undoes or finishes it first."""
    is_full_reading: bool = True
    """Whether it is based on a full reading, not on one of a few virtual services."""
    is_paused: bool = False
    """Whether a pause limits it to a few keys."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """How a pass ended. `recovered` is how a transaction of a crashed pass was recovered.

    `transaction` is the commit's if there was one, else that of the repairs. `unrepairable` is
    what was left out. `stage_seconds` is how long each stage took, in seconds.
    """

    outcome: Outcome
    planned: PlannedPass | None = None
    transaction: TransactionResult | None = None
    recovered: TransactionResult | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    repairs: TransactionResult | None = None
    unrepairable: tuple[Unrepairable, ...] = ()

    @property
    def observation(self) -> Observation | None:
        """The newest reading."""
        for result in (self.transaction, self.repairs):
            if result is not None and result.observation is not None:
                return result.observation
        return None if self.planned is None else self.planned.observation

    @property
    def is_transient(self) -> bool:
        """Whether it failed for a reason that may be temporary."""
        return self.transaction is not None and self.transaction.is_transient

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that ran this pass."""
        code = self.outcome.exit_code
        return ExitCode.ERROR if code is ExitCode.DONE and self.unrepairable else code


def reconcile(
    ports: Ports,
    target: Applied,
    options: PassOptions = PassOptions(),
    last_pass: PassResult | None = None,
    memory: RepairMemory | None = None,
) -> PassResult:
    """Bring the kernel to the target, or keep it unchanged. `last_pass` is the previous pass.

    Repairs that failed before and are not due yet, as `memory` knows, are left out.

    Raises:
        UnexpectedPlan: the plan is not the expected one; nothing was written.
        KernelUnavailable, KernelUnreadable, StoreError: nothing was written.
    """
    started_boottime = ports.clock.boottime()
    if options.adopt:
        adopt_with_older_store(ports)
    recovered = recover(ports)
    if recovered is not None and recovered.outcome is Outcome.STUCK:
        return PassResult(Outcome.STUCK, recovered=recovered)
    planned = _plan_partial_reading(ports, target.desired, options, last_pass)
    planned = planned or plan_full_reading(ports, target.desired, options)
    planned_boottime = ports.clock.boottime()
    stage_seconds = {"plan": planned_boottime - started_boottime}
    proposal = planned.proposal
    expected_digest = options.expected_digest
    if expected_digest is not None and expected_digest not in (
        proposal.digest,
        proposal.desired_digest,
    ):
        raise UnexpectedPlan(
            f"the plan is {proposal.digest}, and the desired state {proposal.desired_digest}:"
            f" neither is the expected {expected_digest}. Nothing was changed; look at it with"
            " `gitvs plan`"
        )
    if proposal.is_blocked:
        return PassResult(
            Outcome.BLOCKED, planned, recovered=recovered, stage_seconds=stage_seconds
        )
    memory = memory or RepairMemory()
    if not proposal.plan and not proposal.unrepairable:
        memory.record({}, (), ports.clock, planned.is_paused)
        record_converged(ports, planned, target)
        _mark_adopted_interface(ports, target, options)
        return PassResult(
            Outcome.CONVERGED, planned, recovered=recovered, stage_seconds=stage_seconds
        )
    pass_result = execute(ports, planned, target, memory)
    _mark_adopted_interface(ports, target, options)
    stage_seconds["apply"] = ports.clock.boottime() - planned_boottime
    return replace(pass_result, recovered=recovered, stage_seconds=stage_seconds)


def execute(
    ports: Ports, planned: PlannedPass, target: Applied, memory: RepairMemory
) -> PassResult:
    """Make the changes of a plan that no gate blocks: first the repairs, then the commit's own.

    Raises:
        Interrupted, StoreError: as `apply`.
    """
    proposal = planned.proposal
    changes, repair_keys = proposal.plan.changes, proposal.repair_keys
    waiting = memory.waiting(repair_keys, ports.clock.boottime())
    failures = Failures(proposal.owned, proposal.target, {**waiting, **proposal.unrepairable})
    repairs = failures.possible(c for c in changes if c.key in repair_keys)
    repair_result = None
    if repairs:
        repair_result = _repair(ports, planned, repairs, failures)
        if repair_result.outcome is not Outcome.APPLIED:
            return PassResult(repair_result.outcome, planned, repair_result, repairs=repair_result)
    own_changes = failures.possible(c for c in changes if c.key not in repair_keys)
    tried_keys = {c.key for c in repairs}
    unrepairable = memory.record(failures.reasons, tried_keys, ports.clock, planned.is_paused)
    part = _part_of(ports, proposal, own_changes, repair_keys.union(failures.reasons))
    result = repair_result
    if own_changes:
        newest = None if repair_result is None else repair_result.observation
        part = replace(part, target=proposal.target.with_changes(drop=failures.reasons))
        result = apply(ports, part, target, newest or planned.observation)
    else:
        ledger = ports.store.ledger(ports.kernel.incarnation())
        record_converged(ports, replace(planned, proposal=part, ledger=ledger), target)
    outcome = Outcome.APPLIED if result is None else result.outcome
    return PassResult(outcome, planned, result, repairs=repair_result, unrepairable=unrepairable)


def _repair(
    ports: Ports, planned: PlannedPass, repairs: Sequence[Change], failures: Failures
) -> TransactionResult:
    """Make repairs as one transaction, whose target is in force already."""
    proposal, applied = planned.proposal, planned.applied
    assert applied is not None, "without an applied state nothing is a repair"
    repaired_keys = {c.key for c in repairs}
    others = {c.key for c in proposal.plan.changes} - proposal.repair_keys
    kept_keys = ledger_keys(planned.ledger, proposal.ledger).union(others) - repaired_keys
    part = _part_of(ports, proposal, repairs, kept_keys)
    part = replace(part, target=proposal.target.with_changes(drop=others))
    return apply(ports, part, applied, planned.observation, failures)


def _part_of(
    ports: Ports,
    proposal: Proposal,
    changes: Sequence[Change],
    kept_keys: Collection[Key],
) -> Proposal:
    """Return a part of a proposal; `kept_keys` keep their present entries in the ledger."""
    ledger = ports.store.ledger(ports.kernel.incarnation())
    return replace(
        proposal,
        plan=Plan(tuple(changes)),
        ledger=merged_ledger(ledger, proposal.ledger, kept_keys),
    )


def _mark_adopted_interface(ports: Ports, target: Applied, options: PassOptions) -> None:
    """Give an interface that was taken over from another store the alias of this one.

    Otherwise that store, brought back later, would find its own number and think itself newest.
    """
    interface = target.desired.interface
    ledger = ports.store.ledger(ports.kernel.incarnation())
    if options.adopt and DummyInterface(interface).key in ledger.owned:
        ports.kernel.write_witness(ports.store.number, adopted_interface=interface)


def plan_pass(ports: Ports, desired: Desired, options: PassOptions = PassOptions()) -> PlannedPass:
    """Plan against the kernel and the host settings as they are now; writes nothing.

    Raises:
        StoreOutdated: the store is older than the kernel.
    """
    if not options.adopt:
        refuse_older_store(ports)
    ledger = ports.store.ledger(ports.kernel.incarnation())
    scope = replace(scope_of(ledger, desired), includes_host_settings=True)
    return plan_reading(ports, desired, ledger, options, ports.kernel.observe(scope))


def plan_full_reading(
    ports: Ports, desired: Desired, options: PassOptions = PassOptions()
) -> PlannedPass:
    """Plan against a full reading of the kernel."""
    ledger = ports.store.ledger(ports.kernel.incarnation())
    scope = scope_of(ledger, desired, applied=_applied(ports))
    includes_gateways = scope.includes_gateways or options.includes_gateways
    observation = ports.kernel.observe(replace(scope, includes_gateways=includes_gateways))
    return plan_reading(ports, desired, ledger, options, observation)


def _applied(ports: Ports) -> Desired | None:
    applied = ports.store.applied()
    return None if applied is None else applied.desired


def without_counts(observation: Observation) -> Observation:
    """Return an observation without the values that change with traffic."""
    return replace(observation, connections={}, counters={})


def _plan_partial_reading(
    ports: Ports, desired: Desired, options: PassOptions, last_pass: PassResult | None
) -> PlannedPass | None:
    """Plan against the last reading, with those services read again that may have to change.

    None if that is not enough: something else has written, or the plan is about more services.
    """
    earlier = None if last_pass is None or options.is_full_reading else last_pass.observation
    if earlier is None:
        return None
    ledger = ports.store.ledger(ports.kernel.incarnation())
    listeners = _affected_listeners(
        ports.store.applied(), desired, ledger, earlier, options.serving
    )
    if not are_read_singly(listeners, earlier):
        return None
    scope = scope_of(ledger, desired, applied=_applied(ports))
    observation = observe_listeners(ports.kernel, scope, listeners, earlier)
    if observation.state_of_services(listeners) != earlier.state_of_services(listeners):
        return None
    planned = plan_reading(ports, desired, ledger, options, observation)
    planned_listeners = listeners_of(c.resource for c in planned.proposal.plan.changes)
    return replace(planned, is_full_reading=False) if planned_listeners <= listeners else None


def _affected_listeners(
    applied: Applied | None,
    desired: Desired,
    ledger: Ledger,
    earlier: Observation,
    serving: Serving | None,
) -> frozenset[Listener]:
    """Return the virtual services that a new desired state, a drain or health affects."""
    before = State() if applied is None else applied.desired.state
    changed = (r for pair in diff(before, desired.state) for r in pair)
    draining = (earlier.state.get(key) for key in ledger.drains)
    changed_keys = () if serving is None else serving.changed
    judged = (desired.state.get(service_key_in(key)) for key in changed_keys)
    return listeners_of((*changed, *draining, *judged))


def plan_reading(
    ports: Ports, desired: Desired, ledger: Ledger, options: PassOptions, observation: Observation
) -> PlannedPass:
    if options.serving is None:
        options = replace(options, serving=recorded_serving(ports, desired))
    planned = plan_from_observation(
        desired,
        ports.store.applied(),
        replace(observation, state=observation.state.sharing(desired.state)),
        ledger,
        ports.clock.boottime(),
        OWNER_ALIAS_PREFIX + ports.store.id,
        options,
        ports.store.operations().in_force(ports.moment()),
    )
    has_open_transaction = ports.store.open_transaction(ports.kernel.incarnation()) is not None
    return replace(planned, has_open_transaction=has_open_transaction)


def recorded_serving(ports: Ports, desired: Desired) -> Serving:
    """Return who serves, by what was recorded of health in the last five minutes."""
    record, now = ports.store.health(), recorded_at(ports)
    if record is None or not desired.health or not is_recent(record, now):
        return EVERYBODY_SERVES
    operated = with_operations(desired, ports.store.operations().in_force(ports.moment()))
    applied = _applied(ports)
    checks = {} if applied is None else applied.health
    tracker = HealthTracker(health_from_record(record, now, checks))
    state = None if applied is None else applied.state
    return tracker.serving_with(desired, operated, state, now.boottime_seconds)


def recorded_at(ports: Ports) -> RecordedAt:
    """Return the present moment, by the clocks that a record of health is compared with."""
    moment, alive_at = ports.moment(), ports.store.alive_at()
    alive_seconds = 0.0 if alive_at is None else alive_at.timestamp()
    now_seconds = moment.now.timestamp()
    return RecordedAt(now_seconds, moment.boottime_seconds, moment.boot_id, alive_seconds)


def plan_from_observation(
    desired: Desired,
    applied: Applied | None,
    observation: Observation,
    ledger: Ledger,
    boottime_seconds: float,
    owner_alias: str,
    options: PassOptions,
    operations: Operations = NO_OPERATIONS,
) -> PlannedPass:
    """Plan against an observation, of this host or of one that was saved."""
    proposal = propose(
        desired,
        None if applied is None else applied.desired,
        observation,
        ledger,
        boottime_seconds,
        owner_alias,
        adopt=options.adopt,
        allowed=options.allowed_gates,
        lifts=options.lifts,
        operations=operations,
        only_keys=options.only_keys,
        serving=options.serving or EVERYBODY_SERVES,
    )
    is_paused = options.only_keys is not None
    return PlannedPass(
        proposal, observation, ledger, applied, boottime_seconds, is_paused=is_paused
    )


def record_converged(ports: Ports, planned: PlannedPass, target: Applied) -> None:
    """Record the target as applied, with its ledger, unless both are recorded already."""
    before = planned.applied
    is_news = before is None or (before.desired, before.commit) != (target.desired, target.commit)
    if is_news or planned.ledger != planned.proposal.ledger:
        ports.store.record_converged(ports.kernel.incarnation(), planned.proposal.ledger, target)


DRAIN_POLL_SECONDS = 1.0
"""The interval between two readings of draining real servers."""


def reconcile_until_drained(
    ports: Ports, target: Applied, last_pass: PassResult, memory: RepairMemory | None = None
) -> Iterator[PassResult]:
    """Run further passes until no drain is left, yielding each that changed something.

    `last_pass` is the previous pass. Drift that appears meanwhile is repaired.
    """
    memory = memory or RepairMemory()
    while last_pass.outcome in (Outcome.APPLIED, Outcome.CONVERGED):
        if not ports.store.ledger(ports.kernel.incarnation()).drains:
            return
        ports.clock.sleep(DRAIN_POLL_SECONDS)
        last_pass = reconcile(ports, target, memory=memory)
        if last_pass.outcome is not Outcome.CONVERGED and last_pass.transaction is not None:
            yield last_pass
