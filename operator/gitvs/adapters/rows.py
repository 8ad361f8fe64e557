"""What the store's rows mean: from the database's types to the model's, and back."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from gitvs.core.history import Commit, HistoryEntry, Quarantine, Result
from gitvs.core.model import Desired, Drain, Incarnation, Key, Ledger
from gitvs.core.operations import Operation, OperationKind
from gitvs.core.records import (
    change_from_record,
    desired_from_record,
    desired_record,
    ledger_from_record,
    record_of,
    resource_from_record,
)
from gitvs.ports import Applied, Stage, Transaction


def find_incarnation(database: sqlite3.Connection, incarnation: Incarnation) -> int | None:
    """Return the number of an incarnation's row, if anything was ever recorded for it."""
    row = database.execute(
        "SELECT id FROM incarnation WHERE boot_id = ? AND namespace_cookie = ?",
        (incarnation.boot_id, str(incarnation.namespace_cookie)),
    ).fetchone()
    return None if row is None else int_of(row["id"])


def incarnation_number(database: sqlite3.Connection, incarnation: Incarnation) -> int:
    """Return the number of an incarnation's row, and make the row if there is none."""
    number = find_incarnation(database, incarnation)
    if number is not None:
        return number
    cursor = database.execute(
        "INSERT INTO incarnation (boot_id, namespace_cookie) VALUES (?, ?)",
        (incarnation.boot_id, str(incarnation.namespace_cookie)),
    )
    return int_of(cursor.lastrowid)


def read_ledger(database: sqlite3.Connection, number: int) -> Ledger:
    """Read the ledger of one incarnation."""
    drains = (
        Drain(Key(row["key"]), row["timeout_seconds"], row["deadline_seconds"])
        for row in _of(database, "drain", number)
    )
    saved = (
        resource_from_record(json.loads(row["resource"])) for row in _of(database, "saved", number)
    )
    return Ledger(
        frozenset(Key(row["key"]) for row in _of(database, "owned", number)),
        {drain.key: drain for drain in drains},
        {resource.key: resource for resource in saved},
    )


def _of(database: sqlite3.Connection, table: str, number: int) -> Iterable[sqlite3.Row]:
    return database.execute(f"SELECT * FROM {table} WHERE incarnation = ?", (number,))


def write_ledger(database: sqlite3.Connection, incarnation: Incarnation, ledger: Ledger) -> None:
    """Put a ledger in the place of the incarnation's former one."""
    number = incarnation_number(database, incarnation)
    _replace(database, "owned", number, ((key,) for key in ledger.owned))
    drains = ledger.drains.values()
    _replace(
        database, "drain", number, ((d.key, d.timeout_seconds, d.deadline_seconds) for d in drains)
    )
    saved = ((key, json.dumps(record_of(r))) for key, r in ledger.saved.items())
    _replace(database, "saved", number, saved)


def _replace(
    database: sqlite3.Connection, table: str, number: int, values: Iterable[tuple[Any, ...]]
) -> None:
    """Make a table's rows of one incarnation these, touching only those that differ."""
    wanted = {row[0]: (number, *row) for row in values}
    former = {row["key"]: tuple(row) for row in _of(database, table, number)}
    database.executemany(
        f"DELETE FROM {table} WHERE incarnation = ? AND key = ?",
        [(number, key) for key in former if former[key] != wanted.get(key)],
    )
    new = [row for key, row in wanted.items() if former.get(key) != row]
    if new:
        places = ", ".join("?" * len(new[0]))
        database.executemany(f"INSERT INTO {table} VALUES ({places})", new)


class DesiredTexts:
    """Desired states as text. The last one is remembered: it is large, and every pass asks."""

    def __init__(self) -> None:
        self._last: tuple[bytes, Desired] | None = None

    def text_of(self, desired: Desired) -> str:
        """Return the text of a desired state."""
        text = json.dumps(desired_record(desired))
        self._last = _hash(text), desired
        return text

    def desired_from(self, text: str) -> Desired:
        """Return the desired state that a text says."""
        digest = _hash(text)
        if self._last is None or self._last[0] != digest:
            self._last = digest, desired_from_record(json.loads(text))
        return self._last[1]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def write_applied(database: sqlite3.Connection, applied: Applied, texts: DesiredTexts) -> None:
    """Put a desired state in force."""
    database.execute(
        "INSERT OR REPLACE INTO applied VALUES (1, ?, ?, ?)",
        (applied.at.isoformat(), revision_text(applied.commit), texts.text_of(applied.desired)),
    )


