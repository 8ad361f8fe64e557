"""Applies a plan or undoes it, and recovers what a crash left open (design section 4).

    record → make, modify, bind → read back → record: the point of no return → break → read back

Before that point any failure undoes the plan; after it, the break is always finished, never
undone. `one_pass` decides what the plan is and whether it may run.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial

from gitvs.core.errors import GitvsError, KernelUnreadable, StoreError
from gitvs.core.model.history import Outcome
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resource_json import resource_json
from gitvs.core.model.resources import Key, Kind, RealServer
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import scope_of
from gitvs.core.planning.plan import PHASES, Change, Phase, Plan, diff
from gitvs.core.planning.proposal import Proposal, ledger_after_break
from gitvs.ports import (
    Applied,
    Ports,
    Transaction,
    TransactionStage,
    WriteResult,
    WriteStatus,
)
from gitvs.reconcile.partial_reading import listeners_of, observe_listeners
from gitvs.reconcile.results import TransactionResult, failures_text
from gitvs.reconcile.undo import FIRST_RETRY_DELAY_SECONDS, MAX_ATTEMPTS, undo

log = logging.getLogger(__name__)


class ChangesFailed(GitvsError):
    """Changes that failed before the point of no return.

    `conflicting_keys` are creates that found somebody else's object.
    """

    def __init__(
        self,
        failures: Sequence[str],
        conflicting_keys: frozenset[Key] = frozenset(),
        is_transient: bool = False,
    ) -> None:
        self.failures = tuple(failures)
        self.conflicting_keys = conflicting_keys
        self.is_transient = is_transient
        super().__init__("; ".join(failures))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM during a transaction; `transaction_result` is how it ended."""

    def __init__(self, transaction_result: TransactionResult) -> None:
        self.transaction_result = transaction_result
        super().__init__()


def apply(
    ports: Ports, proposal: Proposal, target: Applied, observation: Observation
) -> TransactionResult:
    """Apply a proposal as one transaction; `observation` is the reading that it is based on.

    Virtual services that the plan does not change are not read again. An undo reads everything.

    Raises:
        Interrupted, and any bug's exception: after the undo, or the end of the break.
        StoreError: nothing could be recorded, so nothing was written; or, later, the next start
            does the rest.
    """
    incarnation = ports.kernel.incarnation()
    transaction = ports.store.begin(incarnation, proposal.plan.changes, target)
    scope = _scope_of_transaction(transaction)
    listeners = listeners_of(c.resource for c in transaction.changes)
    read = partial(observe_listeners, ports.kernel, scope, listeners, observation)
    try:
        read_back = _run_forward_phases(ports, proposal.plan, read)
        _commit(ports, transaction, proposal.ledger)
    except ChangesFailed as error:
        undo_result = undo(
            ports, _record_conflicts(ports, transaction, error), scope, error.failures
        )
        return replace(undo_result, is_transient=error.is_transient)
    except KernelUnreadable as error:
        return replace(undo(ports, transaction, scope, (str(error),)), is_transient=True)
    except KeyboardInterrupt as error:
        raise Interrupted(_end_interrupted(ports, transaction, scope)) from error
    except Exception:
        _end_interrupted(ports, transaction, scope)
        raise
    try:
        return _break(ports, transaction, read, proposal, read_back)
    except KeyboardInterrupt as error:
        raise Interrupted(_break(ports, transaction, read, proposal)) from error


def _end_interrupted(ports: Ports, transaction: Transaction, scope: Scope) -> TransactionResult:
    """End an interrupted transaction: finish it past the point of no return, else undo it."""
    if _is_committed(ports, transaction):
        return _break(ports, transaction, partial(ports.kernel.observe, scope))
    return undo(ports, transaction, scope, ("interrupted",))


def _is_committed(ports: Ports, transaction: Transaction) -> bool:
    recorded = ports.store.open_transaction(transaction.incarnation)
    return recorded is not None and recorded.stage is TransactionStage.COMMITTED


def _commit(ports: Ports, transaction: Transaction, ledger: Ledger) -> None:
    """Pass the point of no return.

    Raises:
        ChangesFailed: it was not recorded, so the plan must be undone.
        StoreError: it is unknown whether it was recorded; the next start finds out.
    """
    try:
        ports.store.commit(transaction, ledger)
    except StoreError as error:
        if not _is_committed(ports, transaction):
            raise ChangesFailed((str(error),), is_transient=True) from error


