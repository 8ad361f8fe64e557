"""Quarantine: commits that failed here, and are not tried again by themselves."""

from __future__ import annotations

import logging

from gitvs.core.errors import Quarantined
from gitvs.ports import Applied, Ports
from gitvs.reconcile.one_pass import PassResult
from gitvs.reconcile.results import TransactionResult, failures_text
from gitvs.reconcile.store_age import refuse_older_store
from gitvs.reconcile.transaction import recover

log = logging.getLogger(__name__)

MAX_TIMES_FOUND_OPEN = 3
"""How often a commit's transaction may be found open at start before it is quarantined."""


def quarantine(ports: Ports, target: Applied, pass_result: PassResult) -> None:
    """Quarantine a commit that was rolled back, so that it is not tried again and again.

    An applied commit is not quarantined: its drift must be repaired. Nor is a commit judged
    by the repairs before it.
    """
    applied, result = ports.store.applied(), pass_result.transaction
    if target.commit is None or (applied is not None and applied.commit == target.commit):
        return
    if result is not None and result.is_repair:
        return
    incarnation = ports.kernel.incarnation()
    found_open = ports.store.count_found_open
    is_transient = result is not None and result.is_transient
    if is_transient and found_open(incarnation, target.commit.id) < MAX_TIMES_FOUND_OPEN:
        return
    reason = failures_text(result.failures if result is not None else ())
    ports.store.quarantine(incarnation, target.commit.id, reason)
    log.error("quarantined commit=%s reason=%s", target.commit.id, reason)


def refuse_quarantined(ports: Ports, commit_id: str) -> None:
    """Reject a commit in quarantine.

    Raises:
        Quarantined: with the recorded reason.
    """
    for entry in ports.store.quarantined(ports.kernel.incarnation()):
        if entry.commit_id == commit_id:
            raise Quarantined(
                f"commit {commit_id[:12]} is not tried again: {entry.reason}."
                " Push a new commit, or say `gitvs sync --retry`"
            )


def recover_at_start(ports: Ports) -> TransactionResult | None:
    """Recover an open transaction, and quarantine its commit if that happens too often."""
    refuse_older_store(ports)  # before anything is counted in it
    incarnation = ports.kernel.incarnation()
    transaction = ports.store.open_transaction(incarnation)
    if transaction is None:
        return None
    commit, applied = transaction.target.commit, ports.store.applied()
    is_applied = applied is not None and applied.commit == commit
    if commit is None or is_applied:
        return recover(ports)
    if ports.store.count_found_open(incarnation, commit.id) >= MAX_TIMES_FOUND_OPEN:
        reason = f"its transaction was found open at start {MAX_TIMES_FOUND_OPEN} times"
        ports.store.quarantine(incarnation, commit.id, reason)
    return recover(ports)
