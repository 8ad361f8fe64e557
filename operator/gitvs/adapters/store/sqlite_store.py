"""The store in SQLite: what gitvs owns and drains, transactions, operations (design section 4).

Each method is one SQLite transaction, durable when it returns. The records of an incarnation
refer to its row, and are deleted with it as soon as another boot writes.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from gitvs import __version__
from gitvs.adapters.store import desired_rows, rows
from gitvs.adapters.store.cached_records import CachedRecords
from gitvs.adapters.store.database import (
    DATABASE_FILE_NAME,
    as_store_errors,
    open_for_reading,
    open_for_writing,
    unreadable_record_error,
)
from gitvs.adapters.store.retention import (
    VOID_OUTCOME,
    delete_old_history,
    refuse_second_transaction,
)
from gitvs.core.model.history import HistoryEntry, Outcome, Quarantine
from gitvs.core.model.ledger import Incarnation, Ledger
from gitvs.core.model.resource_json import compact_json
from gitvs.core.model.resources import Key
from gitvs.core.planning.operations import Operation, Operations
from gitvs.core.planning.plan import Change
from gitvs.core.planning.records import change_from_record, change_record
from gitvs.core.settings import KEPT_PLANS, KEPT_TRANSACTIONS
from gitvs.ports import Applied, Transaction, TransactionStage

_CHANGES_PER_PIECE = 1000
"""How many changes are encoded at once."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SqliteStore:
    """Implements `ports.Store` in a state folder, for one thread."""

    def __init__(
        self,
        state_dir: Path,
        now: Callable[[], datetime] = _utc_now,
        kept_transactions: int = KEPT_TRANSACTIONS,
        kept_plans: int = KEPT_PLANS,
    ) -> None:
        """Open the store of a state folder; create both if missing.

        Raises:
            StoreError: it is damaged, is from a newer gitvs, is not ours, or cannot be opened.
        """
        self._path = state_dir / DATABASE_FILE_NAME
        self._now = now
        self._kept_rows = {"plan": kept_plans, "history": kept_transactions}
        self._database = open_for_writing(state_dir)
        self._records = CachedRecords(self._database)

    @classmethod
    def open_readonly(cls, state_dir: Path) -> SqliteStore:
        """Return a store that can only be read; if there is none yet, an empty one.

        An empty store has a new id, so no interface has its owner alias.
        """
        store = cls.__new__(cls)
        store._path = state_dir / DATABASE_FILE_NAME
        store._now = _utc_now
        store._kept_rows = {}
        store._database = open_for_reading(state_dir)
        store._records = CachedRecords(store._database)
        return store

    def close(self) -> None:
        """Close the database; without this, nothing is lost."""
        self._database.close()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """This store's unique id, made once; the owner alias of the dummy interface contains it."""
        with self._reading() as database:
            return str(database.execute("SELECT id FROM store").fetchone()["id"])

    def ledger(self, incarnation: Incarnation) -> Ledger:
        """Return the ledger of an incarnation; empty if nothing was recorded for it."""
        with self._reading():
            return self._records.ledger(incarnation)

    def applied(self) -> Applied | None:
        """Return the desired state in force, which outlives incarnations."""
        with self._reading():
            return self._records.applied()

    def open_transaction(self, incarnation: Incarnation) -> Transaction | None:
        """Return the open transaction of this incarnation; those of other boots are void."""
        with self._reading() as database:
            row = database.execute(
                "SELECT * FROM open_transaction JOIN history ON history.id = history"
                " JOIN plan USING (history) WHERE incarnation = ?",
                (rows.find_incarnation_id(database, incarnation),),
            ).fetchone()
            if row is None:
                return None
            desired = desired_rows.read_desired(database, row["head"], row["history"])
            ledger = self._records.ledger(incarnation)
            return rows.transaction_from_row(row, incarnation, ledger, desired)

    def begin(
        self, incarnation: Incarnation, changes: Sequence[Change], target: Applied
    ) -> Transaction:
        """Record a transaction before its first write.

        Raises:
            StoreError: one is open already, or it could not be recorded.
        """
        started_at = self._now()
        summary = Counter(str(change.action) for change in changes)
        with self._writing() as database:
            self._records.void_other_boots(incarnation, self._now())
            refuse_second_transaction(database, incarnation)
            cursor = database.execute(
                "INSERT INTO history (started_at, revision, summary) VALUES (?, ?, ?)",
                (started_at.isoformat(), rows.commit_text(target.commit), json.dumps(summary)),
            )
            transaction_id = rows.require_int(cursor.lastrowid)
            database.execute(
                "INSERT INTO plan VALUES (?, ?)", (transaction_id, _changes_text(changes))
            )
            database.execute(
                "INSERT INTO open_transaction (incarnation, history, stage, head, at)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    rows.ensure_incarnation_id(database, incarnation),
                    transaction_id,
                    str(TransactionStage.OPEN),
                    desired_rows.header_text(target.desired),
                    target.applied_at.isoformat(),
                ),
            )
            self._records.begin(transaction_id, target)
            delete_old_history(database, self._kept_rows)
            ledger = self._records.ledger(incarnation)
        return Transaction(
            transaction_id,
            incarnation,
            started_at,
            TransactionStage.OPEN,
            tuple(changes),
            ledger,
            target,
        )

    def record_conflicts(self, transaction: Transaction, keys: frozenset[Key]) -> None:
        """Add the keys of creates that found an object of somebody else."""
        with self._writing() as database:
            row = database.execute(
                "SELECT conflicts FROM open_transaction WHERE history = ?", (transaction.id,)
            ).fetchone()
            known = json.loads(row["conflicts"])
            database.execute(
                "UPDATE open_transaction SET conflicts = ? WHERE history = ?",
                (json.dumps(sorted({*known, *keys})), transaction.id),
            )

    def commit(self, transaction: Transaction, ledger: Ledger) -> None:
        """Pass the point of no return: the target and `ledger` come into force, in one write."""
        with self._writing() as database:
            database.execute(
                "UPDATE open_transaction SET stage = ? WHERE history = ?",
                (str(TransactionStage.COMMITTED), transaction.id),
            )
            self._records.commit(transaction)
            self._records.write_ledger(transaction.incarnation, ledger)

    def finish(
        self, transaction: Transaction, outcome: Outcome, ledger: Ledger, message: str = ""
    ) -> None:
        """Close the transaction with the ledger now in force, and add it to the history."""
        with self._writing() as database:
            database.execute(
                "UPDATE history SET finished_at = ?, result = ?, message = ? WHERE id = ?",
                (self._now().isoformat(), str(outcome), message, transaction.id),
            )
            database.execute("DELETE FROM open_transaction WHERE history = ?", (transaction.id,))
            if outcome is Outcome.APPLIED:
                database.execute(
                    "DELETE FROM suspect WHERE revision = ? AND quarantined_at IS NULL",
                    (transaction.target.commit_id,),
                )
            self._records.write_ledger(transaction.incarnation, ledger)

    def record_converged(self, incarnation: Incarnation, ledger: Ledger, target: Applied) -> None:
        """Record, without a transaction, that the kernel already matches `target`."""
        with self._writing():
            self._records.void_other_boots(incarnation, self._now())
            self._records.record_applied(target)
            self._records.write_ledger(incarnation, ledger)

    def history(self, limit: int = KEPT_TRANSACTIONS) -> Sequence[HistoryEntry]:
        """Return finished transactions, the newest first."""
        with self._reading() as database:
            found = database.execute(
                "SELECT * FROM history WHERE result IS NOT NULL AND result != ?"
                " ORDER BY id DESC LIMIT ?",
                (VOID_OUTCOME, limit),
            )
            return [rows.history_entry_from_row(row) for row in found]

    def changes_of(self, transaction_id: int) -> Sequence[Change] | None:
        """Return the changes of a transaction; None after they were deleted."""
        with self._reading() as database:
            row = database.execute(
                "SELECT changes FROM plan WHERE history = ?", (transaction_id,)
            ).fetchone()
            return None if row is None else [change_from_record(r) for r in json.loads(row[0])]

    def accepted_head(self) -> str | None:
        """Return the newest commit that was accepted from the remote."""
        with self._reading() as database:
            row = database.execute("SELECT revision FROM accepted_head").fetchone()
            return None if row is None else str(row["revision"])

    def accept_head(self, commit_id: str) -> None:
        """Record the commit that later commits must descend from."""
        with self._writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO accepted_head VALUES (1, ?, ?)",
                (commit_id, self._now().isoformat()),
            )

    def count_found_open(self, incarnation: Incarnation, commit_id: str) -> int:
        """Count that this commit's transaction was found open at start, and return the count.

        Like the quarantine, the count is for this commit, gitvs version and incarnation.
        """
        with self._writing() as database:
            suspect_key = (
                rows.ensure_incarnation_id(database, incarnation),
                commit_id,
                __version__,
            )
            row = database.execute(
                "INSERT INTO suspect (incarnation, revision, version, found_open)"
                " VALUES (?, ?, ?, 1)"
                " ON CONFLICT DO UPDATE SET found_open = found_open + 1 RETURNING found_open",
                suspect_key,
            ).fetchone()
            return rows.require_int(row["found_open"])

    def quarantine(self, incarnation: Incarnation, commit_id: str, reason: str) -> None:
        """Prevent this gitvs version from trying a commit again in this incarnation."""
        with self._writing() as database:
            incarnation_id = rows.ensure_incarnation_id(database, incarnation)
            at = self._now().isoformat()
            database.execute(
                "INSERT INTO suspect (incarnation, revision, version, quarantined_at, reason)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET quarantined_at = excluded.quarantined_at, reason = excluded.reason",
                (incarnation_id, commit_id, __version__, at, reason),
            )

    def pin(self, pin: Operation, barred: Iterable[str], reason: str) -> None:
        """Pin a commit, let it be tried again, and bar others permanently, in one write."""
        at = self._now().isoformat()
        with self._writing() as database:
            rows.put_operation(database, pin)
            for table in ("suspect", "barred"):
                database.execute(f"DELETE FROM {table} WHERE revision = ?", (pin.subject,))
            database.executemany(
                "INSERT OR REPLACE INTO barred VALUES (?, ?, ?)",
                [(commit_id, reason, at) for commit_id in barred],
            )

    def quarantined(self, incarnation: Incarnation) -> Sequence[Quarantine]:
        """Return the commits that are not tried again: barred ones, then failed ones, oldest first.

        A failure counts only for this gitvs version and incarnation. A commit that an operator
        barred stays barred.
        """
        with self._reading() as database:
            failed = database.execute(
                "SELECT * FROM suspect WHERE incarnation = ? AND version = ?"
                " AND quarantined_at IS NOT NULL ORDER BY quarantined_at, revision",
                (rows.find_incarnation_id(database, incarnation), __version__),
            )
            found = [rows.quarantine_from_row(row) for row in failed]
            barred = database.execute("SELECT * FROM barred ORDER BY at, revision")
            return [*(rows.barred_from_row(row) for row in barred), *found]

    def clear_quarantine(self, commit_id: str | None = None) -> None:
        """Let a commit, or every commit, be tried again, and reset its count to 0."""
        with self._writing() as database:
            for table in ("suspect", "barred"):
                database.execute(
                    f"DELETE FROM {table} WHERE revision = coalesce(?, revision)", (commit_id,)
                )

    def operations(self) -> Operations:
        """Return the operations that were requested and not ended, the oldest first."""
        with self._reading() as database:
            found = database.execute("SELECT said FROM operation")
            operations = [rows.operation_from_text(row["said"]) for row in found]
            return Operations(tuple(sorted(operations, key=lambda o: (o.requested_at, o.identity))))

    def put_operation(self, operation: Operation) -> None:
        """Record an operation; it replaces an earlier one with the same identity."""
        with self._writing() as database:
            rows.put_operation(database, operation)

    def end_operation(self, operation: Operation) -> None:
        """Delete an operation."""
        with self._writing() as database:
            database.execute(
                "DELETE FROM operation WHERE kind = ? AND subject = ? AND service = ?",
                tuple(map(str, operation.identity)),
            )

    def alive_at(self) -> datetime | None:
        """Return when an agent last recorded that it was alive, by the wall clock."""
        with self._reading() as database:
            row = database.execute("SELECT at FROM alive").fetchone()
            return None if row is None else datetime.fromisoformat(row["at"])

    def record_alive(self) -> None:
        """Record that an agent is alive now."""
        with self._writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO alive VALUES (1, ?)", (self._now().isoformat(),)
            )

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Read one consistent view; a record that cannot be decoded raises `StoreDamaged`."""
        with self._transaction("BEGIN") as database:
            try:
                yield database
            except (KeyError, TypeError, ValueError) as error:
                raise unreadable_record_error(self._path, error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction: at the end, all of it is durable, or nothing."""
        with self._transaction("BEGIN IMMEDIATE") as database:
            yield database

    @contextmanager
    def _transaction(self, begin_statement: str) -> Iterator[sqlite3.Connection]:
        with as_store_errors(self._path):
            self._database.execute(begin_statement)
            try:
                self._records.invalidate_if_changed()
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                self._records.invalidate()
                raise
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")


def _changes_text(changes: Sequence[Change]) -> str:
    """Return changes as the `changes` column stores them, encoded in pieces as they may be many."""
    pieces = (
        changes[at : at + _CHANGES_PER_PIECE] for at in range(0, len(changes), _CHANGES_PER_PIECE)
    )
    texts = (compact_json([change_record(c) for c in piece])[1:-1] for piece in pieces)
    return f"[{','.join(texts)}]"
