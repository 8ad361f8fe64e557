"""Documents with the position of every value, so that each problem points at its value.

Reading bytes is left to `yaml_documents` and `json_documents`; what a document may contain, to
`schema`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gitvs.core.problems import Problem, printable

ValuePath = tuple[str | int, ...]
"""The path to a value from the root of its document: field names and list indexes."""

MAX_VALUE_TEXT_CHARACTERS = 60


@dataclass(slots=True)
class SourcePosition:
    """The position of a value and of its key; line and column count from 1."""

    line: int
    column: int
    key_line: int = 0
    key_column: int = 0
    children: dict[str | int, SourcePosition] = field(default_factory=dict)


NO_CHILDREN: dict[str | int, SourcePosition] = {}
"""The children of every scalar, of which there are many; never modified."""


class DocumentContent(Protocol):
    """The values of a document, and their positions."""

    @property
    def data(self) -> Any:
        """The values."""
        ...

    @property
    def position(self) -> SourcePosition:
        """The position of the root, and below it all others."""
        ...


@dataclass(frozen=True, slots=True)
class ParsedContent:
    """A document's content as it was parsed."""

    data: Any
    position: SourcePosition


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One document of a manifest file; `is_well_formed` is False if parsing it found problems.

    `kind` is the value of its field `kind`, valid or not; None without one.
    """

    file: str
    content: DocumentContent
    is_well_formed: bool = True
    kind: Any = field(init=False)

    def __post_init__(self) -> None:
        data = self.content.data
        object.__setattr__(self, "kind", data.get("kind") if isinstance(data, dict) else None)

    @property
    def data(self) -> Any:
        return self.content.data

    @property
    def position(self) -> SourcePosition:
        return self.content.position

    def position_of(self, path: ValuePath) -> SourcePosition:
        """Return the position of a value, or of its nearest parent that was written."""
        position = self.position
        for step in path:
            child_position = position.children.get(step)
            if child_position is None:
                break
            position = child_position
        return position

    def problem(self, path: ValuePath, rule: str, message: str, *, at_key: bool = False) -> Problem:
        """Return a problem with the value at `path`, or with its key."""
        position = self.position_of(path)
        if at_key and position.key_line:
            line, column = position.key_line, position.key_column
        else:
            line, column = position.line, position.column
        return Problem(self.file, line, column, json_pointer(path), rule, message)


@dataclass(frozen=True, slots=True)
class Origin:
    """The document and path at which a typed value was written.

    All origins are equal, so that typed values are equal wherever they were written.
    """

    document: Document = field(compare=False)
    path: ValuePath = field(default=(), compare=False)
    _line: int = field(default=0, init=False, compare=False, repr=False)

    def __truediv__(self, step: str | int) -> Origin:
        return Origin(self.document, (*self.path, step))

    def __str__(self) -> str:
        return f"{printable(self.document.file)}:{self.line}"

    @property
    def line(self) -> int:
        """The line, looked up once, since many services share the real servers of a pool."""
        if not self._line:
            object.__setattr__(self, "_line", self.document.position_of(self.path).line)
        return self._line

    def problem(self, rule: str, message: str, *named: Origin) -> Problem:
        """Return a problem with this value; `named` are the origins that the message names."""
        problem = self.document.problem(self.path, rule, message)
        return replace(problem, named_places=tuple(map(str, named))) if named else problem


def json_pointer(path: Sequence[str | int]) -> str:
    """Return the JSON pointer of a path.

    Source: RFC 6901.
    """
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _start_of_json(value: object) -> str:
    """Return the JSON of a value, as far as a message may need it: a value may have megabytes."""
    if isinstance(value, str):
        return json.dumps(value[:MAX_VALUE_TEXT_CHARACTERS], ensure_ascii=False)
    text = ""
    for piece in _ENCODER.iterencode(value):
        text += piece[:MAX_VALUE_TEXT_CHARACTERS]
        if len(text) > MAX_VALUE_TEXT_CHARACTERS:
            break
    return text


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


def value_text(value: object) -> str:
    """Return a value for a message: shortened JSON on one line, without control characters."""
    text = printable(_start_of_json(value))
    if len(text) <= MAX_VALUE_TEXT_CHARACTERS:
        return text
    return text[: MAX_VALUE_TEXT_CHARACTERS - 1] + "…"