def _record_conflicts(
    ports: Ports, transaction: Transaction, failure: ChangesFailed
) -> Transaction:
    """Record the conflicts of a failure; the undo respects them even if recording fails."""
    if not failure.conflicting_keys:
        return transaction
    try:
        ports.store.record_conflicts(transaction, failure.conflicting_keys)
    except StoreError as error:
        log.error("conflicts not recorded id=%d reason=%s", transaction.id, error)
    return replace(transaction, conflicts=failure.conflicting_keys)


def recover(ports: Ports) -> TransactionResult | None:
    """Undo an open transaction, or finish it past its point of no return; None if none is open."""
    transaction = ports.store.open_transaction(ports.kernel.incarnation())
    if transaction is None:
        return None
    scope = _scope_of_transaction(transaction)
    log.warning("transaction left open id=%d stage=%s", transaction.id, transaction.stage)
    if transaction.stage is TransactionStage.COMMITTED:
        return _break(ports, transaction, partial(ports.kernel.observe, scope))
    return undo(ports, transaction, scope, ("interrupted: found open at start",))


def _scope_of_transaction(transaction: Transaction) -> Scope:
    """What has to be read to see every object of a transaction."""
    pairs = ((c.before, c.after) for c in transaction.changes)
    changed = State(r for pair in pairs for r in pair if r is not None)
    return scope_of(transaction.ledger, transaction.target.desired, changed_state=changed)


def _run_forward_phases(ports: Ports, plan: Plan, read: Callable[[], Observation]) -> Observation:
    """Run all phases up to the point of no return, and read back what they did."""
    for phase in PHASES[:-1]:
        changes = plan.in_phase(phase)
        if changes:
            _run_phase(ports, changes, read)
    forward_changes = [c for c in plan.changes if c.phase is not Phase.BREAK]
    read_back = read()
    _verify(forward_changes, read_back)
    return read_back


def _run_phase(ports: Ports, changes: Sequence[Change], read: Callable[[], Observation]) -> None:
    """Run one phase, and fail unless every change of it is known to be done.

    Raises:
        ChangesFailed: with what the kernel refused, or what a reading showed after a lost answer.
    """
    write_results = ports.kernel.execute(changes)
    conflicting_keys = _conflicting_keys(write_results)
    refused = [o for o in write_results if o.status is WriteStatus.REFUSED]
    existing_servers = [
        o.change for o in refused if _is_existing_server(o) and o.change.key not in conflicting_keys
    ]
    failures = [o.message for o in refused if o.change not in existing_servers]
    if failures:
        raise ChangesFailed(failures, conflicting_keys)
    if existing_servers:
        _modify_existing_servers(ports, existing_servers, read)
    unanswered = [o.change for o in write_results if o.status is WriteStatus.UNKNOWN]
    if unanswered:
        log.warning("answers lost count=%d", len(unanswered))
        _verify(unanswered, read())


def _is_existing_server(write_result: WriteResult) -> bool:
    """Whether a real server to add to an owned service was there already."""
    return write_result.errno == errno.EEXIST and write_result.change.kind is Kind.REAL_SERVER


def _conflicting_keys(write_results: Sequence[WriteResult]) -> frozenset[Key]:
    """Creates that found somebody else's object; in an owned service no real server is one."""
    already_there = [
        o.change for o in write_results if o.errno == errno.EEXIST and o.change.before is None
    ]
    foreign_keys = {c.key for c in already_there if c.kind is not Kind.REAL_SERVER}
    servers_inside = {
        c.key
        for c in already_there
        if isinstance(c.after, RealServer) and c.after.service_key in foreign_keys
    }
    return frozenset(foreign_keys | servers_inside)


def _modify_existing_servers(
    ports: Ports, existing_servers: Sequence[Change], read: Callable[[], Observation]
) -> None:
    """Change real servers that were there already to what they should be."""
    observed = read().state
    changes = [
        Change(observed[c.key], c.after, Phase.MODIFY)
        for c in existing_servers
        if c.key in observed
    ]
    failures = [o.message for o in ports.kernel.execute(changes) if o.status is WriteStatus.REFUSED]
    if failures:
        raise ChangesFailed(failures)


