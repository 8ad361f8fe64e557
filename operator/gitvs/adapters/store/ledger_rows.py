"""The ledger of an incarnation as rows: what is owned, drains, and was saved."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.resources import Key
from gitvs.core.planning.records import record_of, resource_from_record


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


def write_ledger(database: sqlite3.Connection, number: int, former: Ledger, ledger: Ledger) -> None:
    """Put a ledger in the place of the incarnation's former one, writing what differs."""
    gone, new = former.owned - ledger.owned, ledger.owned - former.owned
    _replace(database, "owned", number, dict.fromkeys(gone, ()), dict.fromkeys(new, ()))
    _replace(database, "drain", number, _drains(former), _drains(ledger))
    _replace(database, "saved", number, _saved(former), _saved(ledger))


def _drains(ledger: Ledger) -> dict[Key, tuple[Any, ...]]:
    return {key: (d.timeout_seconds, d.deadline_seconds) for key, d in ledger.drains.items()}


def _saved(ledger: Ledger) -> dict[Key, tuple[Any, ...]]:
    return {key: (json.dumps(record_of(r)),) for key, r in ledger.saved.items()}


def _replace(
    database: sqlite3.Connection,
    table: str,
    number: int,
    former: Mapping[Key, tuple[Any, ...]],
    wanted: Mapping[Key, tuple[Any, ...]],
) -> None:
    """Make a table's rows of one incarnation these, touching only those that differ."""
    database.executemany(
        f"DELETE FROM {table} WHERE incarnation = ? AND key = ?",
        [(number, key) for key, values in former.items() if wanted.get(key) != values],
    )
    new = [(number, key, *v) for key, v in wanted.items() if former.get(key) != v]
    if new:
        places = ", ".join("?" * len(new[0]))
        database.executemany(f"INSERT INTO {table} VALUES ({places})", new)
