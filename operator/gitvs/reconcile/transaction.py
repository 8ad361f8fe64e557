"""Apply a plan or undo it, and recover what a crash left open (design section 4).

    record → make, modify, bind → read back → record: the point of no return → break → read back

Before that point any failure undoes the plan; after it, break is only ever finished. What
the plan is, and whether it may run, is the business of `reconcile`.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from gitvs.core.errors import GitvsError, KernelUnreadable, StoreError
from gitvs.core.model.history import Result
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resource_json import document_of
from gitvs.core.model.resources import Key, Kind, RealServer
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import scope_of
from gitvs.core.planning.plan import PHASES, Change, Phase, Plan, diff
from gitvs.core.planning.proposal import Proposal, ledger_after_break
from gitvs.core.planning.undo import UndoStep, undo_step
from gitvs.ports import Applied, Clock, Kernel, Outcome, Stage, Status, Store, Transaction
from gitvs.reconcile.partial_reading import listeners_of, read_again

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often an undo, or the end of a break, is tried before it counts as stuck."""

PAUSE_SECONDS = 0.2
"""The first pause between attempts; it doubles."""

TOLD = 10
"""How many failures the history tells."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside, as a transaction needs it."""

    kernel: Kernel
    store: Store
    clock: Clock


@dataclass(frozen=True, slots=True)
class Finished:
    """How a transaction ended. `failures` are sentences: what failed, or what is still wrong.

    `observation` is the reading that showed it, where there was one.
    """

    result: Result
    id: int
    failures: tuple[str, ...] = ()
    observation: Observation | None = field(default=None, compare=False, repr=False)
    is_transient: bool = False
    """Whether the failure was not about the plan: it is worth another try."""


