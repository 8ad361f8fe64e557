"""The store in SQLite: what gitvs owns and drains, transactions, operations (design section 4).

Each method is one SQLite transaction, durable when it returns. All content is in sealed records
(`sealed_records`). Those of an incarnation are deleted as soon as another boot writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitvs import __version__
from gitvs.adapters.store import quarantine
from gitvs.adapters.store.database import (
    DATABASE_FILE_NAME,
    as_store_errors,
    open_for_reading,
    open_for_writing,
)
from gitvs.adapters.store.large_records import LargeRecords
from gitvs.adapters.store.sealed_records import SealedRecords
from gitvs.adapters.store.small_records import operation_from_record, operation_record
from gitvs.core.model.history import HistoryEntry, Outcome, Quarantine
from gitvs.core.model.ledger import Incarnation, Ledger
from gitvs.core.model.resources import Key
from gitvs.core.planning.operations import Operation, Operations
from gitvs.core.planning.plan import Change
from gitvs.ports import Applied, Transaction, TransactionStage

_OPERATIONS, _ENDED_OPERATIONS = "operations", "ended-operations"
"""The records of the operations in force, and of those that no pass has undone yet."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SqliteStore:
    """Implements `ports.Store` in a state folder, for one thread."""

    def __init__(
        self,
        state_dir: Path,
        now: Callable[[], datetime] = _utc_now,
        kept_transactions: int | None = None,
        kept_plans: int | None = None,
    ) -> None:
        """Open the store of a state folder; create both if missing.

        `kept_transactions` and `kept_plans` limit the history from now on; without them, the
        limits stay as they were.

        Raises:
            StoreError: it is damaged, is from a newer gitvs, is not ours, or cannot be opened.
        """
        self._open(state_dir, now, open_for_writing)
        self.keep_history(kept_transactions, kept_plans)

    @classmethod
    def open_readonly(cls, state_dir: Path) -> SqliteStore:
        """Return a store that can only be read; if there is none yet, an empty one.

        An empty store has a new id, so no interface has its owner alias.
        """
        store = cls.__new__(cls)
        store._open(state_dir, _utc_now, open_for_reading)
        return store

    def _open(
        self,
        state_dir: Path,
        now: Callable[[], datetime],
        open_database: Callable[[Path], sqlite3.Connection],
    ) -> None:
        self._path = state_dir / DATABASE_FILE_NAME
        self._now = now
        self._database = open_database(state_dir)
        self._write_witness: Callable[[int], None] = lambda _: None
        self._sealed = SealedRecords(self._database)
        self._records = LargeRecords(self._sealed)

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
        with self._reading():
            return self._sealed.index.store_id

    @property
    def number(self) -> int:
        """A number that rises with every write that may matter to the kernel."""
        with self._reading():
            return self._sealed.index.number

    def set_witness(self, write_witness: Callable[[int], None]) -> None:
        """Call `write_witness` with the number after each write that raised it."""
        self._write_witness = write_witness

    def void(self, incarnation: Incarnation, witness: int) -> None:
        """Drop what was recorded in this incarnation, and continue after the number `witness`."""
        with self._writing():
            self._records.void(incarnation)
            self._sealed.update_index(number=max(self._sealed.index.number, witness))

    @property
    def kept_plans(self) -> int:
        """How many plans are kept."""
        with self._reading():
            return self._sealed.index.kept_plans

    def keep_history(self, transactions: int | None, plans: int | None) -> None:
        """Limit the history from now on; a limit that is None stays as it was.

        The limits are recorded, so that `gitvs apply`, which reads no settings, keeps as much.
        """
        with self._reading():
            index = self._sealed.index
            present = {"kept_transactions": index.kept_transactions, "kept_plans": index.kept_plans}
        given = {"kept_transactions": transactions, "kept_plans": plans}
        wanted = present | {name: limit for name, limit in given.items() if limit is not None}
        if wanted != present:
            with self._writing(is_about_kernel=False):
                self._sealed.update_index(**wanted)

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
        with self._reading():
            return self._records.open_transaction(incarnation)

    def begin(
        self, incarnation: Incarnation, changes: Sequence[Change], target: Applied
    ) -> Transaction:
        """Record a transaction before its first write.

        Raises:
            StoreError: one is open already, or it could not be recorded.
        """
        started_at = self._now()
        with self._writing():
            self._records.void_other_boots(incarnation)
            transaction = Transaction(
                self._sealed.next_transaction(),
                incarnation,
                started_at,
                TransactionStage.OPEN,
                tuple(changes),
                self._records.ledger(incarnation),
                target,
            )
            self._records.begin(transaction)
        return transaction

    def record_conflicts(self, transaction: Transaction, keys: frozenset[Key]) -> None:
        """Add the keys of creates that found an object of somebody else."""
        with self._writing():
            self._records.record_conflicts(transaction, keys)

    def commit(self, transaction: Transaction, ledger: Ledger) -> None:
        """Pass the point of no return: the target and `ledger` come into force, in one write."""
        with self._writing():
            self._records.commit(transaction)
            self._records.write_ledger(transaction.incarnation, ledger)

    def finish(
        self,
        transaction: Transaction,
        outcome: Outcome,
        ledger: Ledger,
        message: str = "",
        is_history: bool = True,
    ) -> None:
        """Close the transaction with the ledger now in force, and add it to the history."""
        with self._writing():
            self._records.finish(transaction, outcome, message, self._now(), is_history)
            if outcome is Outcome.APPLIED:
                quarantine.forget_counts(self._sealed, transaction.target.commit_id)
            self._records.write_ledger(transaction.incarnation, ledger)

    def record_converged(self, incarnation: Incarnation, ledger: Ledger, target: Applied) -> None:
        """Record, without a transaction, that the kernel already matches `target`.

        Another commit than the applied one is added to the history.
        """
        with self._writing():
            self._records.void_other_boots(incarnation)
            applied = self._records.applied()
            if target.commit is not None and (
                applied is None or applied.commit_id != target.commit_id
            ):
                self._records.add_converged(target, self._now())
            self._records.record_applied(target)
            self._records.write_ledger(incarnation, ledger)

    def history(self, limit: int | None = None) -> Sequence[HistoryEntry]:
        """Return finished transactions and converged commits, the newest first."""
        with self._reading():
            return self._records.history()[::-1][:limit]

    def changes_of(self, transaction_id: int) -> Sequence[Change] | None:
        """Return the changes of a transaction; None after they were deleted."""
        with self._reading():
            return self._records.changes_of(transaction_id)

    def accepted_head(self) -> str | None:
        """Return the newest commit that was accepted from the remote."""
        with self._reading():
            return self._sealed.read("accepted-head", lambda record: str(record["commit"]))

    def accept_head(self, commit_id: str) -> None:
        """Record the commit that later commits must descend from."""
        with self._writing():
            at = self._now().isoformat()
            self._sealed.put("accepted-head", {"commit": commit_id, "at": at})

    def count_found_open(self, incarnation: Incarnation, commit_id: str) -> int:
        """Count that this commit's transaction was found open at start, and return the count.

        Like the quarantine, the count is for this commit, gitvs version and incarnation.
        """
        with self._writing():
            return quarantine.count_found_open(self._sealed, incarnation, commit_id, __version__)

    def quarantine(
        self, incarnation: Incarnation, commit_id: str, reason: str, state_digest: str = ""
    ) -> None:
        """Prevent this gitvs version from trying a commit again in this incarnation."""
        failed = Quarantine(commit_id, reason, self._now(), state_digest=state_digest)
        with self._writing():
            quarantine.quarantine(self._sealed, incarnation, __version__, failed)

    def pin(self, pin: Operation, barred: Iterable[str], reason: str) -> None:
        """Pin a commit, let it be tried again, and bar others permanently, in one write."""
        at = self._now()
        with self._writing():
            self._put_operation(pin)
            quarantine.clear(self._sealed, pin.subject)
            quarantine.bar(self._sealed, [Quarantine(c, reason, at) for c in barred])

    def quarantined(self, incarnation: Incarnation) -> Sequence[Quarantine]:
        """Return the commits that are not tried again: barred ones, then failed ones, oldest first.

        A failure counts only for this gitvs version and incarnation. A commit that an operator
        barred stays barred.
        """
        with self._reading():
            return quarantine.quarantined(self._sealed, incarnation, __version__)

    def clear_quarantine(self, commit_id: str | None = None) -> None:
        """Let a commit, or every commit, be tried again, and reset its count to 0."""
        with self._writing():
            quarantine.clear(self._sealed, commit_id)

    def operations(self) -> Operations:
        """Return the operations that were requested and not ended, the oldest first."""
        with self._reading():
            found = self._operations(_OPERATIONS)
            return Operations(tuple(sorted(found, key=lambda o: (o.requested_at, o.identity))))

    def _operations(self, name: str) -> list[Operation]:
        found = self._sealed.read(name, lambda record: [operation_from_record(x) for x in record])
        return found or []

    def put_operation(self, operation: Operation) -> None:
        """Record an operation; it replaces an earlier one with the same identity."""
        with self._writing():
            self._put_operation(operation)

    def _put_operation(self, operation: Operation) -> None:
        self._keep_operations(_OPERATIONS, operation, [operation])

    def end_operation(self, operation: Operation) -> None:
        """End an operation; it is kept as ended until a pass has undone it."""
        with self._writing():
            self._keep_operations(_OPERATIONS, operation, [])
            self._keep_operations(_ENDED_OPERATIONS, operation, [operation])

    def ended_operations(self) -> Operations:
        """Return the operations that were ended, and that no pass has undone yet."""
        with self._reading():
            return Operations(tuple(self._operations(_ENDED_OPERATIONS)))

    def forget_ended_operations(self) -> None:
        """Delete the operations that were ended, because a pass has undone them."""
        with self._writing():
            self._sealed.delete(_ENDED_OPERATIONS)

    def _keep_operations(self, name: str, replaced: Operation, added: Iterable[Operation]) -> None:
        """Keep all operations but those with the identity of `replaced`, and add others."""
        others = [o for o in self._operations(name) if o.identity != replaced.identity]
        self._sealed.put(name, [operation_record(o) for o in (*others, *added)])

    def alive_at(self) -> datetime | None:
        """Return when an agent last recorded that it was alive, by the wall clock."""
        with self._reading():
            return self._sealed.read("alive", lambda record: datetime.fromisoformat(record["at"]))

    def record_alive(self) -> None:
        """Record that an agent is alive now."""
        with self._writing(is_about_kernel=False):
            self._sealed.put("alive", {"at": self._now().isoformat()})

    def health(self) -> Mapping[str, Any] | None:
        """Return the newest record of health; None if there is none."""
        with self._reading():
            return self._sealed.read("health", dict)

    def record_health(self, record: Mapping[str, Any]) -> None:
        """Record what a restart must know of health; it replaces the record before."""
        with self._writing(is_about_kernel=False):
            self._sealed.put("health", dict(record))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Read one consistent view."""
        with self._transaction("BEGIN"):
            yield

    @contextmanager
    def _writing(self, is_about_kernel: bool = True) -> Iterator[None]:
        """Write in one transaction: at the end, all of it is durable, or nothing.

        `is_about_kernel`: the write may matter to the kernel. The number of the store rises, so
        that an older copy of the store is refused.
        """
        with self._transaction("BEGIN IMMEDIATE"):
            yield
            if is_about_kernel:
                self._sealed.update_index(number=self._sealed.index.number + 1)
            self._sealed.write_index()
        if is_about_kernel:
            self._write_witness(self._sealed.index.number)

    @contextmanager
    def _transaction(self, begin_statement: str) -> Iterator[None]:
        with as_store_errors(self._path):
            self._database.execute(begin_statement)
            try:
                if self._sealed.invalidate_if_changed():
                    self._records.invalidate()
                yield
                self._database.execute("COMMIT")
            except BaseException:
                self._sealed.invalidate()
                self._records.invalidate()
                raise
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
