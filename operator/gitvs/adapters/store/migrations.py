"""The schema of the store's database, and how a store of an older gitvs is brought up to date.

There is one table, of sealed records. Its statements, and all others that the store needs, work
from SQLite 3.34 on. The versions 1 to 3 had a table for each thing and a row for each part of it;
what reads them is used once for each store.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from gitvs.adapters.store.large_records import LargeRecords
from gitvs.adapters.store.quarantine import Suspect, bar, put_suspect
from gitvs.adapters.store.sealed_records import SealedRecords
from gitvs.adapters.store.small_records import (
    commit_from_record,
    operation_from_record,
    operation_record,
    time_from_text,
)
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit, HistoryEntry, Outcome, Quarantine
from gitvs.core.model.ledger import Drain, Incarnation, Ledger
from gitvs.core.model.resources import Key
from gitvs.core.planning.records import (
    change_from_record,
    desired_from_records,
    resource_from_record,
)
from gitvs.ports import Applied, Transaction, TransactionStage

SCHEMA_VERSION = 4
SCHEMA = """
    CREATE TABLE record (
        name TEXT NOT NULL PRIMARY KEY CHECK (typeof(name) = 'text'),
        sealed BLOB NOT NULL CHECK (typeof(sealed) = 'blob')
    )
"""

_OLD_TABLES = (
    *("target_part", "applied_part", "applied", "open_transaction", "plan", "history", "suspect"),
    *("owned", "drain", "saved", "incarnation", "operation", "barred", "alive", "accepted_head"),
    "store",
)
_VOID_OUTCOME = "void"
"""The result of a transaction of another boot, which no history shows."""


def migrate(database: sqlite3.Connection) -> None:
    """Turn the tables of versions 1 to 3 into sealed records, inside one transaction.

    Raises:
        one of `sealed_records.DECODING_ERRORS`: a row cannot be read.
    """
    database.execute(SCHEMA)
    records = SealedRecords(database)
    _OldTables(database).move_to(records)
    records.write_index()
    for table in _OLD_TABLES:
        database.execute(f"DROP TABLE IF EXISTS {table}")


class _OldTables:
    """The tables of a store of version 1, 2 or 3."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        found = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        self._tables = {row["name"] for row in found}

    def _rows(self, table: str, where: str = "1", *values: object) -> list[sqlite3.Row]:
        """Return the rows of a table; none if this version does not have it."""
        if table not in self._tables:
            return []
        return self._database.execute(f"SELECT * FROM {table} WHERE {where}", values).fetchall()

    def move_to(self, records: SealedRecords) -> None:
        """Write everything as sealed records."""
        (store,) = self._rows("store")
        records.create_index(str(store["id"]))
        newest = max((row["seq"] for row in self._sequences()), default=0)
        records.update_index(last_transaction=newest)
        large = LargeRecords(records)
        for row in self._rows("applied"):
            desired = self._desired(row)
            large.record_applied(Applied(desired, _commit(row), _time(row["at"])))
        for row in self._rows("incarnation"):
            incarnation = Incarnation(row["boot_id"], int(row["namespace_cookie"]))
            large.write_ledger(incarnation, self._ledger(row["id"]))
            for suspect in self._rows("suspect", "incarnation = ?", row["id"]):
                put_suspect(records, incarnation, _suspect(suspect))
            for opened in self._rows("open_transaction", "incarnation = ?", row["id"]):
                large.begin(self._transaction(opened, incarnation, large.ledger(incarnation)))
        self._move_history(large)
        self._move_small(records)

    def _sequences(self) -> Iterable[sqlite3.Row]:
        return self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'history'")

    def _desired(self, row: sqlite3.Row, history: int | None = None) -> Desired:
        """Return a desired state: one text before version 3, then a head with parts."""
        if "desired" in row.keys():  # noqa: SIM118  # a row is no mapping
            record = json.loads(row["desired"])
            return desired_from_records(record, [record])
        parts = {part["key"]: part["record"] for part in self._rows("applied_part")}
        parts |= {
            part["key"]: part["record"]
            for part in self._rows("target_part", "history = ?", history)
        }
        contents = [json.loads(text) for text in parts.values() if text is not None]
        return desired_from_records(json.loads(row["head"]), contents)

    def _ledger(self, incarnation_id: int) -> Ledger:
        owned, drains, saved = (
            self._rows(table, "incarnation = ?", incarnation_id)
            for table in ("owned", "drain", "saved")
        )
        resources = [resource_from_record(json.loads(row["resource"])) for row in saved]
        return Ledger(
            frozenset(Key(row["key"]) for row in owned),
            {
                row["key"]: Drain(Key(row["key"]), row["timeout_seconds"], row["deadline_seconds"])
                for row in drains
            },
            {resource.key: resource for resource in resources},
        )

    def _transaction(
        self, row: sqlite3.Row, incarnation: Incarnation, ledger: Ledger
    ) -> Transaction:
        (begun,) = self._rows("history", "id = ?", row["history"])
        (plan,) = self._rows("plan", "history = ?", row["history"])
        target = self._desired(row, row["history"])
        return Transaction(
            row["history"],
            incarnation,
            _time(begun["started_at"]),
            TransactionStage(row["stage"]),
            tuple(map(change_from_record, json.loads(plan["changes"]))),
            ledger,
            Applied(target, _commit(begun), _time(row["at"])),
            frozenset(map(Key, json.loads(row["conflicts"]))),
        )

    def _move_history(self, large: LargeRecords) -> None:
        finished = self._rows("history", "result IS NOT NULL AND result != ?", _VOID_OUTCOME)
        entries = [
            HistoryEntry(
                row["id"],
                _time(row["started_at"]),
                _time(row["finished_at"]),
                Outcome(row["result"]),
                _commit(row),
                json.loads(row["summary"]),
                row["message"],
            )
            for row in finished
        ]
        if entries:
            large.add_history(entries)
        ids = {entry.id for entry in entries}
        for plan in self._rows("plan"):
            if plan["history"] in ids:
                changes = map(change_from_record, json.loads(plan["changes"]))
                large.put_changes(plan["history"], tuple(changes))

    def _move_small(self, records: SealedRecords) -> None:
        operations = [operation_from_record(json.loads(r["said"])) for r in self._rows("operation")]
        if operations:
            records.put("operations", list(map(operation_record, operations)))
        barred = [
            Quarantine(row["revision"], row["reason"], _time(row["at"]))
            for row in self._rows("barred")
        ]
        if barred:
            bar(records, barred)
        for row in self._rows("alive"):
            records.put("alive", {"at": row["at"]})
        for row in self._rows("accepted_head"):
            records.put("accepted-head", {"commit": row["revision"], "at": row["at"]})


def _commit(row: sqlite3.Row) -> Commit | None:
    text: Any = row["revision"]
    return None if text is None else commit_from_record(json.loads(text))


def _suspect(row: sqlite3.Row) -> Suspect:
    at = time_from_text(row["quarantined_at"])
    return Suspect(row["revision"], row["version"], row["found_open"], at, row["reason"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
