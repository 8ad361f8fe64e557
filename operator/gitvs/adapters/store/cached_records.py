"""The store's large records, the applied state and the ledgers: cached, and written by difference.

A record that was read or written is cached as long as SQLite's `data_version` shows that no
other connection has written. Call every method inside a transaction of the store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime

from gitvs.adapters.store import rows
from gitvs.adapters.store.desired_rows import (
    PartRow,
    changed_parts,
    header_text,
    move_target_to_applied,
    read_desired,
    update_applied_parts,
    write_target_parts,
)
from gitvs.adapters.store.ledger_rows import read_ledger, write_ledger
from gitvs.adapters.store.retention import void_other_boots
from gitvs.core.model.ledger import Incarnation, Ledger
from gitvs.ports import Applied, Transaction


class CachedRecords:
    """The large records of one connection."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._data_version = -1
        self.invalidate()

    def invalidate(self) -> None:
        """Drop the cache, because a write may have been rolled back or another connection wrote."""
        self._applied: Applied | None = None
        self._ledgers: dict[Incarnation, Ledger] = {}
        self._begun_transaction_id: int | None = None
        """The transaction that began last; None if a target has come into force since."""

    def invalidate_if_changed(self) -> None:
        """Forget everything if another connection has written."""
        version = self._database.execute("PRAGMA data_version").fetchone()[0]
        if version != self._data_version:
            self.invalidate()
            self._data_version = version

    def applied(self) -> Applied | None:
        """Return the desired state in force."""
        if self._applied is None:
            row = self._database.execute("SELECT at, revision, head FROM applied").fetchone()
            if row is not None:
                desired = read_desired(self._database, row["head"])
                at = datetime.fromisoformat(row["at"])
                self._applied = Applied(desired, rows.commit_from_text(row["revision"]), at)
        return self._applied

    def begin(self, transaction_id: int, target: Applied) -> None:
        """Record how the target of a transaction differs from the state in force."""
        write_target_parts(self._database, transaction_id, self._changed_parts(target))
        self._begun_transaction_id = transaction_id

    def commit(self, transaction: Transaction) -> None:
        """Put the target of a transaction in force."""
        if self._begun_transaction_id == transaction.id:
            move_target_to_applied(self._database, transaction.id)
        else:  # its rows refer to a state that another namespace's target may have replaced
            update_applied_parts(self._database, self._changed_parts(transaction.target))
        self._write_header(transaction.target)

    def record_applied(self, target: Applied) -> None:
        """Put a desired state in force without a transaction."""
        update_applied_parts(self._database, self._changed_parts(target))
        self._write_header(target)

    def _write_header(self, target: Applied) -> None:
        revision, header = rows.commit_text(target.commit), header_text(target.desired)
        self._database.execute(
            "INSERT OR REPLACE INTO applied VALUES (1, ?, ?, ?)",
            (target.applied_at.isoformat(), revision, header),
        )
        self._applied, self._begun_transaction_id = target, None

    def _changed_parts(self, target: Applied) -> Iterator[PartRow]:
        applied = self.applied()
        return changed_parts(None if applied is None else applied.desired, target.desired)

    def ledger(self, incarnation: Incarnation) -> Ledger:
        """Return the ledger of an incarnation; an empty one if nothing was ever recorded."""
        cached = self._ledgers.get(incarnation)
        if cached is None:
            incarnation_id = rows.find_incarnation_id(self._database, incarnation)
            cached = (
                Ledger() if incarnation_id is None else read_ledger(self._database, incarnation_id)
            )
            self._ledgers[incarnation] = cached
        return cached

    def write_ledger(self, incarnation: Incarnation, ledger: Ledger) -> None:
        """Replace the incarnation's ledger."""
        incarnation_id = rows.ensure_incarnation_id(self._database, incarnation)
        write_ledger(self._database, incarnation_id, self.ledger(incarnation), ledger)
        self._ledgers[incarnation] = ledger

    def void_other_boots(self, incarnation: Incarnation, at: datetime) -> None:
        """Drop the records and open transactions of other boots."""
        void_other_boots(self._database, incarnation, at)
        boot_id = incarnation.boot_id
        self._ledgers = {i: ledger for i, ledger in self._ledgers.items() if i.boot_id == boot_id}
