"""Stores as gitvs wrote them before schema version 4: a table for each thing, JSON in rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from gitvs.adapters.store.small_records import commit_record, operation_record
from gitvs.core.model.history import HistoryEntry, Quarantine
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.resource_json import JsonObject, resource_json
from gitvs.core.planning.operations import Operation
from gitvs.core.planning.plan import Change
from gitvs.core.planning.records import desired_head_record, desired_record, resource_record
from gitvs.ports import Applied, Transaction

SCRIPTS = (
    """
    CREATE TABLE store (id TEXT NOT NULL) STRICT;
    CREATE TABLE incarnation (
        id INTEGER PRIMARY KEY,
        boot_id TEXT NOT NULL,
        namespace_cookie TEXT NOT NULL,
        UNIQUE (boot_id, namespace_cookie)
    ) STRICT;
    CREATE TABLE owned (
        incarnation INTEGER NOT NULL REFERENCES incarnation ON DELETE CASCADE,
        key TEXT NOT NULL,
        PRIMARY KEY (incarnation, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE drain (
        incarnation INTEGER NOT NULL REFERENCES incarnation ON DELETE CASCADE,
        key TEXT NOT NULL,
        timeout_seconds REAL NOT NULL,
        deadline_seconds REAL NOT NULL,
        PRIMARY KEY (incarnation, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE saved (
        incarnation INTEGER NOT NULL REFERENCES incarnation ON DELETE CASCADE,
        key TEXT NOT NULL,
        resource TEXT NOT NULL,
        PRIMARY KEY (incarnation, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE applied (
        only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
        at TEXT NOT NULL,
        revision TEXT,
        desired TEXT NOT NULL
    ) STRICT;
    CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        started_at TEXT NOT NULL,
        finished_at TEXT,
        result TEXT,
        revision TEXT,
        summary TEXT NOT NULL,
        message TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE plan (
        history INTEGER PRIMARY KEY REFERENCES history ON DELETE CASCADE,
        changes TEXT NOT NULL
    ) STRICT;
    CREATE TABLE open_transaction (
        incarnation INTEGER PRIMARY KEY REFERENCES incarnation ON DELETE CASCADE,
        history INTEGER NOT NULL UNIQUE REFERENCES history ON DELETE CASCADE,
        stage TEXT NOT NULL,
        ledger TEXT NOT NULL,
        desired TEXT NOT NULL,
        at TEXT NOT NULL,
        conflicts TEXT NOT NULL DEFAULT '[]'
    ) STRICT;
    CREATE TABLE accepted_head (
        only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
        revision TEXT NOT NULL,
        at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE suspect (
        incarnation INTEGER NOT NULL REFERENCES incarnation ON DELETE CASCADE,
        revision TEXT NOT NULL,
        version TEXT NOT NULL,
        found_open INTEGER NOT NULL DEFAULT 0,
        quarantined_at TEXT,
        reason TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (incarnation, revision, version)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE operation (
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        service TEXT NOT NULL,
        said TEXT NOT NULL,
        PRIMARY KEY (kind, subject, service)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE barred (
        revision TEXT PRIMARY KEY,
        reason TEXT NOT NULL,
        at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE alive (
        only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
        at TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE applied_part (
        key TEXT PRIMARY KEY,
        record TEXT NOT NULL
    ) STRICT;
    CREATE TABLE target_part (
        history INTEGER NOT NULL REFERENCES open_transaction (history) ON DELETE CASCADE,
        key TEXT NOT NULL,
        record TEXT,
        PRIMARY KEY (history, key)
    ) STRICT;
    ALTER TABLE applied RENAME COLUMN desired TO head;
    ALTER TABLE open_transaction RENAME COLUMN desired TO head;
    ALTER TABLE open_transaction DROP COLUMN ledger;
    """,
)


def change_record(change: Change) -> JsonObject:
    """Return a change as plans held it."""
    drain = change.drain
    return {
        "kind": str(change.kind),
        "before": None if change.before is None else resource_json(change.before),
        "after": None if change.after is None else resource_json(change.after),
        "phase": str(change.phase),
        "drain": None
        if drain is None
        else {
            "key": drain.key,
            "timeoutSeconds": drain.timeout_seconds,
            "deadlineSeconds": drain.deadline_seconds,
        },
    }


class OldStore:
    """A store of version 1, 2 or 3 that is filled by hand."""

    def __init__(self, folder: Path, version: int, store_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.version = version
        self._database = sqlite3.connect(folder / "gitvs.db")
        self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;")
        self._database.executescript("".join(SCRIPTS[:version]))
        self._insert("store", store_id)

    def close(self) -> None:
        self._database.execute(f"PRAGMA user_version = {self.version}")
        self._database.commit()
        self._database.close()

    def _insert(self, table: str, *values: object) -> None:
        places = ", ".join("?" * len(values))
        self._database.execute(f"INSERT INTO {table} VALUES ({places})", values)

    def apply(self, applied: Applied) -> None:
        commit, at = _commit_text(applied), applied.applied_at.isoformat()
        self._insert("applied", 1, at, commit, self._desired_text(applied))
        if self.version == 3:
            self._insert("applied_part", "everything", _parts_text(applied))

    def _desired_text(self, target: Applied) -> str:
        record = desired_head_record if self.version == 3 else desired_record
        return json.dumps(record(target.desired))

    def keep_ledger(self, incarnation_id: int, ledger: Ledger) -> None:
        for key in ledger.owned:
            self._insert("owned", incarnation_id, key)
        for d in ledger.drains.values():
            self._insert("drain", incarnation_id, d.key, d.timeout_seconds, d.deadline_seconds)
        for key, resource in ledger.saved_settings.items():
            self._insert("saved", incarnation_id, key, json.dumps(resource_record(resource)))

    def add_incarnation(self, incarnation_id: int, boot_id: str, cookie: int) -> None:
        self._insert("incarnation", incarnation_id, boot_id, str(cookie))

    def begin(self, incarnation_id: int, begun: Transaction, conflicts: Iterable[str] = ()) -> None:
        target = begun.target
        started_at, commit = begun.started_at.isoformat(), _commit_text(target)
        self._insert("history", begun.id, started_at, None, None, commit, "{}", "")
        self.keep_plan(begun.id, begun.changes)
        ledger = ("{}",) if self.version < 3 else ()
        self._insert(
            "open_transaction",
            *(incarnation_id, begun.id, str(begun.stage), *ledger, self._desired_text(target)),
            *(target.applied_at.isoformat(), json.dumps(list(conflicts))),
        )
        if self.version == 3:
            self._insert("target_part", begun.id, "everything", _parts_text(target))

    def keep_plan(self, history: int, changes: Iterable[Change]) -> None:
        self._insert("plan", history, json.dumps([change_record(c) for c in changes]))

    def finish(self, entry: HistoryEntry, outcome: str | None = None) -> None:
        self._insert(
            "history",
            *(entry.id, entry.started_at.isoformat(), entry.finished_at.isoformat()),
            *(outcome or str(entry.outcome), json.dumps(commit_record(entry.commit))),
            *(json.dumps(dict(entry.summary)), entry.message),
        )

    def accept_head(self, commit_id: str, at: str) -> None:
        self._insert("accepted_head", 1, commit_id, at)

    def suspect(self, incarnation_id: int, version: str, found: Quarantine) -> None:
        at = found.quarantined_at.isoformat()
        self._insert(
            "suspect",
            *(incarnation_id, found.commit_id, version, found.found_open_count, at, found.reason),
        )

    def put_operation(self, operation: Operation) -> None:
        said = json.dumps(operation_record(operation))
        self._insert("operation", *map(str, operation.identity), said)

    def bar(self, barred: Quarantine) -> None:
        at = barred.quarantined_at.isoformat()
        self._insert("barred", barred.commit_id, barred.reason, at)

    def record_alive(self, at: str) -> None:
        self._insert("alive", 1, at)

    def __enter__(self) -> OldStore:
        return self

    def __exit__(self, *_: Any) -> None:
        with closing(self):
            pass


def _commit_text(target: Applied) -> str | None:
    return None if target.commit is None else json.dumps(commit_record(target.commit))


def _parts_text(target: Applied) -> str:
    names = ("state", "drainSeconds", "sources", "serverNames")
    return json.dumps({name: desired_record(target.desired)[name] for name in names})
