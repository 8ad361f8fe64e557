"""Desired states as rows: one row for each virtual service with its real servers, or other object.

All rows of the state in force are stored. For the target of an open transaction, only rows that
differ are stored, so the size of a record depends on what changes.
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
    desired_contents_record,
    desired_from_record,
    desired_from_records,
    desired_head_record,
)

_SERVER_KEY_SEPARATOR = " -> "
"""Separates the virtual service's key from the rest of a real server's key."""

PartRow = tuple[str, str | None]
"""A row's key and its record; the record is None if the state has no such part."""

_EMPTY_DESIRED = Desired("", "", State())


def header_text(desired: Desired) -> str:
    """Return a desired state without its objects, as the `head` columns store it."""
    return compact_json(desired_head_record(desired))


def changed_parts(before: Desired | None, after: Desired) -> Iterator[PartRow]:
    """Yield the rows in which `after` differs from `before`; all of them if that is None."""
    section_pairs = zip(_sections(before or _EMPTY_DESIRED), _sections(after), strict=True)
    part_keys = {_part_key(key) for old, new in section_pairs for key in _changed_keys(old, new)}
    parts = _extract_parts(after, part_keys)
    for key in part_keys:
        yield key, compact_json(desired_contents_record(parts[key])) if key in parts else None


def _sections(desired: Desired) -> tuple[Mapping[Key, object], ...]:
    return desired.state.by_key, desired.drain_seconds, desired.locations, desired.server_names


def _changed_keys(before: Mapping[Key, object], after: Mapping[Key, object]) -> set[Key]:
    removed = before.keys() - after.keys()
    pairs = [(key, before.get(key), value) for key, value in after.items()]
    # Most values are the same object, and comparing their content is slow.
    return removed | {key for key, old, new in pairs if old is not new and old != new}


def _part_key(key: Key) -> str:
    """Return the key of a resource's row: for a real server, that of its virtual service."""
    return key.partition(_SERVER_KEY_SEPARATOR)[0]


def _extract_parts(desired: Desired, part_keys: Collection[str]) -> dict[str, Desired]:
    """Return each of these parts of a desired state as a separate state, except missing ones."""
    groups_by_section = [_group_by_part(section, part_keys) for section in _sections(desired)]
    states, drains, locations, names = groups_by_section
    return {
        part: Desired(
            desired.director,
            desired.interface,
            State(states.get(part, {}).values()),
            drains.get(part, {}),
            locations=locations.get(part, {}),
            server_names=names.get(part, {}),
        )
        for part in {part for groups in groups_by_section for part in groups}
    }


def _group_by_part(
    section: Mapping[Key, Any], part_keys: Collection[str]
) -> dict[str, dict[Key, Any]]:
    groups: dict[str, dict[Key, Any]] = {}
    for key in [key for key in section if key.partition(_SERVER_KEY_SEPARATOR)[0] in part_keys]:
        groups.setdefault(_part_key(key), {})[key] = section[key]
    return groups


def read_desired(
    database: sqlite3.Connection, header_json_text: str, transaction_id: int | None = None
) -> Desired:
    """Read the desired state in force, or the target of an open transaction."""
    records = dict(_part_rows(database.execute("SELECT key, record FROM applied_part")))
    target_query = "SELECT key, record FROM target_part WHERE history = ?"
    records.update(_part_rows(database.execute(target_query, (transaction_id,))))
    record_texts = (record for record in records.values() if record is not None)
    return desired_from_records(
        json.loads(header_json_text), json.loads(f"[{','.join(record_texts)}]")
    )


def _part_rows(cursor: Iterable[sqlite3.Row]) -> Iterable[PartRow]:
    return ((row["key"], row["record"]) for row in cursor)


def write_target_parts(
    database: sqlite3.Connection, transaction_id: int, parts: Iterable[PartRow]
) -> None:
    """Record how the target of an open transaction differs from the state in force."""
    database.executemany(
        "INSERT INTO target_part VALUES (?, ?, ?)",
        ((transaction_id, key, record) for key, record in parts),
    )


def move_target_to_applied(database: sqlite3.Connection, transaction_id: int) -> None:
    """Make the target of an open transaction the state in force."""
    from_target = "FROM target_part WHERE history = ?"
    database.execute(
        f"DELETE FROM applied_part WHERE key IN (SELECT key {from_target})", (transaction_id,)
    )
    database.execute(
        f"INSERT INTO applied_part SELECT key, record {from_target} AND record IS NOT NULL",
        (transaction_id,),
    )


def update_applied_parts(database: sqlite3.Connection, parts: Iterable[PartRow]) -> None:
    """Replace rows of the state in force; a row without a record is deleted."""
    for key, record in parts:
        database.execute("DELETE FROM applied_part WHERE key = ?", (key,))
        if record is not None:
            database.execute("INSERT INTO applied_part VALUES (?, ?)", (key, record))


def split_states_into_parts(database: sqlite3.Connection) -> None:
    """Migrate states that were each stored as one text to rows."""
    applied = None
    for row in database.execute("SELECT head FROM applied").fetchall():
        applied = desired_from_record(json.loads(row["head"]))
        update_applied_parts(database, changed_parts(None, applied))
        database.execute("UPDATE applied SET head = ?", (header_text(applied),))
    for row in database.execute("SELECT history, head FROM open_transaction").fetchall():
        target = desired_from_record(json.loads(row["head"]))
        write_target_parts(database, row["history"], changed_parts(applied, target))
        values = (header_text(target), row["history"])
        database.execute("UPDATE open_transaction SET head = ? WHERE history = ?", values)
