"""What leaves the store by itself: records of other boots, and history that grew too long."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime

from gitvs.adapters.store import rows
from gitvs.core.errors import StoreError
from gitvs.core.model.ledger import Incarnation

VOID_OUTCOME = "void"
"""The result of a transaction whose kernel is gone: nothing is left to undo or to finish."""


def void_other_boots(database: sqlite3.Connection, incarnation: Incarnation, at: datetime) -> None:
    """Drop what another boot owned and had open.

    Another namespace of this boot may still be alive, so its records stay.
    """
    others = "SELECT id FROM incarnation WHERE boot_id != ?"
    database.execute(
        "UPDATE history SET finished_at = ?, result = ? WHERE id IN"
        f" (SELECT history FROM open_transaction WHERE incarnation IN ({others}))",
        (at.isoformat(), VOID_OUTCOME, incarnation.boot_id),
    )
    database.execute("DELETE FROM incarnation WHERE boot_id != ?", (incarnation.boot_id,))


def refuse_second_transaction(database: sqlite3.Connection, incarnation: Incarnation) -> None:
    """Let one transaction at a time be open in an incarnation.

    Raises:
        StoreError: one is.
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
    """Keep so many of the newest rows of `plan` and `history`, and all that are still open."""
    oldest = "SELECT id FROM history ORDER BY id DESC LIMIT 1 OFFSET ?"
    in_use = "SELECT history FROM open_transaction"
    for table, column in (("plan", "history"), ("history", "id")):
        database.execute(
            f"DELETE FROM {table} WHERE {column} <= ({oldest}) AND {column} NOT IN ({in_use})",
            (kept_rows[table],),
        )
