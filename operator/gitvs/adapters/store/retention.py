"""Limits what the store keeps: no records of other boots, one open transaction, recent history."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime

from gitvs.adapters.store import rows
from gitvs.core.errors import StoreError
from gitvs.core.model.ledger import Incarnation

VOID_OUTCOME = "void"
"""Result of a transaction of another boot: there is nothing to undo or to finish."""


def void_other_boots(database: sqlite3.Connection, incarnation: Incarnation, at: datetime) -> None:
    """Drop the records and open transactions of other boots.

    Other namespaces of this boot may still exist, so their records stay.
    """
    others = "SELECT id FROM incarnation WHERE boot_id != ?"
    database.execute(
        "UPDATE history SET finished_at = ?, result = ? WHERE id IN"
        f" (SELECT history FROM open_transaction WHERE incarnation IN ({others}))",
        (at.isoformat(), VOID_OUTCOME, incarnation.boot_id),
    )
    database.execute("DELETE FROM incarnation WHERE boot_id != ?", (incarnation.boot_id,))


def refuse_second_transaction(database: sqlite3.Connection, incarnation: Incarnation) -> None:
    """Allow only one open transaction in an incarnation.

    Raises:
        StoreError: one is open.
    """
    row = database.execute(
        "SELECT history FROM open_transaction WHERE incarnation = ?",
        (rows.find_incarnation_id(database, incarnation),),
    ).fetchone()
    if row is not None:
        raise StoreError(
            f"transaction {row['history']} is still open; it is undone or finished before"
            " another may begin. Nothing was changed"
        )


def delete_old_history(database: sqlite3.Connection, kept_rows: Mapping[str, int]) -> None:
    """Keep the newest `kept_rows` of `plan` and `history`, and rows of open transactions."""
    oldest = "SELECT id FROM history ORDER BY id DESC LIMIT 1 OFFSET ?"
    in_use = "SELECT history FROM open_transaction"
    for table, column in (("plan", "history"), ("history", "id")):
        database.execute(
            f"DELETE FROM {table} WHERE {column} <= ({oldest}) AND {column} NOT IN ({in_use})",
            (kept_rows[table],),
        )
