"""Validates files, with a cache of the parsed documents that outlives the process.

Only valid files are cached: a problem is found again each time. The key of a cached text is the
blob id of the file in Git. Where texts are kept, and who may write them, is left to
`adapters.files.file_cache_storage`.
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
from gitvs.core.checkpoint import Checkpoint, checked, no_checkpoint
from gitvs.core.manifests.files import File, GitFile
from gitvs.core.manifests.load_run import ValidatedFile, validate_file
from gitvs.core.manifests.schema import DOCUMENT_KINDS
from gitvs.core.manifests.syntax.source_positions import NO_CHILDREN, Document, SourcePosition
from gitvs.core.manifests.syntax.yaml_documents import ParsedFile, is_json
from gitvs.core.model.resource_json import compact_json

_RECENT_DOCUMENTS = 16
"""Number of compact documents that are also kept decoded."""

_EMPTY_PARSED_FILE = ParsedFile()
"""What parsing a valid file finds in addition to its documents."""

_CACHE_DEPENDS_ON = (
    "file_cache",
    "files",
    "load",
    "load_run",
    "schema",
    "syntax/document_builder",
    "syntax/json_documents",
    "syntax/source_positions",
    "syntax/yaml_documents",
)


class CacheStorage(Protocol):
    """Texts by key that outlive the process."""

    def get(self, key: str) -> bytes | None:
        """Return the text of a key; None if there is none."""
        ...

    def put(self, key: str, text: bytes) -> None:
        """Store a text, which is one line."""
        ...


def cache_edition() -> str:
    """Return a digest of what a cached text depends on in addition to the file.

    That is gitvs, its schemas and the YAML parser.
    """
    digest = hashlib.sha256(f"{__version__} {yaml.__version__}\n".encode())
    for name in [f"core/manifests/{module}.py" for module in _CACHE_DEPENDS_ON]:
        digest.update(files("gitvs").joinpath(name).read_bytes())
    for name in [f"schemas/{kind.lower()}.schema.json" for kind in DOCUMENT_KINDS]:
        digest.update(files("gitvs").joinpath(name).read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class FileCache:
    """Validates files, with the results of earlier calls, maybe of another process."""

    storage: CacheStorage

    def validate_file(self, file: File, checkpoint: Checkpoint = no_checkpoint) -> ValidatedFile:
        """Do what `load.validate_file` does, from the cache where possible."""
        if not isinstance(file, GitFile):
            return validate_file(file, checkpoint)
        key = f"{file.blob_id}.json" if is_json(file.path) else file.blob_id
        text = self.storage.get(key)
        if text is not None:
            return _validated_from_text(file.path, text)
        validated = validate_file(file, checkpoint)
        if not validated.is_valid:
            return validated
        self.storage.put(key, _cache_text(validated))
        return validated


def validate_file_compactly(file: File, checkpoint: Checkpoint = no_checkpoint) -> ValidatedFile:
    """Do what `load.validate_file` does, but keep documents in a tenth of the memory."""
    validated = validate_file(file, checkpoint)
    if not validated.is_valid:
        return validated
    contents = [
        _CompactContent(compact_json(_data_and_positions(document)).encode())
        for document in checked(validated.parsed.documents, checkpoint)
    ]
    return ValidatedFile(
        _EMPTY_PARSED_FILE, tuple((Document(file.path, content), ()) for content in contents)
    )


def _cache_text(validated: ValidatedFile) -> bytes:
    """Return documents as JSON, each with its positions."""
    return compact_json(
        [_data_and_positions(document) for document in validated.parsed.documents]
    ).encode()


def _data_and_positions(document: Document) -> tuple[Any, str]:
    return document.data, _positions_text(document.position)


def _validated_from_text(path: str, text: bytes) -> ValidatedFile:
    documents = [Document(path, _CachedContent(*entry)) for entry in json.loads(text)]
    return ValidatedFile(ParsedFile(documents), tuple((document, ()) for document in documents))


@dataclass(slots=True)
class _CachedContent:
    """A document's content, with its positions as a text until they are needed."""

    data: Any
    positions: str
    root_position: SourcePosition | None = None

    @property
    def position(self) -> SourcePosition:
        if self.root_position is None:
            self.root_position = _root_position(self.data, self.positions)
        return self.root_position


@dataclass(frozen=True, slots=True)
class _CompactContent:
    """A document's content as a text, which is rarely needed after the document was parsed."""

    text: bytes

    @property
    def data(self) -> Any:
        return _load_text(self.text)[0]

    @property
    def position(self) -> SourcePosition:
        return _position_of(self.text)


@lru_cache(maxsize=_RECENT_DOCUMENTS)
def _load_text(text: bytes) -> tuple[Any, str]:
    """Return the data and positions of a text; cached, since callers ask several times in a row."""
    data, positions = json.loads(text)
    return data, positions


@lru_cache(maxsize=_RECENT_DOCUMENTS)
def _position_of(text: bytes) -> SourcePosition:
    return _root_position(*_load_text(text))


def _positions_text(position: SourcePosition) -> str:
    """Return a position and those below it as numbers, four each, in the order of their values."""
    numbers: list[int] = []
    _add_numbers(position, numbers)
    return " ".join(map(str, numbers))


def _add_numbers(position: SourcePosition, numbers: list[int]) -> None:
    numbers += (position.line, position.column, position.key_line, position.key_column)
    for child in position.children.values():
        _add_numbers(child, numbers)


def _root_position(data: Any, positions: str) -> SourcePosition:
    """The inverse of `_positions_text`."""
    return _position_from_numbers(data, map(int, positions.split()))


def _position_from_numbers(data: Any, numbers: Iterator[int]) -> SourcePosition:
    own_numbers = (next(numbers), next(numbers), next(numbers), next(numbers))
    if isinstance(data, dict):
        return SourcePosition(
            *own_numbers,
            {key: _position_from_numbers(value, numbers) for key, value in data.items()},
        )
    if isinstance(data, list):
        return SourcePosition(
            *own_numbers,
            {index: _position_from_numbers(value, numbers) for index, value in enumerate(data)},
        )
    return SourcePosition(*own_numbers, NO_CHILDREN)
