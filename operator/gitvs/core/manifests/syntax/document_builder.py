"""Builds a document, with the place of every value, from the events of a parser.

What YAML and JSON have in common is refused here: equal keys, keys that are not text,
nesting without end, and values that no output could carry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gitvs.core.manifests.syntax.source_positions import NO_CHILDREN, Place, pointer_of, shown
from gitvs.core.problems import Problem

MAX_DEPTH = 64
MAX_NODES = 1_000_000
MAX_ALIASED_NODES = 10_000


class Unreadable(Exception):
    """The rest of this file, or of this document, cannot be read; says why."""

    def __init__(self, line: int, column: int, rule: str, message: str) -> None:
        super().__init__(message)
        self.line, self.column, self.rule, self.message = line, column, rule, message

    def problem(self, file: str) -> Problem:
        """Return it as a problem of a file."""
        return Problem(file, self.line, self.column, "", self.rule, self.message)


@dataclass(slots=True)
class Node:
    """A value under construction. `nodes` counts it and all within, aliases included."""

    value: Any
    place: Place
    anchor: str | None = None
    nodes: int = 1


_NO_KEY = object()


def nested_too_deep(line: int, column: int) -> Unreadable:
    """Return the refusal of a document without an end to its nesting."""
    message = f"nested more than {MAX_DEPTH} levels deep; no manifest needs over 12"
    return Unreadable(line, column, "nesting-too-deep", message)


class DocumentBuilder:
    """Takes the events of one document in order; `root` is the result."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self.file = file
        self._open: list[Node] = []
        self._keys: list[tuple[Any, int, int]] = []
        self._anchors: dict[str, Node] = {}
        self._aliased_nodes = 0
        self._nodes = 0

    def report(self, line: int, column: int, rule: str, message: str) -> None:
        """Note a problem, and read on."""
        pointer = pointer_of(self._path())
        self.problems.append(Problem(self.file, line, column, pointer, rule, message))

    def _path(self) -> list[str | int]:
        """Return the way to the innermost open mapping or list."""
        inner = zip(self._open[:-1], self._keys[:-1], strict=True)
        return [len(n.value) if type(n.value) is list else key[0] for n, key in inner]

    def begin(self, container: Any, line: int, column: int, anchor: str | None = None) -> None:
        """A mapping (`{}`) or a list (`[]`) begins."""
        if len(self._open) >= MAX_DEPTH:
            raise nested_too_deep(line, column)
        if self._awaits_key():
            raise Unreadable(
                line, column, "key-not-text", "a list or mapping is used as a key; keys are text"
            )
        self._open.append(Node(container, Place(line, column), anchor))
        self._keys.append((_NO_KEY, 0, 0))

    def end(self) -> None:
        """The innermost mapping or list ends."""
        self._keys.pop()
        self._close(self._open.pop())

    def scalar(self, value: Any, line: int, column: int, anchor: str | None = None) -> None:
        """A text, number, true, false or null; or a key, where a mapping awaits one."""
        if type(value) is str and not value.isascii():
            _refuse_surrogates(value, line, column)
        if self._awaits_key():
            self._keys[-1] = (self._key(value, line, column), line, column)
        else:
            self._close(Node(value, Place(line, column, children=NO_CHILDREN), anchor))

    def alias(self, anchor: str, line: int, column: int) -> None:
        """The value of an earlier anchor once more."""
        node = self._anchors.get(anchor)
        if node is None:
            message = f"alias *{anchor} has no anchor &{anchor} completed before it"
            raise Unreadable(line, column, "unknown-alias", message)
        self._aliased_nodes += node.nodes
        if self._aliased_nodes > MAX_ALIASED_NODES:
            raise Unreadable(
                line,
                column,
                "aliases-explode",
                f"aliases add more than {MAX_ALIASED_NODES} values to this document; "
                "write the values out, or use a Pool or Defaults document",
            )
        if self._awaits_key():
            raise Unreadable(line, column, "key-not-text", f"alias *{anchor} is used as a key")
        self._close(Node(node.value, node.place, None, node.nodes))

    def _awaits_key(self) -> bool:
        return bool(
            self._open and type(self._open[-1].value) is dict and self._keys[-1][0] is _NO_KEY
        )

    def _key(self, value: Any, line: int, column: int) -> Any:
        if type(value) is str:
            if value in self._open[-1].value:
                first = self._open[-1].place.children[value].key_line
                self.report(
                    line,
                    column,
                    "duplicate-key",
                    f"key {shown(value)} is here for the second time, first in line {first}; "
                    "remove one of the two",
                )
                return None
            return value
        text = shown(value)
        self.report(
            line, column, "key-not-text", f'key {text} is not text; put it in quotes: "{text}"'
        )
        return None

    def _close(self, node: Node) -> None:
        if node.anchor is not None:
            self._anchors[node.anchor] = node
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Unreadable(
                node.place.line, node.place.column, "too-large", f"more than {MAX_NODES} values"
            )
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.nodes += node.nodes
        if type(parent.value) is list:
            parent.place.children[len(parent.value)] = node.place
            parent.value.append(node.value)
            return
        key, line, column = self._keys[-1]
        self._keys[-1] = (_NO_KEY, 0, 0)
        if key is not None:
            parent.value[key] = node.value
            place = node.place
            if place.key_line:  # an aliased value keeps its own children, under another key
                place = Place(place.line, place.column, line, column, place.children)
            place.key_line, place.key_column = line, column
            parent.place.children[key] = place


def _refuse_surrogates(text: str, line: int, column: int) -> None:
    if any("\ud800" <= c <= "\udfff" for c in text):
        message = "half of a surrogate pair (\\ud800 to \\udfff) is not a character"
        raise Unreadable(line, column, "not-utf-8", message)
