"""Builds a document, with the position of every value, from the events of a parser.

It rejects what is wrong in both YAML and JSON: duplicate keys, keys that are not text, nesting
that is too deep, and text that cannot be output as UTF-8.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gitvs.core.checkpoint import Checkpoint, no_checkpoint
from gitvs.core.manifests.syntax.source_positions import (
    NO_CHILDREN,
    ParsedContent,
    SourcePosition,
    json_pointer,
    value_text,
)
from gitvs.core.problems import Problem

MAX_DEPTH = 64
MAX_NODES = 1_000_000
MAX_ALIASED_NODES = 10_000
_NODES_BETWEEN_CHECKPOINTS = 1024
_CHARACTERS_PER_NODE = 100
"""A longer text counts as several values, where an alias repeats it."""


class UnreadableDocument(Exception):
    """The rest of this document or file cannot be read; `message` says why."""

    def __init__(self, line: int, column: int, rule: str, message: str) -> None:
        super().__init__(message)
        self.line, self.column, self.rule, self.message = line, column, rule, message

    def problem(self, file: str) -> Problem:
        """Return this error as a problem of a file."""
        return Problem(file, self.line, self.column, "", self.rule, self.message)


_AWAITED: Any = object()
"""In the place of a key: the next value is one."""


def nested_too_deep(line: int, column: int) -> UnreadableDocument:
    """Return the error for a document that is nested too deep."""
    message = f"nested more than {MAX_DEPTH} levels deep; no manifest needs over 12"
    return UnreadableDocument(line, column, "nesting-too-deep", message)


class _Open(NamedTuple):
    """A mapping or list that is not complete; `container` is None outside of the root."""

    container: Any = None
    position: SourcePosition = SourcePosition(0, 0)
    anchor: str | None = None
    key: Any = None
    key_line: int = 0
    key_column: int = 0


class DocumentBuilder:
    """Takes the events of one document in order; `root` is the result.

    The innermost container is spread over attributes: this takes most of the time of loading,
    and an object for each value would make it a third longer.
    """

    def __init__(self, file: str, checkpoint: Checkpoint = no_checkpoint) -> None:
        self.problems: list[Problem] = []
        self.root: ParsedContent | None = None
        self.file = file
        self._checkpoint = checkpoint
        self._outer: list[_Open] = []
        self._container, self._position, self._anchor, self._key, _, _ = _Open()
        self._key_line = self._key_column = 0
        self._anchors: dict[str, tuple[Any, SourcePosition]] = {}
        self._aliased_counts: dict[str, int] = {}
        self._aliased_node_count = 0
        self._node_count = 0
        self._next_checkpoint = _NODES_BETWEEN_CHECKPOINTS

    def report(self, line: int, column: int, rule: str, message: str) -> None:
        """Record a problem, and continue."""
        pointer = json_pointer(self._open_path())
        self.problems.append(Problem(self.file, line, column, pointer, rule, message))

    def _open_path(self) -> list[str | int]:
        """Return the path to the innermost open mapping or list."""
        return [
            len(outer.container) if type(outer.container) is list else outer.key
            for outer in self._outer[1:]
        ]

    def begin_container(
        self, container: Any, line: int, column: int, anchor: str | None = None
    ) -> None:
        """Begin a mapping (`{}`) or a list (`[]`)."""
        if len(self._outer) >= MAX_DEPTH:
            raise nested_too_deep(line, column)
        if self._key is _AWAITED:
            raise UnreadableDocument(
                line,
                column,
                "key-not-text",
                "a list or mapping is used as a key; keys are text (`{{ … }}` of a template has to"
                " be filled in before it is committed)",
            )
        self._outer.append(
            _Open(
                self._container,
                self._position,
                self._anchor,
                self._key,
                self._key_line,
                self._key_column,
            )
        )
        self._container, self._anchor = container, anchor
        self._position = SourcePosition(line, column)
        self._key = _AWAITED if type(container) is dict else None

    def end_container(self) -> None:
        """End the innermost mapping or list."""
        value, position, anchor = self._container, self._position, self._anchor
        (
            self._container,
            self._position,
            self._anchor,
            self._key,
            self._key_line,
            self._key_column,
        ) = self._outer.pop()
        self._attach(value, position, anchor)

    def add_scalar(self, value: Any, line: int, column: int, anchor: str | None = None) -> None:
        """Add a text, number, true, false or null; or a key, if a mapping awaits one."""
        if type(value) is str and not value.isascii():
            _reject_surrogates(value, line, column)
        if self._key is _AWAITED:
            self._key_line, self._key_column = line, column
            if type(value) is str and value not in self._container:
                self._key = value
            else:
                self._key = None
                self._report_key(value, line, column)
        else:
            self._attach(value, SourcePosition(line, column, 0, 0, NO_CHILDREN), anchor)

    def add_alias(self, anchor: str, line: int, column: int) -> None:
        """Add the value of an earlier anchor again."""
        if anchor not in self._anchors:
            message = f"alias *{anchor} has no anchor &{anchor} completed before it"
            raise UnreadableDocument(line, column, "unknown-alias", message)
        value, position = self._anchors[anchor]
        if anchor not in self._aliased_counts:
            self._aliased_counts[anchor] = _count_nodes(value)
        self._aliased_node_count += self._aliased_counts[anchor]
        if self._aliased_node_count > MAX_ALIASED_NODES:
            raise UnreadableDocument(
                line,
                column,
                "aliases-explode",
                f"aliases add more than {MAX_ALIASED_NODES} values to this document; "
                "write the values out, or use a Pool or Defaults document",
            )
        if self._key is _AWAITED:
            raise UnreadableDocument(
                line, column, "key-not-text", f"alias *{anchor} is used as a key"
            )
        self._attach(value, position, None)

    def _report_key(self, value: Any, line: int, column: int) -> None:
        """Report a key that is a duplicate, or no text."""
        text = value_text(value)
        if type(value) is str:
            first = self._position.children[value].key_line
            message = f"key {text} is repeated; it is first in line {first}; "
            self.report(line, column, "duplicate-key", f"{message}remove one of the two")
        else:
            message = f'key {text} is not text; put it in quotes: "{text}"'
            self.report(line, column, "key-not-text", message)

    def _attach(self, value: Any, position: SourcePosition, anchor: str | None) -> None:
        """Add a complete value to the innermost container."""
        if anchor is not None:
            self._anchors[anchor] = value, position
            self._aliased_counts.pop(anchor, None)
        self._node_count += 1
        if self._node_count == self._next_checkpoint:
            self._check_node_count(position)
        container = self._container
        if type(container) is list:
            self._position.children[len(container)] = position
            container.append(value)
        elif container is None:
            self.root = ParsedContent(value, position)
        else:
            key, self._key = self._key, _AWAITED
            if key is None:
                return
            container[key] = value
            if position.key_line:  # an alias has the same children under another key
                position = SourcePosition(position.line, position.column, 0, 0, position.children)
            position.key_line, position.key_column = self._key_line, self._key_column
            self._position.children[key] = position

    def _check_node_count(self, position: SourcePosition) -> None:
        self._checkpoint()
        if self._node_count > MAX_NODES:
            raise UnreadableDocument(
                position.line, position.column, "too-large", f"more than {MAX_NODES} values"
            )
        next_checkpoint = self._node_count + _NODES_BETWEEN_CHECKPOINTS
        self._next_checkpoint = min(next_checkpoint, MAX_NODES + 1)


def _count_nodes(value: Any) -> int:
    """Count a value and all values in it, with aliases; at most a few more than matter."""
    count = 0
    pending = [value]
    while pending and count <= MAX_ALIASED_NODES:
        node = pending.pop()
        count += 1
        if type(node) is str:
            count += len(node) // _CHARACTERS_PER_NODE
        elif type(node) is dict:
            pending += node.values()
        elif type(node) is list:
            pending += node
    return count


def _reject_surrogates(text: str, line: int, column: int) -> None:
    if any("\ud800" <= c <= "\udfff" for c in text):
        message = "half of a surrogate pair (\\ud800 to \\udfff) is not a character"
        raise UnreadableDocument(line, column, "not-utf-8", message)
