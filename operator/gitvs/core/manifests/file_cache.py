"""Reads files, and recalls what it found of the same ones before, from texts that last.

Only sound files are recalled: a problem is found anew each time. A text is bound to what the
file holds by its Git id; where texts are kept, and who may write them, is the business of
`adapters.text_cache`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Protocol

import yaml

from gitvs import __version__
from gitvs.core.manifests.load import FileReading, read_file
from gitvs.core.manifests.schema import KINDS
from gitvs.core.manifests.syntax.source_positions import NO_CHILDREN, Document, Place
from gitvs.core.manifests.syntax.yaml_documents import Reading
from gitvs.core.model.desired import File, StoredFile
from gitvs.core.model.resource_json import compact_json

_RECENT = 16
"""So many documents are kept as what they say, beside their texts."""

_NOTHING_ELSE = Reading()
"""What is found in a sound file beside its documents."""

_MADE_BY = (
    "file_cache",
    "schema",
    "syntax/document_builder",
    "syntax/json_documents",
    "syntax/yaml_documents",
)


class Texts(Protocol):
    """Texts by key that outlive the process."""

    def get(self, key: str) -> bytes | None:
        """Return a text as it was put."""
        ...

    def put(self, key: str, text: bytes) -> None:
        """Keep a text of one line."""
        ...


def edition() -> str:
    """Return what a text follows from, beside the file: gitvs, its schemas, the YAML parser."""
    digest = hashlib.sha256(f"{__version__} {yaml.__version__}\n".encode())
    for name in [f"core/manifests/{module}.py" for module in _MADE_BY]:
        digest.update(files("gitvs").joinpath(name).read_bytes())
    for name in [f"schemas/{kind.lower()}.schema.json" for kind in KINDS]:
        digest.update(files("gitvs").joinpath(name).read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """Files that were read before, maybe by another process."""

    texts: Texts

    def read(self, file: File) -> FileReading:
        """Do what `read_file` does."""
        if not isinstance(file, StoredFile):
            return read_file(file)
        key = f"{file.id}.json" if file.path.endswith(".json") else file.id
        text = self.texts.get(key)
        if text is not None:
            return _recalled(file.path, text)
        found = read_file(file)
        if not found.is_sound:
            return found
        self.texts.put(key, _text_of(found))
        return found


def read_small(file: File) -> FileReading:
    """Do what `read_file` does, for those who keep thousands: a tenth of the memory remains."""
    found = read_file(file)
    if not found.is_sound:
        return found
    kept = [
        _Kept(compact_json(_written(document)).encode()) for document in found.reading.documents
    ]
    return FileReading(_NOTHING_ELSE, tuple((Document(file.path, each), ()) for each in kept))


def _text_of(found: FileReading) -> bytes:
    """Return documents as JSON, each with its places."""
    return compact_json([_written(document) for document in found.reading.documents]).encode()


def _written(document: Document) -> tuple[Any, str]:
    return document.data, _places_text(document.place)


def _recalled(path: str, text: bytes) -> FileReading:
    documents = [Document(path, _Recalled(*written)) for written in json.loads(text)]
    return FileReading(Reading(documents), tuple((document, ()) for document in documents))


@dataclass(slots=True)
class _Recalled:
    """A document's content, its places as a text until there is a question for them."""

    data: Any
    places: str
    root: Place | None = None

    @property
    def place(self) -> Place:
        if self.root is None:
            self.root = _root(self.data, self.places)
        return self.root


@dataclass(frozen=True, slots=True)
class _Kept:
    """A document's content as a text, for which there is rarely a question once it was typed."""

    text: bytes

    @property
    def data(self) -> Any:
        return _read(self.text)[0]

    @property
    def place(self) -> Place:
        return _place_of(self.text)


@lru_cache(maxsize=_RECENT)
def _read(text: bytes) -> tuple[Any, str]:
    """Return what a text says, and its places; who asks once asks again at once."""
    data, places = json.loads(text)
    return data, places


@lru_cache(maxsize=_RECENT)
def _place_of(text: bytes) -> Place:
    return _root(*_read(text))


def _places_text(place: Place) -> str:
    """Return a place and those below it as numbers, four each, in the order of their values."""
    numbers: list[int] = []
    _add_numbers(place, numbers)
    return " ".join(map(str, numbers))


def _add_numbers(place: Place, numbers: list[int]) -> None:
    numbers += (place.line, place.column, place.key_line, place.key_column)
    for child in place.children.values():
        _add_numbers(child, numbers)


def _root(data: Any, places: str) -> Place:
    """The inverse of `_places_text`."""
    return _place(data, map(int, places.split()))


def _place(data: Any, numbers: Iterator[int]) -> Place:
    found = (next(numbers), next(numbers), next(numbers), next(numbers))
    if isinstance(data, dict):
        return Place(*found, {key: _place(value, numbers) for key, value in data.items()})
    if isinstance(data, list):
        return Place(*found, {index: _place(value, numbers) for index, value in enumerate(data)})
    return Place(*found, NO_CHILDREN)
