"""Applies a plan or undoes it, and recovers what a crash left open (design section 4).

    record → make, modify, bind → read back → record: the point of no return → break → read back

Before that point any failure undoes the plan; after it, the break is always finished, never
undone. `one_pass` decides what the plan is and whether it may run.

A transaction of repairs skips what fails, and what depends on it. Its target is in force already,
so each repair is correct by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from gitvs.core.errors import GitvsError, KernelUnreadable, StoreError
from gitvs.core.model.history import Outcome
from gitvs.core.model.kinds import is_setting
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import Key
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import scope_of
from gitvs.core.planning.plan import Phase, Plan, diff
from gitvs.core.planning.proposal import Proposal, ledger_after_break
from gitvs.core.planning.repairs import Failures, merged_ledger
from gitvs.core.planning.undo import unfinished_breaks
from gitvs.ports import (
    Applied,
    Ports,
    Transaction,
    TransactionStage,
)
from gitvs.reconcile.forward_phases import ChangesFailed, mismatch, run_forward_phases
from gitvs.reconcile.partial_reading import listeners_of, observe_listeners
from gitvs.reconcile.results import TransactionResult, failures_text
from gitvs.reconcile.store_age import refuse_older_store
from gitvs.reconcile.undo import (
    FEW_ATTEMPTS,
    MAX_ATTEMPTS,
    attempts,
    is_worth_another_try,
    undo,
)

log = logging.getLogger(__name__)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM during a transaction; `transaction_result` is how it ended."""

    def __init__(self, transaction_result: TransactionResult) -> None:
        self.transaction_result = transaction_result
        super().__init__()


def apply(
    ports: Ports,
    proposal: Proposal,
    target: Applied,
    observation: Observation,
    failed_repairs: Failures | None = None,
) -> TransactionResult:
    """Apply a proposal as one transaction; `observation` is the reading that it is based on.

    Virtual services that the plan does not change are not read again. An undo reads everything.
    With `failed_repairs`, the plan is one of repairs: changes that fail are recorded there, and
    the others are made.

    Raises:
        LockHeld, LockUnusable: another process may write; this one wrote nothing.
        Interrupted, and any bug's exception: after the undo, or the end of the break.
        StoreError: nothing could be recorded, so nothing was written; or, later, the next start
            does the rest.
    """
    ports.ensure_writer()
    incarnation = ports.kernel.incarnation()
    transaction = ports.store.begin(incarnation, proposal.plan.changes, target)
    scope = _scope_of_transaction(transaction)
    listeners = listeners_of(c.resource for c in transaction.changes)
    read = partial(observe_listeners, ports.kernel, scope, listeners, observation)
    try:
        read_back = run_forward_phases(ports, proposal.plan, read, failed_repairs)
        _commit(ports, transaction, _ledger_to_commit(transaction, proposal, failed_repairs))
    except ChangesFailed as error:
        undo_result = undo(
            ports, _record_conflicts(ports, transaction, error), scope, error.failures
        )
        is_repair = failed_repairs is not None
        return replace(undo_result, is_transient=error.is_transient, is_repair=is_repair)
    except KernelUnreadable as error:
        undo_result = undo(ports, transaction, scope, (str(error),))
        return replace(undo_result, is_transient=True, is_repair=failed_repairs is not None)
    except KeyboardInterrupt as error:
        raise Interrupted(_end_interrupted(ports, transaction, scope)) from error
    except Exception:
        _end_interrupted(ports, transaction, scope)
        raise
    try:
        return _break(ports, transaction, read, proposal, read_back, failed_repairs)
    except KeyboardInterrupt as error:
        # Some removals may be done, and a removed object cannot be restored with its connections.
        # So the break is finished before the interrupt ends the command. It starts from a new
        # reading, because the interrupt may have lost the answers of the kernel.
        ended = _break(ports, transaction, read, proposal, failed_repairs=failed_repairs)
        raise Interrupted(ended) from error


def _ledger_to_commit(
    transaction: Transaction, proposal: Proposal, failed_repairs: Failures | None
) -> Ledger:
    """Return the ledger of the point of no return; what could not be repaired stays as it was."""
    if failed_repairs is None:
        return proposal.ledger
    return merged_ledger(transaction.ledger, proposal.ledger, failed_repairs.unmade_keys)


def _end_interrupted(ports: Ports, transaction: Transaction, scope: Scope) -> TransactionResult:
    """End an interrupted transaction: finish it past the point of no return, else undo it."""
    # The store decides: the interrupt may have come between the write of the record and its answer.
    if _is_committed(ports, transaction):
        return _break(ports, transaction, partial(ports.kernel.observe, scope))
    return undo(ports, transaction, scope, ("interrupted",))


def _is_committed(ports: Ports, transaction: Transaction) -> bool:
    recorded = ports.store.open_transaction(transaction.incarnation)
    return recorded is not None and recorded.stage is TransactionStage.COMMITTED


def _commit(ports: Ports, transaction: Transaction, ledger: Ledger) -> None:
    """Record that the point of no return is passed.

    Raises:
        ChangesFailed: it was not recorded, so the plan must be undone.
        StoreError: it is unknown whether it was recorded; the next start finds out.
    """
    try:
        ports.store.commit(transaction, ledger)
    except StoreError as error:
        # A write that reports an error may still be on disk, and then undoing would be wrong.
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
    """Undo an open transaction, or finish it past its point of no return; None if none is open.

    Raises:
        LockHeld, LockUnusable: another process may write; nothing was written.
        StoreOutdated: the store is older than the kernel; nothing was written.
    """
    ports.ensure_writer()
    refuse_older_store(ports)
    transaction = ports.store.open_transaction(ports.kernel.incarnation())
    if transaction is None:
        return None
    scope = _scope_of_transaction(transaction)
    log.warning("transaction left open id=%d stage=%s", transaction.id, transaction.stage)
    if transaction.stage is TransactionStage.COMMITTED:
        read = partial(ports.kernel.observe, scope)
        return _break(ports, transaction, read, max_attempts=FEW_ATTEMPTS)
    failures = ("interrupted: found open at start",)
    return undo(ports, transaction, scope, failures, FEW_ATTEMPTS)


