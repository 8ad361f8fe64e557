"""Desired states as rows: one for each virtual service with its real servers, or other object.

The state in force has its own rows; that of an open transaction only those that differ from
it, so that a record is as large as what changes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from gitvs.core.model.desired import Desired
from gitvs.core.model.resource_json import compact_json
from gitvs.core.model.resources import Key
from gitvs.core.model.state import State
from gitvs.core.planning.records import (
    contents_record,
    desired_from_record,
    desired_from_records,
    head_record,
)

_OF_SERVICE = " -> "
"""What stands between a virtual service's key and its real server's."""

Part = tuple[str, str | None]
"""A row's key, and its record; None: the state has no such part."""

_NOTHING = Desired("", "", State())


def head_text(desired: Desired) -> str:
    """Return what a desired state says beside its objects, as the `head` columns hold it."""
    return compact_json(head_record(desired))


def differing_parts(before: Desired | None, after: Desired) -> Iterator[Part]:
    """Yield the rows in which a desired state differs from another, or all of them."""
    pairs = zip(_sections(before or _NOTHING), _sections(after), strict=True)
    keys = {_part_of(key) for one, other in pairs for key in _differing(one, other)}
    found = _parts(after, keys)
    for key in keys:
        yield key, compact_json(contents_record(found[key])) if key in found else None


def _sections(desired: Desired) -> tuple[Mapping[Key, object], ...]:
    return desired.state.by_key, desired.drain_seconds, desired.sources, desired.server_names


def _differing(before: Mapping[Key, object], after: Mapping[Key, object]) -> set[Key]:
    gone = before.keys() - after.keys()
    both = [(key, before.get(key), value) for key, value in after.items()]
    # Most are the very same object, and comparing what they say takes long.
    return gone | {key for key, old, new in both if old is not new and old != new}


def _part_of(key: Key) -> str:
    """Return the row that a key belongs to: a real server's is its virtual service's."""
    return key.partition(_OF_SERVICE)[0]


def _parts(desired: Desired, wanted: Collection[str]) -> dict[str, Desired]:
    """Return these parts of a desired state, as far as it has them, each as a state by itself."""
    found = [_grouped(section, wanted) for section in _sections(desired)]
    states, drains, sources, names = found
    return {
        part: Desired(
            desired.director,
            desired.interface,
            State(states.get(part, {}).values()),
            drains.get(part, {}),
            sources=sources.get(part, {}),
            server_names=names.get(part, {}),
        )
        for part in {part for groups in found for part in groups}
    }


def _grouped(section: Mapping[Key, Any], wanted: Collection[str]) -> dict[str, dict[Key, Any]]:
    groups: dict[str, dict[Key, Any]] = {}
    for key in [key for key in section if key.partition(_OF_SERVICE)[0] in wanted]:
        groups.setdefault(_part_of(key), {})[key] = section[key]
    return groups


def read_desired(
    database: sqlite3.Connection, head: str, transaction: int | None = None
) -> Desired:
    """Read the desired state in force, or what an open transaction makes of it."""
    records = dict(_rows(database.execute("SELECT key, record FROM applied_part")))
    differing = "SELECT key, record FROM target_part WHERE history = ?"
    records.update(_rows(database.execute(differing, (transaction,))))
    texts = (record for record in records.values() if record is not None)
    return desired_from_records(json.loads(head), json.loads(f"[{','.join(texts)}]"))


def _rows(found: Iterable[sqlite3.Row]) -> Iterable[Part]:
    return ((row["key"], row["record"]) for row in found)


def write_target(database: sqlite3.Connection, transaction: int, parts: Iterable[Part]) -> None:
    """Record in what the target of an open transaction differs from the state in force."""
    database.executemany(
        "INSERT INTO target_part VALUES (?, ?, ?)",
        ((transaction, key, record) for key, record in parts),
    )


def put_target_in_force(database: sqlite3.Connection, transaction: int) -> None:
    """Make the target of an open transaction the state in force."""
    ours = "FROM target_part WHERE history = ?"
    database.execute(f"DELETE FROM applied_part WHERE key IN (SELECT key {ours})", (transaction,))
    database.execute(
        f"INSERT INTO applied_part SELECT key, record {ours} AND record IS NOT NULL", (transaction,)
    )


def write_applied(database: sqlite3.Connection, parts: Iterable[Part]) -> None:
    """Put other rows in the place of those of the state in force."""
    for key, record in parts:
        database.execute("DELETE FROM applied_part WHERE key = ?", (key,))
        if record is not None:
            database.execute("INSERT INTO applied_part VALUES (?, ?)", (key, record))


def split_whole_states(database: sqlite3.Connection) -> None:
    """Make rows of the states that were each kept as one text before."""
    applied = None
    for row in database.execute("SELECT head FROM applied").fetchall():
        applied = desired_from_record(json.loads(row["head"]))
        write_applied(database, differing_parts(None, applied))
        database.execute("UPDATE applied SET head = ?", (head_text(applied),))
    for row in database.execute("SELECT history, head FROM open_transaction").fetchall():
        target = desired_from_record(json.loads(row["head"]))
        write_target(database, row["history"], differing_parts(applied, target))
        values = (head_text(target), row["history"])
        database.execute("UPDATE open_transaction SET head = ? WHERE history = ?", values)
