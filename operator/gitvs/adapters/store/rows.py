"""Converts the store's rows from the database's types to the model's, and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit, HistoryEntry, Outcome, Quarantine
from gitvs.core.model.ledger import Incarnation, Ledger
from gitvs.core.model.resources import Key
from gitvs.core.planning.operations import Operation, OperationKind
from gitvs.core.planning.records import change_from_record
from gitvs.ports import Applied, Transaction, TransactionStage


def find_incarnation_id(database: sqlite3.Connection, incarnation: Incarnation) -> int | None:
    """Return the id of an incarnation's row; None if nothing was ever recorded for it."""
    row = database.execute(
        "SELECT id FROM incarnation WHERE boot_id = ? AND namespace_cookie = ?",
        (incarnation.boot_id, str(incarnation.namespace_cookie)),
    ).fetchone()
    return None if row is None else require_int(row["id"])


def ensure_incarnation_id(database: sqlite3.Connection, incarnation: Incarnation) -> int:
    """Return the id of an incarnation's row, and make the row if there is none."""
    incarnation_id = find_incarnation_id(database, incarnation)
    if incarnation_id is not None:
        return incarnation_id
    cursor = database.execute(
        "INSERT INTO incarnation (boot_id, namespace_cookie) VALUES (?, ?)",
        (incarnation.boot_id, str(incarnation.namespace_cookie)),
    )
    return require_int(cursor.lastrowid)


def transaction_from_row(
    row: Mapping[str, Any], incarnation: Incarnation, ledger: Ledger, desired: Desired
) -> Transaction:
    """Return an open transaction from its own row joined with its history and plan."""
    return Transaction(
        row["history"],
        incarnation,
        datetime.fromisoformat(row["started_at"]),
        TransactionStage(row["stage"]),
        tuple(change_from_record(record) for record in json.loads(row["changes"])),
        ledger,
        Applied(desired, commit_from_text(row["revision"]), datetime.fromisoformat(row["at"])),
        frozenset(Key(key) for key in json.loads(row["conflicts"])),
    )


def history_entry_from_row(row: Mapping[str, Any]) -> HistoryEntry:
    """Return one finished transaction."""
    return HistoryEntry(
        row["id"],
        datetime.fromisoformat(row["started_at"]),
        datetime.fromisoformat(row["finished_at"]),
        Outcome(row["result"]),
        commit_from_text(row["revision"]),
        json.loads(row["summary"]),
        row["message"],
    )


def quarantine_from_row(row: Mapping[str, Any]) -> Quarantine:
    """Return one commit in quarantine."""
    at = datetime.fromisoformat(row["quarantined_at"])
    return Quarantine(row["revision"], row["reason"], at, row["found_open"])


def barred_from_row(row: Mapping[str, Any]) -> Quarantine:
    """Return one commit that a person barred."""
    return Quarantine(row["revision"], row["reason"], datetime.fromisoformat(row["at"]))


def put_operation(database: sqlite3.Connection, operation: Operation) -> None:
    """Record an operation; it replaces an earlier one with the same identity."""
    database.execute(
        "INSERT OR REPLACE INTO operation VALUES (?, ?, ?, ?)",
        (*map(str, operation.identity), operation_text(operation)),
    )


def operation_text(operation: Operation) -> str:
    """Return an operation as the `said` column stores it."""
    until = operation.expires_at
    return json.dumps(
        {
            "kind": str(operation.kind),
            "who": operation.who,
            "why": operation.why,
            "at": operation.requested_at.isoformat(),
            "until": None if until is None else until.isoformat(),
            "subject": operation.subject,
            "service": operation.service,
            "isNow": operation.is_immediate,
            "name": operation.server_name,
            "listeners": list(operation.listeners),
            "untilBoottime": operation.expires_boottime_seconds,
            "boot": operation.boot_id,
        }
    )


def operation_from_text(text: str) -> Operation:
    """The inverse of `operation_text`."""
    record = json.loads(text)
    until = record["until"]
    return Operation(
        OperationKind(record["kind"]),
        record["who"],
        record["why"],
        datetime.fromisoformat(record["at"]),
        None if until is None else datetime.fromisoformat(until),
        record["subject"],
        record["service"],
        record["isNow"],
        record["name"],
        tuple(Key(key) for key in record["listeners"]),
        record.get("untilBoottime"),
        record.get("boot", ""),
    )


def commit_text(commit: Commit | None) -> str | None:
    """Return a commit as the `revision` column stores it; None for a work tree."""
    if commit is None:
        return None
    at = commit.committed_at
    return json.dumps(
        {
            "id": commit.id,
            "author": commit.author,
            "subject": commit.subject,
            "committedAt": None if at is None else at.isoformat(),
        }
    )


def commit_from_text(text: str | None) -> Commit | None:
    """The inverse of `commit_text`."""
    if text is None:
        return None
    record = json.loads(text)
    at = record["committedAt"]
    committed_at = None if at is None else datetime.fromisoformat(at)
    return Commit(record["id"], record["author"], record["subject"], committed_at)


def require_int(value: object) -> int:
    """Return a value from the database that must be a number.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, int):
        raise TypeError(f"a number was expected, not {value!r}")
    return value
