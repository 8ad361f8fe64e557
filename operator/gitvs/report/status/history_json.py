"""The history as JSON: `gitvs history --json` and `gitvs history show ID --json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gitvs.core.model.history import HistoryEntry
from gitvs.core.model.resource_json import JsonObject, resource_json
from gitvs.core.planning.plan import Change
from gitvs.report.status.change_counts import summary_of_entry
from gitvs.report.status.status_json import commit_json, time_json

FORMAT_VERSION = "1.0"


def history_json(entries: Sequence[HistoryEntry]) -> JsonObject:
    """Return finished transactions in the order in which they are given."""
    return {
        "formatVersion": FORMAT_VERSION,
        "transactions": [_entry_json(entry) for entry in entries],
    }


def transaction_json(entry: HistoryEntry, changes: Sequence[Change] | None) -> JsonObject:
    """Return one transaction with its plan, which is null once it is forgotten."""
    return {
        "formatVersion": FORMAT_VERSION,
        **_entry_json(entry),
        "changes": None if changes is None else [_change_json(change) for change in changes],
    }


def duration_seconds(entry: HistoryEntry) -> float:
    """Return how many seconds a transaction took; 0 where the clock was set back meanwhile."""
    return max(0.0, (entry.finished_at - entry.started_at).total_seconds())


def _entry_json(entry: HistoryEntry) -> Mapping[str, Any]:
    return {
        "id": entry.id,
        "startedAt": time_json(entry.started_at),
        "finishedAt": time_json(entry.finished_at),
        "durationSeconds": round(duration_seconds(entry), 3),
        "result": str(entry.outcome),
        "cause": str(entry.cause),
        "commit": commit_json(entry.commit),
        "summary": summary_of_entry(entry),
        "message": entry.message,
    }


def _change_json(change: Change) -> JsonObject:
    json_object: JsonObject = {
        "phase": str(change.phase),
        "action": str(change.action),
        "kind": str(change.kind),
        "key": str(change.key),
        "before": None if change.before is None else resource_json(change.before),
        "after": None if change.after is None else resource_json(change.after),
    }
    if change.drain is not None:
        json_object["drainTimeoutSeconds"] = change.drain.timeout_seconds
    return json_object
