"""The store: what gitvs owns, drains and has open, in SQLite (design section 4).

Each method is one SQLite transaction, durable when it returns. What is kept for an
incarnation hangs on its row, and goes with it once another boot writes.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from gitvs import __version__
from gitvs.adapters import desired_rows, rows
from gitvs.adapters.database import (
    FILE_NAME,
    open_for_reading,
    open_for_writing,
    plain_words,
    unreadable,
)
from gitvs.adapters.ledger_rows import read_ledger, write_ledger
from gitvs.adapters.retention import VOID, forget_old, refuse_second, void_other_boots
from gitvs.core.history import HistoryEntry, Quarantine, Result
from gitvs.core.model import Incarnation, Key, Ledger
from gitvs.core.operations import Operation, Operations
from gitvs.core.plan import Change
from gitvs.core.records import change_from_record, change_record
from gitvs.ports import Applied, Stage, Transaction

KEPT_TRANSACTIONS = 500
KEPT_PLANS = 50


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class _Memory:
    """What is known of large records, as long as no other connection writes.

    `version` is SQLite's `data_version`, which tells that one did.
    """

    version: int = -1
    applied: Applied | None = None
    begun: int | None = None
    """The transaction that was begun last, unless another target came into force since."""
    ledgers: dict[Incarnation, Ledger] = field(default_factory=dict)


class SqliteStore:
    """The store in a state folder, as `ports.Store` wants it. For one thread."""

    def __init__(
        self,
        state_dir: Path,
        now: Callable[[], datetime] = _utc_now,
        kept_transactions: int = KEPT_TRANSACTIONS,
        kept_plans: int = KEPT_PLANS,
    ) -> None:
        """Open the store of a state folder; make both if there is none.

        Raises:
            StoreError: it is damaged, of a newer gitvs, not ours, or cannot be opened.
        """
        self._path = state_dir / FILE_NAME
        self._now = now
        self._kept = {"plan": kept_plans, "history": kept_transactions}
        self._memory = _Memory()
        self._database = open_for_writing(state_dir)

    @classmethod
    def open_readonly(cls, state_dir: Path) -> SqliteStore:
        """Return a store that can only be read; where there is none yet, an empty one.

        The name of an empty one is new, so that no interface is marked with it.
        """
        store = cls.__new__(cls)
        store._path = state_dir / FILE_NAME
        store._now = _utc_now
        store._kept = {}
        store._memory = _Memory()
        store._database = open_for_reading(state_dir)
        return store

    def close(self) -> None:
        """Give the files back. Not closing loses nothing."""
        self._database.close()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """This store's own name, made once; it marks the dummy interface."""
        with self._reading() as database:
            return str(database.execute("SELECT id FROM store").fetchone()["id"])

    def ledger(self, incarnation: Incarnation) -> Ledger:
        """Return what is owned in this incarnation; empty in another."""
        with self._reading() as database:
            return self._ledger(database, incarnation)

    def applied(self) -> Applied | None:
        """Return the desired state in force, which outlives incarnations."""
        with self._reading() as database:
            return self._applied(database)

    def open_transaction(self, incarnation: Incarnation) -> Transaction | None:
        """Return the transaction left open in this incarnation. One of another is void."""
        with self._reading() as database:
            row = database.execute(
                "SELECT * FROM open_transaction JOIN history ON history.id = history"
                " JOIN plan USING (history) WHERE incarnation = ?",
                (rows.find_incarnation(database, incarnation),),
            ).fetchone()
            if row is None:
                return None
            desired = desired_rows.read_desired(database, row["head"], row["history"])
            ledger = self._ledger(database, incarnation)
            return rows.transaction_from(row, incarnation, ledger, desired)

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
            self._void_other_boots(database, incarnation)
            refuse_second(database, incarnation)
            cursor = database.execute(
                "INSERT INTO history (started_at, revision, summary) VALUES (?, ?, ?)",
                (started_at.isoformat(), rows.revision_text(target.commit), json.dumps(summary)),
            )
            number = rows.int_of(cursor.lastrowid)
            database.execute(
                "INSERT INTO plan VALUES (?, ?)",
                (number, _changes_text(changes)),
            )
            database.execute(
                "INSERT INTO open_transaction (incarnation, history, stage, head, at)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    rows.incarnation_number(database, incarnation),
                    number,
                    str(Stage.OPEN),
                    desired_rows.head_text(target.desired),
                    target.at.isoformat(),
                ),
            )
            desired_rows.write_target(database, number, self._differing(database, target))
            forget_old(database, self._kept)
            self._memory.begun = number
            ledger = self._ledger(database, incarnation)
        return Transaction(
            number, incarnation, started_at, Stage.OPEN, tuple(changes), ledger, target
        )

    def record_conflicts(self, transaction: Transaction, keys: frozenset[Key]) -> None:
        """Add creates that found somebody else's object."""
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
        """Pass the point of no return: `target` is applied and `ledger` in force, as one write."""
        with self._writing() as database:
            database.execute(
                "UPDATE open_transaction SET stage = ? WHERE history = ?",
                (str(Stage.COMMITTED), transaction.id),
            )
            if self._memory.begun == transaction.id:
                desired_rows.put_target_in_force(database, transaction.id)
            else:  # its rows may differ from another namespace's target, in force by now
                parts = self._differing(database, transaction.target)
                desired_rows.write_applied(database, parts)
            database.execute(
                "INSERT OR REPLACE INTO applied"
                " SELECT 1, open_transaction.at, revision, head FROM open_transaction"
                " JOIN history ON history.id = history WHERE history = ?",
                (transaction.id,),
            )
            self._memory.applied, self._memory.begun = transaction.target, None
            self._write_ledger(database, transaction.incarnation, ledger)

    def finish(
        self, transaction: Transaction, result: Result, ledger: Ledger, message: str = ""
    ) -> None:
        """Close the transaction with the ledger then in force, and add it to the history."""
        with self._writing() as database:
            database.execute(
                "UPDATE history SET finished_at = ?, result = ?, message = ? WHERE id = ?",
                (self._now().isoformat(), str(result), message, transaction.id),
            )
            database.execute("DELETE FROM open_transaction WHERE history = ?", (transaction.id,))
            if result is Result.APPLIED:
                database.execute(
                    "DELETE FROM suspect WHERE revision = ? AND quarantined_at IS NULL",
                    (transaction.target.commit_id,),
                )
            self._write_ledger(database, transaction.incarnation, ledger)

    def record_converged(self, incarnation: Incarnation, ledger: Ledger, target: Applied) -> None:
        """Record, without a transaction, that the kernel already is as `target` says."""
        with self._writing() as database:
            self._void_other_boots(database, incarnation)
            desired_rows.write_applied(database, self._differing(database, target))
            head, revision = (
                desired_rows.head_text(target.desired),
                rows.revision_text(target.commit),
            )
            database.execute(
                "INSERT OR REPLACE INTO applied VALUES (1, ?, ?, ?)",
                (target.at.isoformat(), revision, head),
            )
            self._memory.applied, self._memory.begun = target, None
            self._write_ledger(database, incarnation, ledger)

    def history(self, limit: int = KEPT_TRANSACTIONS) -> Sequence[HistoryEntry]:
        """Return finished transactions, the newest first."""
        with self._reading() as database:
            found = database.execute(
                "SELECT * FROM history WHERE result IS NOT NULL AND result != ?"
                " ORDER BY id DESC LIMIT ?",
                (VOID, limit),
            )
            return [rows.history_entry_from(row) for row in found]

    def plan_of(self, transaction_id: int) -> Sequence[Change] | None:
        """Return the changes of a transaction; None once they are forgotten."""
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
        """Record what later commits must descend from."""
        with self._writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO accepted_head VALUES (1, ?, ?)",
                (commit_id, self._now().isoformat()),
            )

    def count_found_open(self, incarnation: Incarnation, commit_id: str) -> int:
        """Count once more that this commit's transaction was found open at start; return how often.

        Like the quarantine, the count is of this commit, gitvs version and incarnation.
        """
        with self._writing() as database:
            who = (rows.incarnation_number(database, incarnation), commit_id, __version__)
            row = database.execute(
                "INSERT INTO suspect (incarnation, revision, version, found_open)"
                " VALUES (?, ?, ?, 1)"
                " ON CONFLICT DO UPDATE SET found_open = found_open + 1 RETURNING found_open",
                who,
            ).fetchone()
            return rows.int_of(row["found_open"])

    def quarantine(self, incarnation: Incarnation, commit_id: str, reason: str) -> None:
        """Keep a commit from being tried again by this gitvs version in this incarnation."""
        with self._writing() as database:
            number = rows.incarnation_number(database, incarnation)
            at = self._now().isoformat()
            database.execute(
                "INSERT INTO suspect (incarnation, revision, version, quarantined_at, reason)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET quarantined_at = excluded.quarantined_at, reason = excluded.reason",
                (number, commit_id, __version__, at, reason),
            )

    def pin(self, pin: Operation, barred: Iterable[str], reason: str) -> None:
        """Pin a commit, let it be tried again, and keep others from that for good, as one write."""
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
        """Return the commits that are not tried again, the oldest first.

        That a commit failed holds for this gitvs version and incarnation; what a person barred
        stays so.
        """
        with self._reading() as database:
            failed = database.execute(
                "SELECT * FROM suspect WHERE incarnation = ? AND version = ?"
                " AND quarantined_at IS NOT NULL ORDER BY quarantined_at, revision",
                (rows.find_incarnation(database, incarnation), __version__),
            )
            found = [rows.quarantine_from(row) for row in failed]
            barred = database.execute("SELECT * FROM barred ORDER BY at, revision")
            return [*(rows.barred_from(row) for row in barred), *found]

    def clear_quarantine(self, commit_id: str | None = None) -> None:
        """Let a commit, or every commit, be tried again, with a count from 0."""
        with self._writing() as database:
            for table in ("suspect", "barred"):
                database.execute(
                    f"DELETE FROM {table} WHERE revision = coalesce(?, revision)", (commit_id,)
                )

    def operations(self) -> Operations:
        """Return what operators have said and not taken back, the oldest first."""
        with self._reading() as database:
            found = database.execute("SELECT said FROM operation")
            operations = [rows.operation_from(row["said"]) for row in found]
            return Operations(tuple(sorted(operations, key=lambda o: (o.at, o.identity))))

    def put_operation(self, operation: Operation) -> None:
        """Record what an operator said, in the place of an earlier word on the same thing."""
        with self._writing() as database:
            rows.put_operation(database, operation)

    def end_operation(self, operation: Operation) -> None:
        """Forget what an operator said."""
        with self._writing() as database:
            database.execute(
                "DELETE FROM operation WHERE kind = ? AND subject = ? AND service = ?",
                tuple(map(str, operation.identity)),
            )

    def alive_at(self) -> datetime | None:
        """Return when an agent last said that it was alive, by the wall clock."""
        with self._reading() as database:
            row = database.execute("SELECT at FROM alive").fetchone()
            return None if row is None else datetime.fromisoformat(row["at"])

    def record_alive(self) -> None:
        """Record that an agent is alive now."""
        with self._writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO alive VALUES (1, ?)", (self._now().isoformat(),)
            )

    def _applied(self, database: sqlite3.Connection) -> Applied | None:
        if self._memory.applied is None:
            row = database.execute("SELECT at, revision, head FROM applied").fetchone()
            if row is not None:
                desired = desired_rows.read_desired(database, row["head"])
                at = datetime.fromisoformat(row["at"])
                self._memory.applied = Applied(desired, rows.commit_from(row["revision"]), at)
        return self._memory.applied

    def _differing(
        self, database: sqlite3.Connection, target: Applied
    ) -> Iterator[desired_rows.Part]:
        """Yield the rows in which a target differs from what is in force."""
        applied = self._applied(database)
        former = None if applied is None else applied.desired
        return desired_rows.differing_parts(former, target.desired)

    def _ledger(self, database: sqlite3.Connection, incarnation: Incarnation) -> Ledger:
        known = self._memory.ledgers.get(incarnation)
        if known is None:
            number = rows.find_incarnation(database, incarnation)
            known = Ledger() if number is None else read_ledger(database, number)
            self._memory.ledgers[incarnation] = known
        return known

    def _write_ledger(
        self, database: sqlite3.Connection, incarnation: Incarnation, ledger: Ledger
    ) -> None:
        former = self._ledger(database, incarnation)
        number = rows.incarnation_number(database, incarnation)
        write_ledger(database, number, former, ledger)
        self._memory.ledgers[incarnation] = ledger

    def _void_other_boots(self, database: sqlite3.Connection, incarnation: Incarnation) -> None:
        void_other_boots(database, incarnation, self._now())
        ledgers = self._memory.ledgers
        for other in [i for i in ledgers if i.boot_id != incarnation.boot_id]:
            del ledgers[other]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view, with every error in plain words."""
        with self._transaction("BEGIN") as database:
            try:
                yield database
            except (KeyError, TypeError, ValueError) as error:
                raise unreadable(self._path, error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """All of it durable at the end, or none."""
        with self._transaction("BEGIN IMMEDIATE") as database:
            yield database

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with plain_words(self._path):
            self._database.execute(begin)
            try:
                version = self._database.execute("PRAGMA data_version").fetchone()[0]
                if version != self._memory.version:
                    self._memory = _Memory(version)
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                self._memory = _Memory()
                raise
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")


def _changes_text(changes: Iterable[Change]) -> str:
    """Return changes as the `changes` column holds them, made one by one: they may be many."""
    texts = (desired_rows.json_line(change_record(change)) for change in changes)
    return f"[{','.join(texts)}]"
