"""The store's large records, the applied state and the ledgers: read once, written by difference.

What was read or written last is remembered for as long as SQLite's `data_version` says that no
other connection has written. Every method belongs into a transaction of the store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime

from gitvs.adapters.store import rows
from gitvs.adapters.store.desired_rows import (
    Part,
    differing_parts,
    head_text,
    put_target_in_force,
    read_desired,
    write_applied,
    write_target,
)
from gitvs.adapters.store.ledger_rows import read_ledger, write_ledger
from gitvs.adapters.store.retention import void_other_boots
from gitvs.core.model.ledger import Incarnation, Ledger
from gitvs.ports import Applied, Transaction


class LargeRecords:
    """The large records of one connection."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._version = -1
        self.forget()

    def forget(self) -> None:
        """Trust nothing that is remembered: a write may have come to nothing."""
        self._applied: Applied | None = None
        self._ledgers: dict[Incarnation, Ledger] = {}
        self._begun: int | None = None
        """The transaction that was begun last, unless another target came into force since."""

    def forget_if_changed(self) -> None:
        """Forget everything if another connection has written."""
        version = self._database.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self.forget()
            self._version = version

    def applied(self) -> Applied | None:
        """Return the desired state in force."""
        if self._applied is None:
            row = self._database.execute("SELECT at, revision, head FROM applied").fetchone()
            if row is not None:
                desired = read_desired(self._database, row["head"])
                at = datetime.fromisoformat(row["at"])
                self._applied = Applied(desired, rows.commit_from(row["revision"]), at)
        return self._applied

    def begin(self, transaction: int, target: Applied) -> None:
        """Record in what the target of a transaction differs from the state in force."""
        write_target(self._database, transaction, self._differing(target))
        self._begun = transaction

    def commit(self, transaction: Transaction) -> None:
        """Put the target of a transaction in force."""
        if self._begun == transaction.id:
            put_target_in_force(self._database, transaction.id)
        else:  # its rows may differ from another namespace's target, in force by now
            write_applied(self._database, self._differing(transaction.target))
        self._write_head(transaction.target)

    def put_in_force(self, target: Applied) -> None:
        """Put a desired state in force without a transaction."""
        write_applied(self._database, self._differing(target))
        self._write_head(target)

    def _write_head(self, target: Applied) -> None:
        revision, head = rows.revision_text(target.commit), head_text(target.desired)
        self._database.execute(
            "INSERT OR REPLACE INTO applied VALUES (1, ?, ?, ?)",
            (target.at.isoformat(), revision, head),
        )
        self._applied, self._begun = target, None

    def _differing(self, target: Applied) -> Iterator[Part]:
        applied = self.applied()
        return differing_parts(None if applied is None else applied.desired, target.desired)

    def ledger(self, incarnation: Incarnation) -> Ledger:
        """Return the ledger of an incarnation; an empty one if nothing was ever recorded."""
        known = self._ledgers.get(incarnation)
        if known is None:
            number = rows.find_incarnation(self._database, incarnation)
            known = Ledger() if number is None else read_ledger(self._database, number)
            self._ledgers[incarnation] = known
        return known

    def write_ledger(self, incarnation: Incarnation, ledger: Ledger) -> None:
        """Put a ledger in the place of the incarnation's former one."""
        number = rows.incarnation_number(self._database, incarnation)
        write_ledger(self._database, number, self.ledger(incarnation), ledger)
        self._ledgers[incarnation] = ledger

    def void_other_boots(self, incarnation: Incarnation, at: datetime) -> None:
        """Drop what another boot owned and had open."""
        void_other_boots(self._database, incarnation, at)
        boot_id = incarnation.boot_id
        self._ledgers = {i: kept for i, kept in self._ledgers.items() if i.boot_id == boot_id}
