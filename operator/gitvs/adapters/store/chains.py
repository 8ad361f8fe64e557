"""Large values in segments: the first is the whole value, and each later one what differs.

So a record is as large as what changes. A chain that has grown long or large is written whole
again. Several values may share segments: the target of a transaction begins with those of the
state in force. A segment that no chain needs is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gitvs.adapters.store.sealed_records import SealedRecords

Chain = list[str]
"""The names of segments, in order; empty for an empty value."""

_MAX_SEGMENTS = 32
_POINTER_KINDS = ("applied", "history", "ledger", "open")
"""The kinds of records that hold a chain, in their field `chain`."""


def extend_chain(
    records: SealedRecords,
    chain: Chain,
    make_difference: Callable[[], object],
    make_whole: Callable[[], object],
    is_mostly_changed: bool,
) -> Chain:
    """Return a chain whose value differs from that of `chain` by a difference.

    `is_mostly_changed`: at least half of it differs, so that it is written whole.
    """
    if chain and not is_mostly_changed and len(chain) < _MAX_SEGMENTS:
        sizes = [records.size(name) for name in chain]
        name = _new_name(records)
        if sum(sizes[1:]) + records.put(name, make_difference()) <= sizes[0]:
            return [*chain, name]
        records.delete(name)
    name = _new_name(records)
    records.put(name, make_whole())
    return [name]


def _new_name(records: SealedRecords) -> str:
    return f"segment {records.next_segment()}"


def read_segments(records: SealedRecords, chain: Sequence[str]) -> list[Any]:
    """Return the content of the segments of a chain."""
    return [records.require(name, lambda value: value) for name in chain]


def delete_unused_segments(records: SealedRecords) -> None:
    """Delete the segments that no chain needs."""
    used: set[str] = set()
    for kind in _POINTER_KINDS:
        for name in records.names(kind):
            used.update(records.require(name, lambda value: list(value["chain"])))
    for name in records.names("segment"):
        if name not in used:
            records.delete(name)
