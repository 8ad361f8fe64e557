"""One pass: recover → observe → propose → gates → transaction → record.

Brings one kernel to what one commit says. Loading manifests and finding the commit come
before it; when a pass runs is the agent's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from gitvs.core.errors import StoreError, UnexpectedPlan
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Result
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import Key, Listener, Resource, SyncDaemon, Sysctl
from gitvs.core.model.state import State
from gitvs.core.planning.operations import NO_OPERATIONS, Operations
from gitvs.core.planning.ownership import MARK_PREFIX, scope_of, strange_interfaces
from gitvs.core.planning.plan import diff, is_of_one_interface
from gitvs.core.planning.proposal import Proposal, propose
from gitvs.ports import Applied
from gitvs.reconcile.partial_reading import MOST_READ_ALONE, listeners_of, read_again
from gitvs.reconcile.transaction import Finished, Ports, apply, recover


@dataclass(frozen=True, slots=True)
class Options:
    """What is said about one pass. `expect` is a plan's or a desired state's digest.

    `only` are the keys that a pause lets change. Unless all is to be read, only those virtual
    services are that the step from the applied state to the target is about, where it is known
    what the pass before left behind; drift of others is for a pass that reads all.
    """

    allowed: frozenset[str] = frozenset()
    adopt: bool = False
    expect: str | None = None
    only: frozenset[Key] | None = None
    is_all_read: bool = True


@dataclass(frozen=True, slots=True)
class Survey:
    """A proposal, with everything that it was worked out from."""

    proposal: Proposal
    observation: Observation
    ledger: Ledger
    applied: Applied | None
    boottime: float
    is_left_open: bool = False
    """Whether a transaction was left open: the next pass undoes or finishes it first."""
    is_whole: bool = True
    """Whether everything was read for it, not only what could have to change."""


@dataclass(frozen=True, slots=True)
class Pass:
    """How a pass ended. `recovered` is what a crashed one had left, `survey` what was planned.

    `stages` is how long each stage took, in seconds.
    """

    result: Result
    survey: Survey | None = None
    finished: Finished | None = None
    recovered: Finished | None = None
    stages: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def observation(self) -> Observation | None:
        """The newest reading."""
        if self.finished is not None and self.finished.observation is not None:
            return self.finished.observation
        return None if self.survey is None else self.survey.observation


def reconcile(
    ports: Ports,
    target: Applied,
    options: Options = Options(),
    last: Pass | None = None,
) -> Pass:
    """Bring the kernel to the target, or leave it as it was. `last` is the pass before.

    Raises:
        UnexpectedPlan: the plan is not the expected one; nothing was written.
        KernelUnavailable, KernelUnreadable, StoreError: nothing was written.
    """
    began_at = ports.clock.boottime()
    recovered = recover(ports)
    if recovered is not None and recovered.result is Result.STUCK:
        return Pass(Result.STUCK, recovered=recovered)
    survey = _look_at_part(ports, target.desired, options, last)
    survey = survey or _look(ports, target.desired, options, last)
    planned_at = ports.clock.boottime()
    stages = {"plan": planned_at - began_at}
    proposal = survey.proposal
    expected = options.expect
    if expected is not None and expected not in (proposal.digest, proposal.desired_digest):
        raise UnexpectedPlan(
            f"the plan is {proposal.digest}, and the desired state {proposal.desired_digest}:"
            f" neither is the expected {expected}. Nothing was changed; look at it with"
            " `gitvs plan`"
        )
    if proposal.is_blocked:
        return Pass(Result.BLOCKED, survey, recovered=recovered, stages=stages)
    if not proposal.plan:
        _record_converged(ports, survey, target)
        return Pass(Result.CONVERGED, survey, recovered=recovered, stages=stages)
    finished = apply(ports, proposal, target, survey.observation)
    stages["apply"] = ports.clock.boottime() - planned_at
    return Pass(finished.result, survey, finished, recovered, stages)


def look(ports: Ports, desired: Desired, options: Options = Options()) -> Survey:
    """Plan against the kernel and its surroundings as they are now; writes nothing."""
    ledger = ports.store.ledger(ports.kernel.incarnation())
    scope = replace(scope_of(ledger, desired), surroundings=True)
    return _survey(ports, desired, ledger, options, ports.kernel.observe(scope))


def _look(
    ports: Ports, desired: Desired, options: Options = Options(), last: Pass | None = None
) -> Survey:
    """Plan against the kernel as it is now; where nothing has changed, as in the last pass."""
    ledger = ports.store.ledger(ports.kernel.incarnation())
    observation = ports.kernel.observe(scope_of(ledger, desired))
    former = None if last is None else last.survey
    if former and _is_as_before(ports, former, desired, ledger, options, observation):
        return replace(former, observation=observation, boottime=ports.clock.boottime())
    return _survey(ports, desired, ledger, options, observation)


def _is_as_before(
    ports: Ports,
    former: Survey,
    desired: Desired,
    ledger: Ledger,
    options: Options,
    observation: Observation,
) -> bool:
    """Whether a survey that found nothing to do would find so again, which takes long."""
    applied, proposal = ports.store.applied(), former.proposal
    is_at_rest = not (proposal.plan or proposal.gates or ledger.drains or former.is_left_open)
    return (
        is_at_rest
        and former.is_whole
        and applied is not None
        and applied.desired is desired
        and former.applied == applied
        and proposal.desired is desired
        and former.ledger == ledger == proposal.ledger
        and not options.adopt
        and options.only is None
        and proposal.operations == ports.store.operations().in_force(ports.clock.now())
        and _without_counts(former.observation) == _without_counts(observation)
    )


def _without_counts(observation: Observation) -> Observation:
    return replace(observation, connections={}, counters={})


def _look_at_part(
    ports: Ports, desired: Desired, options: Options, last: Pass | None
) -> Survey | None:
    """Plan against the last reading, with those services read again that may have to change.

    None: that is not enough. Something else has written, or the plan is about more.
    """
    known = None if last is None or options.is_all_read else last.observation
    if known is None:
        return None
    ledger = ports.store.ledger(ports.kernel.incarnation())
    listeners = _concerned(ports.store.applied(), desired, ledger, known)
    if len(listeners) > MOST_READ_ALONE:
        return None
    now = read_again(ports.kernel, scope_of(ledger, desired), listeners, known)
    if now.rules_of(listeners) != known.rules_of(listeners):
        return None
    survey = _survey(ports, desired, ledger, options, now)
    planned = listeners_of(c.resource for c in survey.proposal.plan.changes)
    return replace(survey, is_whole=False) if planned <= listeners else None


def _concerned(
    applied: Applied | None, desired: Desired, ledger: Ledger, known: Observation
) -> frozenset[Listener]:
    """Return the virtual services that a new desired state, or a drain in progress, is about."""
    before = State() if applied is None else applied.desired.state
    changed = (r for pair in diff(before, desired.state) for r in pair)
    draining = (known.state.get(key) for key in ledger.drains)
    return listeners_of((*changed, *draining))


def _survey(
    ports: Ports, desired: Desired, ledger: Ledger, options: Options, observation: Observation
) -> Survey:
    survey = survey_of(
        desired,
        ports.store.applied(),
        observation,
        ledger,
        ports.clock.boottime(),
        MARK_PREFIX + ports.store.id,
        options,
        ports.store.operations().in_force(ports.clock.now()),
    )
    is_left_open = ports.store.open_transaction(ports.kernel.incarnation()) is not None
    return replace(survey, is_left_open=is_left_open)


def survey_of(
    desired: Desired,
    applied: Applied | None,
    observation: Observation,
    ledger: Ledger,
    boottime: float,
    mark: str,
    options: Options,
    operations: Operations = NO_OPERATIONS,
) -> Survey:
    """Plan against an observation, of this host or of one that was saved."""
    proposal = propose(
        desired,
        None if applied is None else applied.desired,
        observation,
        ledger,
        boottime,
        mark,
        adopt=options.adopt,
        allowed=options.allowed,
        operations=operations,
        only=options.only,
    )
    return Survey(proposal, observation, ledger, applied, boottime)


def _record_converged(ports: Ports, survey: Survey, target: Applied) -> None:
    """Record the commit as applied, if that is news."""
    before = survey.applied
    is_news = before is None or (before.desired, before.commit) != (target.desired, target.commit)
    if is_news or survey.ledger != survey.proposal.ledger:
        ports.store.record_converged(ports.kernel.incarnation(), survey.proposal.ledger, target)


def out_of_date(ports: Ports, longest: timedelta) -> str:
    """Return why what was applied must not be brought back unasked; nothing if it may.

    That is only a question in a kernel in which nothing was done since it booted.
    """
    applied = ports.store.applied()
    if applied is None or ports.store.ledger(ports.kernel.incarnation()).owned:
        return ""
    seen_at = max(applied.at, ports.store.alive_at() or applied.at)
    down = ports.clock.now() - seen_at
    if down < timedelta():
        return (
            f"the clock says {ports.clock.now():%F %T} UTC, before the last sign of life here,"
            f" {seen_at:%F %T} UTC"
        )
    if down > longest:
        return f"this host was down for {down}, longer than restore.max_downtime, {longest}"
    return ""


def restore(ports: Ports) -> Pass | None:
    """Bring the applied state back into a kernel that has just booted; None: nothing to do.

    Without Git and network, so without what needs other interfaces: sync daemons, and sysctls
    of single interfaces. The first pass of the agent adds them.

    Raises:
        KernelUnavailable, KernelUnreadable, StoreError: nothing was written.
    """
    applied = ports.store.applied()
    if applied is None or ports.store.ledger(ports.kernel.incarnation()).owned:
        return None
    kept = [r for r in applied.desired.state.values() if not _needs_interfaces(r)]
    survey = _look(ports, replace(applied.desired, state=State(kept)))
    if survey.proposal.is_blocked:
        return Pass(Result.BLOCKED, survey)
    if not survey.proposal.plan:
        return Pass(Result.CONVERGED, survey)
    finished = apply(ports, survey.proposal, applied, survey.observation)
    return Pass(finished.result, survey, finished)


def _needs_interfaces(resource: Resource) -> bool:
    """Whether a resource hangs on an interface other than the dummy."""
    if isinstance(resource, SyncDaemon):
        return True
    return isinstance(resource, Sysctl) and is_of_one_interface(resource.name)


DRAIN_POLL_SECONDS = 1.0
"""How often draining real servers are looked at."""


def drain(ports: Ports, target: Applied, last: Pass) -> Iterator[Pass]:
    """Run further passes until no drain is left, yielding each that ended one.

    `last` is the pass before. Drift that shows up meanwhile is repaired.
    """
    while last.result in (Result.APPLIED, Result.CONVERGED):
        if not ports.store.ledger(ports.kernel.incarnation()).drains:
            return
        ports.clock.sleep(DRAIN_POLL_SECONDS)
        last = reconcile(ports, target)
        if last.result is not Result.CONVERGED:
            yield last


def teardown(ports: Ports) -> Pass:
    """Remove everything that gitvs owns, at once: no gate holds it, nothing drains.

    Raises:
        KernelUnavailable, KernelUnreadable, StoreError: nothing was written.
    """
    recovered = recover(ports)
    if recovered is not None and recovered.result is Result.STUCK:
        return Pass(Result.STUCK, recovered=recovered)
    survey = look_at_teardown(ports)
    target = Applied(survey.proposal.desired, None, ports.clock.now())
    if not survey.proposal.plan:
        if survey.applied is not None:  # nothing of it may come back by itself
            _record_converged(ports, survey, target)
        return Pass(Result.CONVERGED, survey, recovered=recovered)
    finished = apply(ports, survey.proposal, target, survey.observation)
    return Pass(finished.result, survey, finished, recovered)


def look_at_teardown(ports: Ports) -> Survey:
    """Plan the removal of everything that gitvs owns; writes nothing.

    Raises:
        StoreError: this store owns nothing here, and another one does.
    """
    ledger = ports.store.ledger(ports.kernel.incarnation())
    applied = ports.store.applied()
    director, interface = ("", "") if applied is None else _place(applied.desired)
    at_once = dict.fromkeys(ledger.owned, 0.0)
    ended = {key: replace(d, deadline_seconds=0.0) for key, d in ledger.drains.items()}
    empty = Desired(director, interface, State(), at_once)
    observation = ports.kernel.observe(scope_of(ledger, empty))
    survey = _survey(ports, empty, replace(ledger, drains=ended), Options(), observation)
    strange = strange_interfaces(survey.observation, ledger, MARK_PREFIX + ports.store.id)
    if strange and not survey.proposal.plan:
        raise StoreError(
            f"this state folder owns nothing here, and interface {strange[0].name} carries the mark"
            f" {strange[0].alias} of another: give that one's --state-dir. If it was lost, take its"
            " objects over with `gitvs apply --adopt` first. Nothing was changed"
        )
    return replace(survey, proposal=replace(survey.proposal, gates=()))


def _place(desired: Desired) -> tuple[str, str]:
    return desired.director, desired.interface
