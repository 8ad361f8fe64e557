"""The ledger of an incarnation as rows: owned keys, drains and saved settings."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.resources import Key
from gitvs.core.planning.records import resource_from_record, resource_record


def read_ledger(database: sqlite3.Connection, incarnation_id: int) -> Ledger:
    """Read the ledger of one incarnation."""
    drains = (
        Drain(Key(row["key"]), row["timeout_seconds"], row["deadline_seconds"])
        for row in _select_rows(database, "drain", incarnation_id)
    )
    saved = (
        resource_from_record(json.loads(row["resource"]))
        for row in _select_rows(database, "saved", incarnation_id)
    )
    return Ledger(
        frozenset(Key(row["key"]) for row in _select_rows(database, "owned", incarnation_id)),
        {drain.key: drain for drain in drains},
        {resource.key: resource for resource in saved},
    )


def _select_rows(
    database: sqlite3.Connection, table: str, incarnation_id: int
) -> Iterable[sqlite3.Row]:
    return database.execute(f"SELECT * FROM {table} WHERE incarnation = ?", (incarnation_id,))


def write_ledger(
    database: sqlite3.Connection, incarnation_id: int, former: Ledger, ledger: Ledger
) -> None:
    """Replace the incarnation's `former` ledger by another, writing only what differs."""
    removed, added = former.owned - ledger.owned, ledger.owned - former.owned
    _update_rows(
        database, "owned", incarnation_id, dict.fromkeys(removed, ()), dict.fromkeys(added, ())
    )
    _update_rows(database, "drain", incarnation_id, _drain_values(former), _drain_values(ledger))
    _update_rows(database, "saved", incarnation_id, _saved_values(former), _saved_values(ledger))


def _drain_values(ledger: Ledger) -> dict[Key, tuple[Any, ...]]:
    return {key: (d.timeout_seconds, d.deadline_seconds) for key, d in ledger.drains.items()}


def _saved_values(ledger: Ledger) -> dict[Key, tuple[Any, ...]]:
    return {key: (json.dumps(resource_record(r)),) for key, r in ledger.saved_settings.items()}


def _update_rows(
    database: sqlite3.Connection,
    table: str,
    incarnation_id: int,
    former: Mapping[Key, tuple[Any, ...]],
    wanted: Mapping[Key, tuple[Any, ...]],
) -> None:
    """Change a table's rows of one incarnation from `former` to `wanted`, where they differ."""
    database.executemany(
        f"DELETE FROM {table} WHERE incarnation = ? AND key = ?",
        [(incarnation_id, key) for key, values in former.items() if wanted.get(key) != values],
    )
    changed_rows = [(incarnation_id, key, *v) for key, v in wanted.items() if former.get(key) != v]
    if changed_rows:
        placeholders = ", ".join("?" * len(changed_rows[0]))
        database.executemany(f"INSERT INTO {table} VALUES ({placeholders})", changed_rows)
