"""Quarantine: commits that failed here, and are not tried again by themselves.

An applied commit may mean another state by now, because the settings choose another folder or
gitvs was upgraded. If that state fails, it alone is quarantined: what is applied stays in force.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from gitvs.core.errors import Quarantined
from gitvs.core.model.history import Commit, Quarantine
from gitvs.core.model.state import State
from gitvs.core.model.state_digest import state_and_health_digest
from gitvs.ports import Applied, Ports
from gitvs.reconcile.one_pass import PassResult
from gitvs.reconcile.results import TransactionResult, failures_text
from gitvs.reconcile.store_age import refuse_older_store
from gitvs.reconcile.transaction import recover

log = logging.getLogger(__name__)

MAX_TIMES_FOUND_OPEN = 3
"""How often a commit's transaction may be found open at start before it is quarantined."""

_OTHER_STATE = "it is applied, but means something else now (other settings, or another gitvs): "
"""The beginning of the reason if the commit is applied with another desired state."""


@dataclass(slots=True)
class FailedFolder:
    """The state of a folder of manifests when it last failed here; a restart forgets it."""

    _failed: tuple[State, str] | None = None

    def record(self, state: State, reason: str) -> None:
        """Record that a state failed."""
        self._failed = state, reason

    def clear(self) -> None:
        """Forget the failure, so that the folder is tried again."""
        self._failed = None

    def refuse(self, ports: Ports, target: Applied) -> None:
        """Reject a folder that has not changed since it failed.

        Raises:
            Quarantined: with the reason.
        """
        if target.commit is not None or self._failed is None:
            return
        state, reason = self._failed
        if state == target.desired.state and not _is_in_force(ports, target):
            raise Quarantined(
                f"the folder of manifests is not tried again: {reason}. Change it, or"
                " run `gitvs sync`"
            )


def quarantine(
    ports: Ports, target: Applied, pass_result: PassResult, failed_folder: FailedFolder
) -> None:
    """Quarantine a commit that was rolled back, so that it is not tried again and again.

    A folder of manifests is remembered in `failed_folder`. The applied state is not quarantined:
    its drift must be repaired. Nor is a commit judged by the repairs before it.
    """
    result = pass_result.transaction
    if _is_in_force(ports, target) or (result is not None and result.is_repair):
        return
    is_transient = result is not None and result.is_transient
    if is_transient and (
        target.commit is None or _count(ports, target.commit) < MAX_TIMES_FOUND_OPEN
    ):
        return
    failures = (
        () if result is None else result.failures[: len(result.failures) - len(result.not_undone)]
    )
    if target.commit is None:
        failed_folder.record(target.desired.state, failures_text(failures))
    else:
        _quarantine(ports, target, failures_text(failures))


def _count(ports: Ports, commit: Commit) -> int:
    return ports.store.count_found_open(ports.kernel.incarnation(), commit.id)


def _is_in_force(ports: Ports, target: Applied) -> bool:
    """Whether a state of a commit is the applied one."""
    applied = ports.store.applied()
    return (
        applied is not None
        and applied.commit == target.commit
        and applied.desired.state == target.desired.state
    )


def _quarantine(ports: Ports, target: Applied, reason: str) -> None:
    assert target.commit is not None, "a folder of manifests has no commit"
    applied, commit_id = ports.store.applied(), target.commit.id
    if applied is not None and applied.commit_id == commit_id:
        reason = f"{_OTHER_STATE}{reason}"
    digest = state_and_health_digest(target.desired)
    ports.store.quarantine(ports.kernel.incarnation(), commit_id, reason, digest)
    log.error("quarantined commit=%s reason=%s", commit_id, reason)


def refuse_quarantined(ports: Ports, commit_id: str) -> None:
    """Reject a commit in quarantine.

    Raises:
        Quarantined: with the recorded reason.
    """
    if (entry := find_quarantine(ports, commit_id)) is not None:
        raise Quarantined(
            f"commit {commit_id[:12]} is not tried again: {entry.reason}. Push a new"
            " commit, or run `gitvs sync --retry`"
        )


def find_quarantine(ports: Ports, commit_id: str) -> Quarantine | None:
    """Return why a commit is in quarantine; None if it is not."""
    entries = ports.store.quarantined(ports.kernel.incarnation())
    return next((entry for entry in entries if entry.commit_id == commit_id), None)


def refuse_quarantined_state(ports: Ports, target: Applied) -> None:
    """Reject a state of the applied commit that is in quarantine.

    Raises:
        Quarantined: with the recorded reason.
    """
    for entry in ports.store.quarantined(ports.kernel.incarnation()):
        if (
            entry.commit_id == target.commit_id
            and entry.state_digest
            and not _is_in_force(ports, target)
            and entry.state_digest == state_and_health_digest(target.desired)
        ):
            raise Quarantined(
                f"commit {entry.commit_id[:12]} is not tried again: {entry.reason}."
                " Correct the settings, push a new commit, or run `gitvs sync --retry`"
            )


def recover_at_start(ports: Ports) -> TransactionResult | None:
    """Recover an open transaction, and quarantine its commit if that happens too often."""
    refuse_older_store(ports)  # before anything is counted in it
    transaction = ports.store.open_transaction(ports.kernel.incarnation())
    if transaction is None:
        return None
    target = transaction.target
    commit = target.commit
    if commit is None or _is_in_force(ports, target):
        return recover(ports)
    if _count(ports, commit) >= MAX_TIMES_FOUND_OPEN:
        reason = f"its transaction was found open at start {MAX_TIMES_FOUND_OPEN} times"
        _quarantine(ports, target, reason)
    return recover(ports)
