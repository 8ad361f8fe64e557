"""Converts the store's small records from JSON types to the model's, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gitvs.core.model.history import Cause, Commit, HistoryEntry, Outcome, Quarantine
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.resources import Key
from gitvs.core.model.state_digest import comparable_digest
from gitvs.core.planning.operations import Operation, OperationKind


def time_text(at: datetime | None) -> str | None:
    """Return a time as records hold it."""
    return None if at is None else at.isoformat()


def time_from_text(text: str | None) -> datetime | None:
    """The inverse of `time_text`."""
    return None if text is None else datetime.fromisoformat(text)


def commit_record(commit: Commit | None) -> JsonObject | None:
    """Return a commit; None for a work tree."""
    if commit is None:
        return None
    return {
        "id": commit.id,
        "author": commit.author,
        "subject": commit.subject,
        "committedAt": time_text(commit.committed_at),
    }


def commit_from_record(record: Mapping[str, Any] | None) -> Commit | None:
    """The inverse of `commit_record`."""
    if record is None:
        return None
    committed_at = time_from_text(record["committedAt"])
    return Commit(record["id"], record["author"], record["subject"], committed_at)


def history_record(entry: HistoryEntry) -> JsonObject:
    """Return a line of the history."""
    return {
        "id": entry.id,
        "startedAt": entry.started_at.isoformat(),
        "finishedAt": entry.finished_at.isoformat(),
        "outcome": str(entry.outcome),
        "commit": commit_record(entry.commit),
        "summary": dict(entry.summary),
        "message": entry.message,
        "stateDigest": entry.state_digest,
        "cause": str(entry.cause),
    }


def history_from_record(record: Mapping[str, Any]) -> HistoryEntry:
    """The inverse of `history_record`."""
    return HistoryEntry(
        record["id"],
        datetime.fromisoformat(record["startedAt"]),
        datetime.fromisoformat(record["finishedAt"]),
        Outcome(record["outcome"]),
        commit_from_record(record["commit"]),
        dict(record["summary"]),
        record["message"],
        comparable_digest(record.get("stateDigest", "")),
        Cause(record.get("cause", Cause.COMMIT)),
    )


def barred_record(barred: Quarantine) -> list[Any]:
    """Return a commit that a person barred."""
    return [barred.commit_id, barred.reason, barred.quarantined_at.isoformat()]


def barred_from_record(record: list[Any]) -> Quarantine:
    """The inverse of `barred_record`."""
    commit_id, reason, at = record
    return Quarantine(commit_id, reason, datetime.fromisoformat(at))


def operation_record(operation: Operation) -> JsonObject:
    """Return an operation."""
    return {
        "kind": str(operation.kind),
        "who": operation.who,
        "why": operation.why,
        "at": operation.requested_at.isoformat(),
        "until": time_text(operation.expires_at),
        "subject": operation.subject,
        "service": operation.service,
        "isNow": operation.is_immediate,
        "name": operation.server_name,
        "listeners": list(operation.listeners),
        "untilBoottime": operation.expires_boottime_seconds,
        "boot": operation.boot_id,
    }


def operation_from_record(record: Mapping[str, Any]) -> Operation:
    """The inverse of `operation_record`."""
    return Operation(
        OperationKind(record["kind"]),
        record["who"],
        record["why"],
        datetime.fromisoformat(record["at"]),
        time_from_text(record["until"]),
        record["subject"],
        record["service"],
        record["isNow"],
        record["name"],
        tuple(Key(key) for key in record["listeners"]),
        record.get("untilBoottime"),
        record.get("boot", ""),
    )