class Failed(GitvsError):
    """A change that did not take, before the point of no return.

    `conflicts` are creates that found somebody else's object.
    """

    def __init__(
        self,
        failures: Sequence[str],
        conflicts: frozenset[Key] = frozenset(),
        is_transient: bool = False,
    ) -> None:
        self.failures = tuple(failures)
        self.conflicts = conflicts
        self.is_transient = is_transient
        super().__init__("; ".join(failures))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM amid a transaction, which `finished` tells the end of."""

    def __init__(self, finished: Finished) -> None:
        self.finished = finished
        super().__init__()


def apply(ports: Ports, proposal: Proposal, target: Applied, observation: Observation) -> Finished:
    """Apply a proposal as one transaction; `observation` is the reading that it rests on.

    What the plan does not touch is not read again. An undo reads everything.

    Raises:
        Interrupted, and any bug's exception: after the undo, or the end of the break.
        StoreError: nothing could be recorded, so nothing was written; or, later, the rest is
            left to the next start.
    """
    incarnation = ports.kernel.incarnation()
    transaction = ports.store.begin(incarnation, proposal.plan.changes, target)
    scope = _scope(transaction)
    touched = listeners_of(c.resource for c in transaction.changes)
    read = partial(read_again, ports.kernel, scope, touched, observation)
    try:
        seen = _forward(ports, proposal.plan, read)
        _commit(ports, transaction, proposal.ledger)
    except Failed as error:
        undone = _undo(ports, _with_conflicts(ports, transaction, error), scope, error.failures)
        return replace(undone, is_transient=error.is_transient)
    except KernelUnreadable as error:
        return replace(_undo(ports, transaction, scope, (str(error),)), is_transient=True)
    except KeyboardInterrupt as error:
        raise Interrupted(_stop(ports, transaction, scope)) from error
    except Exception:
        _stop(ports, transaction, scope)
        raise
    try:
        return _break(ports, transaction, read, proposal, seen)
    except KeyboardInterrupt as error:
        raise Interrupted(_break(ports, transaction, read, proposal)) from error


def _stop(ports: Ports, transaction: Transaction, scope: Scope) -> Finished:
    """End a transaction that something broke into, on whichever side of the point it was."""
    if _is_committed(ports, transaction):
        return _break(ports, transaction, partial(ports.kernel.observe, scope))
    return _undo(ports, transaction, scope, ("interrupted",))


def _is_committed(ports: Ports, transaction: Transaction) -> bool:
    recorded = ports.store.open_transaction(transaction.incarnation)
    return recorded is not None and recorded.stage is Stage.COMMITTED


def _commit(ports: Ports, transaction: Transaction, ledger: Ledger) -> None:
    """Pass the point of no return.

    Raises:
        Failed: it was not recorded, so the plan is to be undone.
        StoreError: nobody knows whether it was; the next start does.
    """
    try:
        ports.store.commit(transaction, ledger)
    except StoreError as error:
        if not _is_committed(ports, transaction):
            raise Failed((str(error),), is_transient=True) from error


def in_short(failures: Sequence[str]) -> str:
    """Return the first failures as one text: a refused batch has one for each of thousands."""
    more = len(failures) - TOLD
    return "; ".join([*failures[:TOLD], *([f"and {more} more"] if more > 0 else [])])


def _with_conflicts(ports: Ports, transaction: Transaction, failed: Failed) -> Transaction:
    """Record the conflicts of a failure; the undo goes on with them even if that fails."""
    if not failed.conflicts:
        return transaction
    try:
        ports.store.record_conflicts(transaction, failed.conflicts)
    except StoreError as error:
        log.error("conflicts not recorded id=%d reason=%s", transaction.id, error)
    return replace(transaction, conflicts=failed.conflicts)


def recover(ports: Ports) -> Finished | None:
    """Undo an open transaction, or finish it past its point of no return; None: there is none."""
    transaction = ports.store.open_transaction(ports.kernel.incarnation())
    if transaction is None:
        return None
    scope = _scope(transaction)
    log.warning("transaction left open id=%d stage=%s", transaction.id, transaction.stage)
    if transaction.stage is Stage.COMMITTED:
        return _break(ports, transaction, partial(ports.kernel.observe, scope))
    return _undo(ports, transaction, scope, ("interrupted: found open at start",))


def _scope(transaction: Transaction) -> Scope:
    """What has to be read to see every object of a transaction."""
    pairs = ((c.before, c.after) for c in transaction.changes)
    changed = State(r for pair in pairs for r in pair if r is not None)
    return scope_of(transaction.ledger, transaction.target.desired, changed=changed)


def _forward(ports: Ports, plan: Plan, read: Callable[[], Observation]) -> Observation:
    """Run all phases up to the point of no return, and read back what they did."""
    for phase in PHASES[:-1]:
        changes = plan.of(phase)
        if changes:
            _run_phase(ports, changes, read)
    forward = [c for c in plan.changes if c.phase is not Phase.BREAK]
    seen = read()
    _verify(forward, seen)
    return seen


def _run_phase(ports: Ports, changes: Sequence[Change], read: Callable[[], Observation]) -> None:
    """Run one phase; whatever is not surely done stops it before the next.

    Raises:
        Failed: with what the kernel refused, or what a lost answer turned out to mean.
    """
    outcomes = ports.kernel.execute(changes)
    taken = _conflicts(outcomes)
    refused = [o for o in outcomes if o.status is Status.REFUSED]
    twins = [o.change for o in refused if _is_twin(o) and o.change.key not in taken]
    failures = [o.message for o in refused if o.change not in twins]
    if failures:
        raise Failed(failures, taken)
    if twins:
        _set_twins(ports, twins, read)
    unknown = [o.change for o in outcomes if o.status is Status.UNKNOWN]
    if unknown:
        log.warning("answers lost count=%d", len(unknown))
        _verify(unknown, read())


def _is_twin(outcome: Outcome) -> bool:
    """Whether a real server to add to our service was there already."""
    return outcome.errno == errno.EEXIST and outcome.change.kind is Kind.REAL_SERVER


def _conflicts(outcomes: Sequence[Outcome]) -> frozenset[Key]:
    """Creates that somebody else forestalled; inside a service of ours nobody else counts."""
    exist = [o.change for o in outcomes if o.errno == errno.EEXIST and o.change.before is None]
    taken = {c.key for c in exist if c.kind is not Kind.REAL_SERVER}
    inside = {
        c.key for c in exist if isinstance(c.after, RealServer) and c.after.service_key in taken
    }
    return frozenset(taken | inside)


def _set_twins(ports: Ports, twins: Sequence[Change], read: Callable[[], Observation]) -> None:
    """Set real servers that were there already, whatever they look like, as they should be."""
    now = read().state
    changes = [Change(now[c.key], c.after, Phase.MODIFY) for c in twins if c.key in now]
    failures = [o.message for o in ports.kernel.execute(changes) if o.status is Status.REFUSED]
    if failures:
        raise Failed(failures)


def _verify(changes: Iterable[Change], observation: Observation) -> None:
    """Compare what was written with what is read back.

    Raises:
        Failed: naming each object that differs.
    """
    failures = [
        f"{c.key}: {_mismatch(c, observation.state)}"
        for c in changes
        if observation.state.get(c.key) != c.after
    ]
    if failures:
        raise Failed(failures)


def _mismatch(change: Change, now: State) -> str:
    found = now.get(change.key)
    if found is None:
        return "written, but not there when read back"
    if change.after is None:
        return "removed, but still there when read back"
    written, read = document_of(change.after), document_of(found)
    differing = (f"{f} is {read[f]}, not {v}" for f, v in written.items() if read[f] != v)
    return f"when read back, {' and '.join(differing)}"


def _undo(
    ports: Ports, transaction: Transaction, scope: Scope, failures: Sequence[str]
) -> Finished:
    """Put back what the plan changed, and say so only once it was read.

    Raises:
        StoreError: everything is as it was, but that could not be recorded.
    """
    problems: list[str] = []
    for attempt in range(ATTEMPTS):
        if attempt:
            ports.clock.sleep(PAUSE_SECONDS * 2**attempt)
        try:
            step = _step_back(ports, transaction, scope)
        except GitvsError as error:
            problems = [str(error)]
            continue
        if not step.plan:
            return _finish_undo(ports, transaction, step.ledger, failures)
        problems = [f"{c.key}: not yet as it was" for c in step.plan.changes]
    log.critical("stuck id=%d objects=%d", transaction.id, len(problems))
    return Finished(Result.STUCK, transaction.id, (*failures, *problems))


def _finish_undo(
    ports: Ports, transaction: Transaction, ledger: Ledger, failures: Sequence[str]
) -> Finished:
    try:
        ports.store.finish(transaction, Result.ROLLED_BACK, ledger, in_short(failures))
    except StoreError as error:
        raise StoreError(
            f"{error}. The plan was undone, and read back, everything is as it was; the next"
            f" run records that. It was undone because of: {in_short(failures)}"
        ) from error
    log.error("rolled back id=%d failures=%d", transaction.id, len(failures))
    return Finished(Result.ROLLED_BACK, transaction.id, tuple(failures))


def _step_back(ports: Ports, transaction: Transaction, scope: Scope) -> UndoStep:
    """Take steps back until nothing is left to do, or a step did not take."""
    seen: set[Plan] = set()
    while True:
        step = undo_step(
            transaction.changes,
            transaction.conflicts,
            ports.kernel.observe(scope),
            transaction.ledger,
            transaction.target.desired,
            ports.clock.boottime(),
        )
        if not step.plan or step.plan in seen:
            return step
        seen.add(step.plan)
        for outcome in ports.kernel.execute(step.plan.changes):
            if outcome.status is Status.REFUSED:
                log.warning("undo refused key=%s reason=%s", outcome.change.key, outcome.message)


def _break(
    ports: Ports,
    transaction: Transaction,
    read: Callable[[], Observation],
    proposal: Proposal | None = None,
    seen: Observation | None = None,
) -> Finished:
    """Finish what is past the point of no return; it is never undone.

    `seen` is the reading before: with nothing to break it holds still.

    A delete whose object is missing is done; anything else is tried again. A former value of a
    setting that the kernel does not take back is given up: nothing must wait for it for ever.
    """
    remaining = [c for c in transaction.changes if c.phase is Phase.BREAK]
    if seen is not None and not remaining:
        return _finish(ports, transaction, seen, proposal)
    problems: list[str] = []
    for attempt in range(ATTEMPTS):
        if attempt:
            ports.clock.sleep(PAUSE_SECONDS * 2**attempt)
        outcomes = ports.kernel.execute(remaining)
        try:
            seen = read()
        except GitvsError as error:
            problems = [str(error)]
            continue
        remaining = [c for c in remaining if not _is_broken(c, seen.state)]
        if not remaining:
            return _finish(ports, transaction, seen, proposal)
        refused = [o.message for o in outcomes if o.status is Status.REFUSED]
        problems = refused or [f"{c.key}: {_mismatch(c, seen.state)}" for c in remaining]
    if seen is not None and all(c.kind in (Kind.SYSCTL, Kind.TIMEOUTS) for c in remaining):
        log.warning("former settings given up id=%d count=%d", transaction.id, len(remaining))
        return _finish(ports, transaction, seen, proposal, problems)
    log.critical("stuck id=%d objects=%d", transaction.id, len(remaining))
    return Finished(Result.STUCK, transaction.id, tuple(problems))


def _is_broken(change: Change, now: State) -> bool:
    """Whether nothing is left to do: gone, or as it should be, or taken away by somebody else."""
    return change.key not in now or now.get(change.key) == change.after


def _finish(
    ports: Ports,
    transaction: Transaction,
    seen: Observation,
    proposal: Proposal | None,
    given_up: Sequence[str] = (),
) -> Finished:
    ledger = ports.store.ledger(transaction.incarnation)
    final = ledger_after_break(ledger, Plan(tuple(transaction.changes)))
    ended = {c.key for c in transaction.changes if c.phase is Phase.BREAK}
    drifted = () if proposal is None else _drift(proposal.target, seen.state, ended)
    remarks = (*(f"{reason}; left as it is" for reason in given_up), *drifted)
    ports.store.finish(transaction, Result.APPLIED, final, in_short(remarks))
    log.info("applied id=%d changes=%d", transaction.id, len(transaction.changes))
    return Finished(Result.APPLIED, transaction.id, remarks, seen)


def _drift(target: State, now: State, told: Collection[Key]) -> tuple[str, ...]:
    """What is not as the target says although every change took: somebody else's doing."""
    return tuple(
        f"{key}: changed by something else meanwhile; the next pass repairs it"
        for _, wanted in diff(now, target)
        if wanted is not None and (key := wanted.key) not in told
    )
