"""Commits that are not tried again, and how often the transactions of others were found open.

A failure counts for one commit, gitvs version and incarnation. A commit that an operator barred
stays barred. Call every function inside a transaction of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gitvs.adapters.store.sealed_records import SealedRecords
from gitvs.adapters.store.small_records import (
    barred_from_record,
    barred_record,
    time_from_text,
    time_text,
)
from gitvs.core.model.history import Quarantine
from gitvs.core.model.ledger import Incarnation
from gitvs.core.model.state_digest import comparable_digest


@dataclass(frozen=True, slots=True)
class Suspect:
    """A commit that failed, or whose transaction was found open. Not yet quarantined: no time."""

    commit_id: str
    version: str
    found_open_count: int = 0
    quarantined_at: datetime | None = None
    reason: str = ""
    state_digest: str = ""


def count_found_open(
    records: SealedRecords, incarnation: Incarnation, commit_id: str, version: str
) -> int:
    """Count that a commit's transaction was found open, and return the count."""
    found = _find(records, incarnation, commit_id, version)
    counted = replace(found, found_open_count=found.found_open_count + 1)
    put_suspect(records, incarnation, counted)
    return counted.found_open_count


def quarantine(
    records: SealedRecords, incarnation: Incarnation, version: str, failed: Quarantine
) -> None:
    """Prevent a gitvs version from trying a commit again in this incarnation."""
    found = _find(records, incarnation, failed.commit_id, version)
    suspect = replace(
        found,
        quarantined_at=failed.quarantined_at,
        reason=failed.reason,
        state_digest=failed.state_digest,
    )
    put_suspect(records, incarnation, suspect)


def bar(records: SealedRecords, barred: Iterable[Quarantine]) -> None:
    """Bar commits until that is cleared."""
    by_commit = {b.commit_id: b for b in (*_barred(records), *barred)}
    records.put("barred", [barred_record(b) for b in by_commit.values()])


def quarantined(records: SealedRecords, incarnation: Incarnation, version: str) -> list[Quarantine]:
    """Return barred commits and then failed ones, each the oldest first."""
    failed = [
        Quarantine(s.commit_id, s.reason, s.quarantined_at, s.found_open_count, s.state_digest)
        for s in _suspects(records, f"suspects {incarnation}")
        if s.version == version and s.quarantined_at is not None
    ]
    return [*sorted(_barred(records), key=_age), *sorted(failed, key=_age)]


def _age(found: Quarantine) -> tuple[datetime, str]:
    return found.quarantined_at, found.commit_id


def clear(records: SealedRecords, commit_id: str | None) -> None:
    """Let a commit, or every commit, be tried again, and reset its count to 0."""
    _keep_suspects(records, lambda s: commit_id is not None and s.commit_id != commit_id)
    barred = _barred(records)
    kept = [b for b in barred if commit_id is not None and b.commit_id != commit_id]
    if kept != barred:
        records.put("barred", [barred_record(b) for b in kept])


def forget_counts(records: SealedRecords, commit_id: str | None) -> None:
    """Forget how often the transactions of a commit were found open, unless it is quarantined."""
    _keep_suspects(records, lambda s: s.commit_id != commit_id or s.quarantined_at is not None)


def _keep_suspects(records: SealedRecords, is_kept: Callable[[Suspect], bool]) -> None:
    for name in records.names("suspects"):
        found = _suspects(records, name)
        kept = [s for s in found if is_kept(s)]
        if kept != found:
            records.put(name, [_suspect_record(s) for s in kept])


def put_suspect(records: SealedRecords, incarnation: Incarnation, suspect: Suspect) -> None:
    """Record a suspect; it replaces an earlier one of this commit and version."""
    name = f"suspects {incarnation}"
    identity = (suspect.commit_id, suspect.version)
    others = [s for s in _suspects(records, name) if (s.commit_id, s.version) != identity]
    records.put(name, [_suspect_record(s) for s in (*others, suspect)])


def _find(
    records: SealedRecords, incarnation: Incarnation, commit_id: str, version: str
) -> Suspect:
    found = _suspects(records, f"suspects {incarnation}")
    matching = (s for s in found if (s.commit_id, s.version) == (commit_id, version))
    return next(matching, Suspect(commit_id, version))


def _suspects(records: SealedRecords, name: str) -> list[Suspect]:
    return records.read(name, lambda record: [_suspect_from_record(*x) for x in record]) or []


def _suspect_record(suspect: Suspect) -> list[Any]:
    return [
        suspect.commit_id,
        suspect.version,
        suspect.found_open_count,
        time_text(suspect.quarantined_at),
        suspect.reason,
        suspect.state_digest,
    ]


def _suspect_from_record(
    commit_id: str,
    version: str,
    found_open_count: int,
    at: str | None,
    reason: str,
    state_digest: str = "",  # not in records of an older gitvs
) -> Suspect:
    at_time = time_from_text(at)
    digest = comparable_digest(state_digest)
    return Suspect(commit_id, version, found_open_count, at_time, reason, digest)


def _barred(records: SealedRecords) -> list[Quarantine]:
    return records.read("barred", lambda record: [barred_from_record(x) for x in record]) or []