def _verify(changes: Iterable[Change], observation: Observation) -> None:
    """Compare what was written with what is read back.

    Raises:
        ChangesFailed: naming each object that differs.
    """
    failures = [
        f"{c.key}: {_mismatch(c, observation.state)}"
        for c in changes
        if observation.state.get(c.key) != c.after
    ]
    if failures:
        raise ChangesFailed(failures)


def _mismatch(change: Change, observed: State) -> str:
    found = observed.get(change.key)
    if found is None:
        return "written, but not there when read back"
    if change.after is None:
        return "removed, but still there when read back"
    written, read = resource_json(change.after), resource_json(found)
    differing = (f"{f} is {read[f]}, not {v}" for f, v in written.items() if read[f] != v)
    return f"when read back, {' and '.join(differing)}"


def _break(
    ports: Ports,
    transaction: Transaction,
    read: Callable[[], Observation],
    proposal: Proposal | None = None,
    read_back: Observation | None = None,
) -> TransactionResult:
    """Finish what is past the point of no return; it is never undone.

    `read_back` is the previous reading; if there is nothing to break, it is still valid.

    A delete whose object is missing is done; anything else is tried again. If the kernel refuses
    the former value of a setting, it is given up, so that the transaction does not stay open.
    """
    remaining = [c for c in transaction.changes if c.phase is Phase.BREAK]
    if read_back is not None and not remaining:
        return _finish(ports, transaction, read_back, proposal)
    problems: list[str] = []
    for attempt in range(MAX_ATTEMPTS):
        if attempt:
            ports.clock.sleep(FIRST_RETRY_DELAY_SECONDS * 2**attempt)
        write_results = ports.kernel.execute(remaining)
        try:
            read_back = read()
        except GitvsError as error:
            problems = [str(error)]
            continue
        remaining = [c for c in remaining if not _is_break_done(c, read_back.state)]
        if not remaining:
            return _finish(ports, transaction, read_back, proposal)
        refused = [o.message for o in write_results if o.status is WriteStatus.REFUSED]
        problems = refused or [f"{c.key}: {_mismatch(c, read_back.state)}" for c in remaining]
    if read_back is not None and all(c.kind in (Kind.SYSCTL, Kind.TIMEOUTS) for c in remaining):
        log.warning("former settings given up id=%d count=%d", transaction.id, len(remaining))
        return _finish(ports, transaction, read_back, proposal, problems)
    log.critical("stuck id=%d objects=%d", transaction.id, len(remaining))
    return TransactionResult(Outcome.STUCK, transaction.id, tuple(problems))


def _is_break_done(change: Change, observed: State) -> bool:
    """Whether nothing is left to do: the object is as it should be, or somebody removed it."""
    return change.key not in observed or observed.get(change.key) == change.after


def _finish(
    ports: Ports,
    transaction: Transaction,
    read_back: Observation,
    proposal: Proposal | None,
    unrestored: Sequence[str] = (),
) -> TransactionResult:
    ledger = ports.store.ledger(transaction.incarnation)
    final_ledger = ledger_after_break(ledger, Plan(tuple(transaction.changes)))
    break_keys = {c.key for c in transaction.changes if c.phase is Phase.BREAK}
    drifted = (
        () if proposal is None else _drift_messages(proposal.target, read_back.state, break_keys)
    )
    remarks = (*(f"{reason}; left as it is" for reason in unrestored), *drifted)
    ports.store.finish(transaction, Outcome.APPLIED, final_ledger, failures_text(remarks))
    log.info("applied id=%d changes=%d", transaction.id, len(transaction.changes))
    return TransactionResult(Outcome.APPLIED, transaction.id, remarks, read_back)


def _drift_messages(
    target: State, observed: State, excluded_keys: Collection[Key]
) -> tuple[str, ...]:
    """What differs from the target although every change succeeded: somebody else changed it."""
    return tuple(
        f"{key}: changed by something else meanwhile; the next pass repairs it"
        for _, wanted in diff(observed, target)
        if wanted is not None and (key := wanted.key) not in excluded_keys
    )