def write_target_applied(database: sqlite3.Connection, transaction: int) -> None:
    """Put the target of an open transaction in force, as it was recorded."""
    database.execute(
        "INSERT OR REPLACE INTO applied"
        " SELECT 1, open_transaction.at, history.revision, open_transaction.desired"
        " FROM open_transaction JOIN history ON history.id = history WHERE history = ?",
        (transaction,),
    )


def applied_from(row: Mapping[str, Any], texts: DesiredTexts) -> Applied:
    """Return the desired state of a row with `desired`, `revision` and `at`."""
    return Applied(
        texts.desired_from(row["desired"]),
        commit_from(row["revision"]),
        datetime.fromisoformat(row["at"]),
    )


def transaction_from(
    row: Mapping[str, Any], incarnation: Incarnation, texts: DesiredTexts
) -> Transaction:
    """Return an open transaction from its own row joined with its history and plan."""
    return Transaction(
        row["history"],
        incarnation,
        datetime.fromisoformat(row["started_at"]),
        Stage(row["stage"]),
        tuple(change_from_record(record) for record in json.loads(row["changes"])),
        ledger_from_record(json.loads(row["ledger"])),
        applied_from(row, texts),
        frozenset(Key(key) for key in json.loads(row["conflicts"])),
    )


def history_entry_from(row: Mapping[str, Any]) -> HistoryEntry:
    """Return one finished transaction."""
    return HistoryEntry(
        row["id"],
        datetime.fromisoformat(row["started_at"]),
        datetime.fromisoformat(row["finished_at"]),
        Result(row["result"]),
        commit_from(row["revision"]),
        json.loads(row["summary"]),
        row["message"],
    )


def quarantine_from(row: Mapping[str, Any]) -> Quarantine:
    """Return one commit in quarantine."""
    at = datetime.fromisoformat(row["quarantined_at"])
    return Quarantine(row["revision"], row["reason"], at, row["found_open"])


def barred_from(row: Mapping[str, Any]) -> Quarantine:
    """Return one commit that a person barred."""
    return Quarantine(row["revision"], row["reason"], datetime.fromisoformat(row["at"]))


def put_operation(database: sqlite3.Connection, operation: Operation) -> None:
    """Record what an operator said, in the place of an earlier word on the same thing."""
    database.execute(
        "INSERT OR REPLACE INTO operation VALUES (?, ?, ?, ?)",
        (*map(str, operation.identity), operation_text(operation)),
    )


def operation_text(operation: Operation) -> str:
    """Return what an operator said as the `said` column holds it."""
    until = operation.until
    return json.dumps(
        {
            "kind": str(operation.kind),
            "who": operation.who,
            "why": operation.why,
            "at": operation.at.isoformat(),
            "until": None if until is None else until.isoformat(),
            "subject": operation.subject,
            "service": operation.service,
            "isNow": operation.is_now,
            "name": operation.name,
            "listeners": list(operation.listeners),
        }
    )


def operation_from(text: str) -> Operation:
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
    )


def revision_text(commit: Commit | None) -> str | None:
    """Return a commit as the `revision` column holds it; None for a work tree."""
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


def commit_from(text: str | None) -> Commit | None:
    """The inverse of `revision_text`."""
    if text is None:
        return None
    record = json.loads(text)
    at = record["committedAt"]
    when = None if at is None else datetime.fromisoformat(at)
    return Commit(record["id"], record["author"], record["subject"], when)


def int_of(value: object) -> int:
    """Return a number that the database must have given."""
    if not isinstance(value, int):
        raise TypeError(f"a number was expected, not {value!r}")
    return value
