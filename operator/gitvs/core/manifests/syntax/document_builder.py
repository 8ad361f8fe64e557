"""Builds a document, with the position of every value, from the events of a parser.

It rejects what is wrong in both YAML and JSON: duplicate keys, keys that are not text, nesting
that is too deep, and text that cannot be output as UTF-8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gitvs.core.checkpoint import Checkpoint, no_checkpoint
from gitvs.core.manifests.syntax.source_positions import (
    NO_CHILDREN,
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


@dataclass(slots=True)
class Node:
    """A value under construction; `node_count` counts it and all values in it, with aliases."""

    value: Any
    position: SourcePosition
    anchor: str | None = None
    node_count: int = 1


_NO_KEY = object()


def nested_too_deep(line: int, column: int) -> UnreadableDocument:
    """Return the error for a document that is nested too deep."""
    message = f"nested more than {MAX_DEPTH} levels deep; no manifest needs over 12"
    return UnreadableDocument(line, column, "nesting-too-deep", message)


class DocumentBuilder:
    """Takes the events of one document in order; `root` is the result."""

    def __init__(self, file: str, checkpoint: Checkpoint = no_checkpoint) -> None:
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self.file = file
        self._checkpoint = checkpoint
        self._open_nodes: list[Node] = []
        self._pending_keys: list[tuple[Any, int, int]] = []
        self._anchors: dict[str, Node] = {}
        self._aliased_node_count = 0
        self._node_count = 0

    def report(self, line: int, column: int, rule: str, message: str) -> None:
        """Record a problem, and continue."""
        pointer = json_pointer(self._open_path())
        self.problems.append(Problem(self.file, line, column, pointer, rule, message))

    def _open_path(self) -> list[str | int]:
        """Return the path to the innermost open mapping or list."""
        inner = zip(self._open_nodes[:-1], self._pending_keys[:-1], strict=True)
        return [len(n.value) if type(n.value) is list else key[0] for n, key in inner]

    def begin_container(
        self, container: Any, line: int, column: int, anchor: str | None = None
    ) -> None:
        """Begin a mapping (`{}`) or a list (`[]`)."""
        if len(self._open_nodes) >= MAX_DEPTH:
            raise nested_too_deep(line, column)
        if self._awaits_key():
            raise UnreadableDocument(
                line,
                column,
                "key-not-text",
                "a list or mapping is used as a key; keys are text (`{{ … }}` of a template has to"
                " be filled in before it is committed)",
            )
        self._open_nodes.append(Node(container, SourcePosition(line, column), anchor))
        self._pending_keys.append((_NO_KEY, 0, 0))

    def end_container(self) -> None:
        """End the innermost mapping or list."""
        self._pending_keys.pop()
        self._attach(self._open_nodes.pop())

    def add_scalar(self, value: Any, line: int, column: int, anchor: str | None = None) -> None:
        """Add a text, number, true, false or null; or a key, if a mapping awaits one."""
        if type(value) is str and not value.isascii():
            _reject_surrogates(value, line, column)
        if self._awaits_key():
            self._pending_keys[-1] = (self._checked_key(value, line, column), line, column)
        else:
            position = SourcePosition(line, column, children=NO_CHILDREN)
            node_count = 1 + len(value) // _CHARACTERS_PER_NODE if type(value) is str else 1
            self._attach(Node(value, position, anchor, node_count))

    def add_alias(self, anchor: str, line: int, column: int) -> None:
        """Add the value of an earlier anchor again."""
        node = self._anchors.get(anchor)
        if node is None:
            message = f"alias *{anchor} has no anchor &{anchor} completed before it"
            raise UnreadableDocument(line, column, "unknown-alias", message)
        self._aliased_node_count += node.node_count
        if self._aliased_node_count > MAX_ALIASED_NODES:
            raise UnreadableDocument(
                line,
                column,
                "aliases-explode",
                f"aliases add more than {MAX_ALIASED_NODES} values to this document; "
                "write the values out, or use a Pool or Defaults document",
            )
        if self._awaits_key():
            raise UnreadableDocument(
                line, column, "key-not-text", f"alias *{anchor} is used as a key"
            )
        self._attach(Node(node.value, node.position, None, node.node_count))

    def _awaits_key(self) -> bool:
        return bool(
            self._open_nodes
            and type(self._open_nodes[-1].value) is dict
            and self._pending_keys[-1][0] is _NO_KEY
        )

    def _checked_key(self, value: Any, line: int, column: int) -> Any:
        if type(value) is str:
            if value in self._open_nodes[-1].value:
                first = self._open_nodes[-1].position.children[value].key_line
                self.report(
                    line,
                    column,
                    "duplicate-key",
                    f"key {value_text(value)} is here for the second time, first in line {first}; "
                    "remove one of the two",
                )
                return None
            return value
        text = value_text(value)
        self.report(
            line, column, "key-not-text", f'key {text} is not text; put it in quotes: "{text}"'
        )
        return None

    def _attach(self, node: Node) -> None:
        if node.anchor is not None:
            self._anchors[node.anchor] = node
        self._node_count += 1
        if not self._node_count % _NODES_BETWEEN_CHECKPOINTS:
            self._checkpoint()
        if self._node_count > MAX_NODES:
            raise UnreadableDocument(
                node.position.line,
                node.position.column,
                "too-large",
                f"more than {MAX_NODES} values",
            )
        if not self._open_nodes:
            self.root = node
            return
        parent = self._open_nodes[-1]
        parent.node_count += node.node_count
        if type(parent.value) is list:
            parent.position.children[len(parent.value)] = node.position
            parent.value.append(node.value)
            return
        key, line, column = self._pending_keys[-1]
        self._pending_keys[-1] = (_NO_KEY, 0, 0)
        if key is not None:
            parent.value[key] = node.value
            position = node.position
            if position.key_line:  # an alias has the same children under another key
                position = SourcePosition(
                    position.line, position.column, line, column, position.children
                )
            position.key_line, position.key_column = line, column
            parent.position.children[key] = position


def _reject_surrogates(text: str, line: int, column: int) -> None:
    if any("\ud800" <= c <= "\udfff" for c in text):
        message = "half of a surrogate pair (\\ud800 to \\udfff) is not a character"
        raise UnreadableDocument(line, column, "not-utf-8", message)
