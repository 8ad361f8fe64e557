"""Sealed records: every one is checked before it is believed.

A record is JSON, compressed, behind a checksum that covers its name too. One record, the index,
lists all others with their checksums. So a record that was changed, lost, swapped with another
or replaced by an older one is noticed, and a reader gets a consistent whole or `Unreadable`.
What records hold is left to `chains`, `small_records` and `large_records`.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, TypeVar

from gitvs.core.model.resource_json import compact_json
from gitvs.core.settings import KEPT_PLANS, KEPT_TRANSACTIONS

V = TypeVar("V")

_MAGIC = b"gitvs\x01"
"""The beginning of every record; the last byte is the version of the format."""
_CHECKSUM_BYTES = 16
_HEADER_BYTES = len(_MAGIC) + _CHECKSUM_BYTES
_COMPRESSION_LEVEL = 1
_INDEX_NAME = "index"
DECODING_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, zlib.error)
"""What decoding a record that gitvs did not write may raise."""


class Unreadable(ValueError):
    """A record that cannot be believed; the message names it."""


def seal(name: str, value: object) -> bytes:
    """Return a value as a record of this name."""
    body = zlib.compress(compact_json(value).encode(), _COMPRESSION_LEVEL)
    return _MAGIC + _checksum(name, body) + body


def unseal(name: str, record: object) -> Any:
    """Return the value of a record.

    Raises:
        Unreadable: it is not a record of this name, or was changed.
    """
    if not isinstance(record, bytes):
        raise Unreadable(f"record {name} is missing")
    if not record.startswith(_MAGIC):
        raise Unreadable(f"record {name} does not begin as records of this gitvs do")
    body = record[_HEADER_BYTES:]
    if record[len(_MAGIC) : _HEADER_BYTES] != _checksum(name, body):
        raise Unreadable(f"record {name} does not match its checksum")
    try:
        return json.loads(zlib.decompress(body))
    except DECODING_ERRORS as error:
        raise Unreadable(f"record {name}: {error}") from error


def _checksum(name: str, body: bytes) -> bytes:
    return blake2b(name.encode() + b"\0" + body, digest_size=_CHECKSUM_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Index:
    """The list of all records, and what belongs to the store as a whole.

    `number` rises with every write that may matter to the kernel. `checksums` has the checksum of
    each record by name, as hex.
    """

    store_id: str
    number: int = 0
    last_transaction: int = 0
    last_segment: int = 0
    kept_transactions: int = KEPT_TRANSACTIONS
    kept_plans: int = KEPT_PLANS
    checksums: dict[str, str] = field(default_factory=dict)


class SealedRecords:
    """The sealed records of one connection. Call every method inside a transaction of it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._data_version = -1
        self._index: Index | None = None

    def invalidate(self) -> None:
        """Forget the index, because a write may have been rolled back."""
        self._index = None

    def invalidate_if_changed(self) -> bool:
        """Forget the index if another connection has written; return whether it has."""
        version = self._database.execute("PRAGMA data_version").fetchone()[0]
        has_changed = bool(version != self._data_version)
        if has_changed:
            self._index, self._data_version = None, version
        return has_changed

    @property
    def index(self) -> Index:
        """The index.

        Raises:
            Unreadable: it is damaged.
        """
        if self._index is None:
            value = unseal(_INDEX_NAME, self._sealed(_INDEX_NAME))
            self._index = _decoded(_INDEX_NAME, value, lambda fields: Index(**fields))
        return self._index

    def create_index(self, store_id: str) -> None:
        """Begin an empty store."""
        self._index = Index(store_id)
        self.write_index()

    def update_index(self, **fields: Any) -> None:
        """Change fields of the index; `write_index` records them."""
        self._index = replace(self.index, **fields)

    def next_transaction(self) -> int:
        """Return an id that no transaction has had."""
        self.update_index(last_transaction=self.index.last_transaction + 1)
        return self.index.last_transaction

    def next_segment(self) -> int:
        """Return an id that no segment of a chain has had."""
        self.update_index(last_segment=self.index.last_segment + 1)
        return self.index.last_segment

    def write_index(self) -> None:
        """Record the index. It is the end of every write."""
        index = self.index
        fields = {name: getattr(index, name) for name in Index.__dataclass_fields__}
        self._write(_INDEX_NAME, seal(_INDEX_NAME, fields))

    def names(self, kind: str) -> list[str]:
        """Return the names of the records of a kind, which is the first word of a name."""
        return [name for name in self.index.checksums if name.partition(" ")[0] == kind]

    def __contains__(self, name: str) -> bool:
        return name in self.index.checksums

    def read(self, name: str, decode: Callable[[Any], V]) -> V | None:
        """Return a record as `decode` makes it; None if the store has no such record.

        Raises:
            Unreadable: it is damaged, missing, or not as the index lists it.
        """
        if name not in self:
            return None
        sealed = self._sealed(name)
        value = unseal(name, sealed)
        self._compare_with_index(name, sealed)
        return _decoded(name, value, decode)

    def require(self, name: str, decode: Callable[[Any], V]) -> V:
        """Like `read`, for a record that another one names.

        Raises:
            Unreadable: it is damaged or missing.
        """
        if name not in self:
            raise Unreadable(f"record {name} is missing")
        found = self.read(name, decode)
        assert found is not None, "a record holds a value"
        return found

    def put(self, name: str, value: object) -> int:
        """Write a record; return its size in bytes."""
        sealed = seal(name, value)
        self._write(name, sealed)
        self.index.checksums[name] = _listed_checksum(sealed)
        return len(sealed)

    def delete(self, name: str) -> None:
        """Delete a record, if there is one."""
        if self.index.checksums.pop(name, None) is not None:
            self._database.execute("DELETE FROM record WHERE name = ?", (name,))

    def size(self, name: str) -> int:
        """Return the size of a record in bytes; 0 if there is none."""
        query = "SELECT length(sealed) FROM record WHERE name = ?"
        row = self._database.execute(query, (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def verify(self) -> None:
        """Check every record, without decoding it.

        Raises:
            Unreadable: one is damaged or missing.
        """
        for name in self.index.checksums:
            sealed = self._sealed(name)
            if not isinstance(sealed, bytes):
                raise Unreadable(f"record {name} is missing")
            if sealed[len(_MAGIC) : _HEADER_BYTES] != _checksum(name, sealed[_HEADER_BYTES:]):
                raise Unreadable(f"record {name} does not match its checksum")
            self._compare_with_index(name, sealed)

    def _compare_with_index(self, name: str, sealed: bytes) -> None:
        if _listed_checksum(sealed) != self.index.checksums[name]:
            raise Unreadable(f"record {name} is not the one that the index lists")

    def _sealed(self, name: str) -> Any:
        query = "SELECT sealed FROM record WHERE name = ?"
        row = self._database.execute(query, (name,)).fetchone()
        return None if row is None else row[0]

    def _write(self, name: str, sealed: bytes) -> None:
        self._database.execute("INSERT OR REPLACE INTO record VALUES (?, ?)", (name, sealed))


def _listed_checksum(sealed: bytes) -> str:
    return sealed[len(_MAGIC) : _HEADER_BYTES].hex()


def _decoded(name: str, value: Any, decode: Callable[[Any], V]) -> V:
    try:
        return decode(value)
    except Unreadable:
        raise
    except DECODING_ERRORS as error:
        raise Unreadable(f"record {name}: {error!r}") from error
