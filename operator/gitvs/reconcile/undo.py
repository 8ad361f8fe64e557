"""Undoes what a failed plan changed (design section 4)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gitvs.core.errors import GitvsError, StoreError
from gitvs.core.model.history import Outcome
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Scope
from gitvs.core.planning.plan import Plan
from gitvs.core.planning.undo import UndoStep, undo_step
from gitvs.ports import (
    Ports,
    Transaction,
    WriteStatus,
)
from gitvs.reconcile.results import TransactionResult, failures_text

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
"""How often an undo, or the end of a break, is tried before it counts as stuck."""

FIRST_RETRY_DELAY_SECONDS = 0.4
"""Doubled for each further retry: the pauses are 0.4, 0.8, 1.6 and 3.2 s."""


def retry_delay_seconds(retry: int) -> float:
    """Return how long to wait before a retry; the first is 1."""
    return FIRST_RETRY_DELAY_SECONDS * 2.0 ** (retry - 1)


def undo(
    ports: Ports, transaction: Transaction, scope: Scope, failures: Sequence[str]
) -> TransactionResult:
    """Undo what the plan changed, and report success only once a reading confirms it.

    Raises:
        StoreError: everything is as it was, but that could not be recorded.
    """
    problems: list[str] = []
    for attempt in range(MAX_ATTEMPTS):
        if attempt:
            ports.clock.sleep(retry_delay_seconds(attempt))
        try:
            step = _run_undo_steps(ports, transaction, scope)
        except GitvsError as error:
            problems = [str(error)]
            continue
        if not step.plan:
            return _finish_undo(ports, transaction, step.ledger, failures)
        problems = [f"{c.key}: not yet as it was" for c in step.plan.changes]
    log.critical("stuck id=%d objects=%d", transaction.id, len(problems))
    return TransactionResult(Outcome.STUCK, transaction.id, (*failures, *problems))


def _finish_undo(
    ports: Ports, transaction: Transaction, ledger: Ledger, failures: Sequence[str]
) -> TransactionResult:
    try:
        ports.store.finish(transaction, Outcome.ROLLED_BACK, ledger, failures_text(failures))
    except StoreError as error:
        raise StoreError(
            f"{error}. The plan was undone, and read back, everything is as it was; the next"
            f" run records that. It was undone because of: {failures_text(failures)}"
        ) from error
    log.error("rolled back id=%d failures=%d", transaction.id, len(failures))
    return TransactionResult(Outcome.ROLLED_BACK, transaction.id, tuple(failures))


def _run_undo_steps(ports: Ports, transaction: Transaction, scope: Scope) -> UndoStep:
    """Take undo steps until nothing is left to do, or a step had no effect."""
    tried_plans: set[Plan] = set()
    while True:
        step = undo_step(
            transaction.changes,
            transaction.conflicts,
            ports.kernel.observe(scope),
            transaction.ledger,
            transaction.target.desired,
            ports.clock.boottime(),
        )
        if not step.plan or step.plan in tried_plans:
            return step
        tried_plans.add(step.plan)
        for write_result in ports.kernel.execute(step.plan.changes):
            if write_result.status is WriteStatus.REFUSED:
                log.warning(
                    "undo refused key=%s reason=%s", write_result.change.key, write_result.message
                )