def _scope_of_transaction(transaction: Transaction) -> Scope:
    """What has to be read to see every object of a transaction."""
    pairs = ((c.before, c.after) for c in transaction.changes)
    changed = State(r for pair in pairs for r in pair if r is not None)
    desired = transaction.target.desired
    return scope_of(transaction.ledger, desired, changed_state=changed, applied=desired)


def _break(
    ports: Ports,
    transaction: Transaction,
    read: Callable[[], Observation],
    proposal: Proposal | None = None,
    read_back: Observation | None = None,
    failed_repairs: Failures | None = None,
    max_attempts: int = MAX_ATTEMPTS,
) -> TransactionResult:
    """Finish what is past the point of no return; it is never undone.

    `read_back` is the previous reading; without it, the kernel is read before anything is removed.

    A removal is done if the object is missing. An object that another program made meanwhile is not
    removed. Anything else is tried again. What the kernel refuses twice is given up, so that the
    transaction does not stay open: the object stays owned, and a later pass removes it.
    """
    breaks = [c for c in transaction.changes if c.phase is Phase.BREAK]
    if failed_repairs is not None:
        breaks = list(failed_repairs.possible(breaks))
    remaining, answers, last_error = tuple(breaks), {}, ""
    for attempt in attempts(ports.clock, max_attempts):
        try:
            # Read before removing: an earlier attempt may have removed an object before its answer
            # was lost, and another program may have made it again since.
            read_back = read_back or read()
            remaining = unfinished_breaks(breaks, read_back).remaining
            if remaining:
                read_back = None
                answers = {o.change.key: o for o in ports.kernel.execute(remaining)}
                read_back = read()
                remaining = unfinished_breaks(breaks, read_back).remaining
        except GitvsError as error:
            read_back, last_error = None, str(error)
            continue
        if not is_worth_another_try(attempt, remaining, answers):
            break
    reasons = {key: answer.message for key, answer in answers.items()}
    if read_back is None:
        log.critical("stuck id=%d objects=%d", transaction.id, len(remaining))
        failures = (last_error, *filter(None, reasons.values()))
        return TransactionResult(Outcome.STUCK, transaction.id, failures)
    if remaining:
        log.error("removals given up id=%d count=%d", transaction.id, len(remaining))
    state = read_back.state
    problems = {c.key: reasons.get(c.key) or f"{c.key}: {mismatch(c, state)}" for c in remaining}
    foreign_keys = unfinished_breaks(breaks, read_back).given_up
    return _finish(
        ports, transaction, read_back, proposal, problems, sorted(foreign_keys), failed_repairs
    )


def _finish(
    ports: Ports,
    transaction: Transaction,
    read_back: Observation,
    proposal: Proposal | None,
    given_up: Mapping[Key, str],
    foreign_keys: Sequence[Key],
    failed_repairs: Failures | None = None,
) -> TransactionResult:
    """Close a transaction that is past the point of no return.

    `given_up` are the removals that the kernel refuses. An object among them stays owned; a setting
    keeps its value. `foreign_keys` are the objects that another program made meanwhile: they are no
    longer owned.
    """
    failed_keys = {*given_up, *(() if failed_repairs is None else failed_repairs.reasons)}
    # A refused removal is not done: the object stays owned, and a later pass removes it. A refused
    # setting counts as done: its saved value is dropped, and gitvs does not restore it again.
    done = [c for c in transaction.changes if c.key not in failed_keys or is_setting(c.resource)]
    ledger = ports.store.ledger(transaction.incarnation)
    final_ledger = ledger_after_break(ledger, Plan(tuple(done)))
    break_keys = {c.key for c in transaction.changes if c.phase is Phase.BREAK}
    drifted = (
        ()
        if proposal is None
        else _drift_messages(proposal.target, read_back.state, break_keys | failed_keys)
    )
    remarks = (
        *(f"{reason}; left as it is" for reason in given_up.values()),
        *(f"{key}: it is foreign now, and left as it is" for key in foreign_keys),
        *drifted,
    )
    message = failures_text(remarks)
    if failed_repairs is not None:
        failed_repairs.add(given_up)
        remarks = drifted
        message = _repair_message(failed_repairs)
    is_history = bool(message) or proposal is None or not proposal.is_about_health_alone
    ports.store.finish(transaction, Outcome.APPLIED, final_ledger, message, is_history)
    log.info("applied id=%d changes=%d", transaction.id, len(transaction.changes))
    return TransactionResult(
        Outcome.APPLIED,
        transaction.id,
        remarks,
        read_back,
        is_repair=failed_repairs is not None,
    )


def _repair_message(failed_repairs: Failures) -> str:
    """Return the message about failed repairs for the history."""
    reasons = tuple(failed_repairs.reasons.values())
    return f"not repaired: {failures_text(reasons)}" if reasons else ""


def _drift_messages(
    target: State, observed: State, excluded_keys: Collection[Key]
) -> tuple[str, ...]:
    """What differs from the target although every change succeeded: somebody else changed it."""
    return tuple(
        f"{key}: something else changed it meanwhile; the next pass repairs it"
        for _, wanted in diff(observed, target)
        if wanted is not None and (key := wanted.key) not in excluded_keys
    )
