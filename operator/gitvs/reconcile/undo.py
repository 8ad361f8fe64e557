"""Undoes what a failed plan changed (design section 4).

An undo always ends. What the kernel refuses to undo is named and left to the repairs of later
passes: another program removed what it needs, or a module is gone. The transaction stays open only
while the kernel cannot be read.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence

from gitvs.core.errors import GitvsError, StoreError
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Scope
from gitvs.core.model.resources import Key
from gitvs.core.planning.plan import Change, Plan
from gitvs.core.planning.undo import UndoStep, undo_step
from gitvs.ports import (
    Clock,
    Ports,
    Transaction,
    WriteResult,
    WriteStatus,
)
from gitvs.reconcile.results import TransactionResult, failures_text

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
"""How often an undo or a break is tried if waiting may help.

Waiting helps if the kernel cannot be read, or if its answers get lost.
"""

FEW_ATTEMPTS = 2
"""How often an undo or a break is tried if waiting does not help.

A refusal rarely goes away by itself. The worker does nothing else while it retries, and the next
pass tries an open transaction again.
"""

FIRST_RETRY_DELAY_SECONDS = 0.4
"""Doubled for each further retry: the pauses are 0.4, 0.8, 1.6 and 3.2 s."""

MAX_STEPS = 10
"""How many steps one attempt takes.

It needs three or four; more only if another program keeps changing what is undone.
"""

Answers = Mapping[Key, WriteResult]
"""What the kernel answered last, by the key of the object."""


def attempts(clock: Clock, limit: int) -> Iterator[int]:
    """Yield the numbers of the attempts, from 1; wait before each except the first."""
    for retry in range(limit):
        if retry:
            clock.sleep(FIRST_RETRY_DELAY_SECONDS * 2.0 ** (retry - 1))
        yield retry + 1


def is_worth_another_try(attempt: int, remaining: Collection[Change], answers: Answers) -> bool:
    """Whether this pass tries the remaining changes again."""
    if attempt < FEW_ATTEMPTS:
        return bool(remaining)
    # Further attempts help only if an answer was lost: a refusal rarely goes away by itself.
    last_answers = (answers.get(change.key) for change in remaining)
    return any(a is not None and a.status is WriteStatus.UNKNOWN for a in last_answers)


def undo(
    ports: Ports,
    transaction: Transaction,
    scope: Scope,
    failures: Sequence[str],
    max_attempts: int = MAX_ATTEMPTS,
) -> TransactionResult:
    """Undo what the plan changed, as far as the kernel permits, and read back what remains.

    Raises:
        StoreError: the plan was undone, but that could not be recorded.
    """
    step: UndoStep | None = None
    answers: Answers = {}
    problem = ""
    for attempt in attempts(ports.clock, max_attempts):
        try:
            step, answers = _run_undo_steps(ports, transaction, scope)
        except GitvsError as error:
            step, problem = None, str(error)
            continue
        if not is_worth_another_try(attempt, step.plan.changes, answers):
            break
    if step is None:
        log.critical("stuck id=%d reason=%s", transaction.id, problem)
        return TransactionResult(Outcome.STUCK, transaction.id, (*failures, problem))
    return _finish_undo(ports, transaction, step, answers, failures)


def _finish_undo(
    ports: Ports,
    transaction: Transaction,
    step: UndoStep,
    answers: Answers,
    failures: Sequence[str],
) -> TransactionResult:
    not_undone = tuple(f"not undone: {_reason(c, answers)}" for c in step.plan.changes)
    all_failures = (*failures, *not_undone)
    try:
        ports.store.finish(
            transaction, Outcome.ROLLED_BACK, step.ledger, failures_text(all_failures)
        )
    except StoreError as error:
        result = "not all of it could be undone" if not_undone else "everything is as it was"
        raise StoreError(
            f"{error}. The plan was undone, and read back, {result}; the next run records that."
            f" It was undone because of: {failures_text(all_failures)}"
        ) from error
    log.error(
        "rolled back id=%d failures=%d not_undone=%d",
        transaction.id,
        len(failures),
        len(not_undone),
    )
    return TransactionResult(
        Outcome.ROLLED_BACK, transaction.id, all_failures, not_undone=not_undone
    )


def _reason(change: Change, answers: Answers) -> str:
    """Return why a change of an undo was not made."""
    answer = answers.get(change.key)
    if answer is not None and answer.message:
        return answer.message
    return f"{change.key}: when read back, it was not as before"


def _run_undo_steps(
    ports: Ports, transaction: Transaction, scope: Scope
) -> tuple[UndoStep, Answers]:
    """Take undo steps until nothing is left to do, or a step had no effect.

    Return what is left, as read back, with the last answers.
    """
    tried_plans: set[Plan] = set()
    answers: dict[Key, WriteResult] = {}
    # Each step is planned from a new reading, not by inverting the plan: answers may be lost, and
    # other programs may have written meanwhile. A plan that was tried and comes up again had no
    # effect, so trying it once more would not end.
    while True:
        step = undo_step(
            transaction.changes,
            transaction.conflicts,
            ports.kernel.observe(scope),
            transaction.ledger,
            transaction.target.desired,
            ports.clock.boottime(),
        )
        if not step.plan or step.plan in tried_plans or len(tried_plans) == MAX_STEPS:
            return step, answers
        tried_plans.add(step.plan)
        for write_result in ports.kernel.execute(step.plan.changes):
            answers[write_result.change.key] = write_result
            if write_result.status is WriteStatus.REFUSED:
                log.warning(
                    "undo refused key=%s reason=%s", write_result.change.key, write_result.message
                )
