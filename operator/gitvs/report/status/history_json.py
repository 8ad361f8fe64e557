"""The history as JSON documents: `gitvs history --json` and `gitvs history show ID --json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gitvs.core.model.history import HistoryEntry
from gitvs.core.model.resource_json import Document, document_of
from gitvs.core.planning.plan import Action, Change
from gitvs.report.status.status_json import commit_document, time_document

FORMAT_VERSION = "1.0"


def history_document(entries: Sequence[HistoryEntry]) -> Document:
    """Return finished transactions in the order in which they are given."""
    return {
        "formatVersion": FORMAT_VERSION,
        "transactions": [_entry(entry) for entry in entries],
    }


def transaction_document(entry: HistoryEntry, changes: Sequence[Change] | None) -> Document:
    """Return one transaction with its plan, which is null once it is forgotten."""
    return {
        "formatVersion": FORMAT_VERSION,
        **_entry(entry),
        "changes": None if changes is None else [_change(change) for change in changes],
    }


def summary_of_entry(entry: HistoryEntry) -> dict[str, int]:
    """Return how many changes of each sort there were; a replacement counts as an update."""
    count = Counter(entry.summary)
    return {
        "create": count[Action.CREATE],
        "update": count[Action.UPDATE] + count[Action.REPLACE],
        "delete": count[Action.DELETE],
        "drain": count[Action.DRAIN],
    }


def duration_of(entry: HistoryEntry) -> float:
    """Return how many seconds a transaction took; 0 where the clock was set back meanwhile."""
    return max(0.0, (entry.finished_at - entry.started_at).total_seconds())


def _entry(entry: HistoryEntry) -> Mapping[str, Any]:
    return {
        "id": entry.id,
        "startedAt": time_document(entry.started_at),
        "finishedAt": time_document(entry.finished_at),
        "durationSeconds": round(duration_of(entry), 3),
        "result": str(entry.result),
        "commit": commit_document(entry.commit),
        "summary": summary_of_entry(entry),
        "message": entry.message,
    }


def _change(change: Change) -> Document:
    document: Document = {
        "phase": str(change.phase),
        "action": str(change.action),
        "kind": str(change.kind),
        "key": str(change.key),
        "before": None if change.before is None else document_of(change.before),
        "after": None if change.after is None else document_of(change.after),
    }
    if change.drain is not None:
        document["drainTimeoutSeconds"] = change.drain.timeout_seconds
    return document
