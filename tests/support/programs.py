"""Counts programs that this process starts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_GIT_COMMANDS = frozenset(
    {"cat-file", "fetch", "for-each-ref", "ls-tree", "merge-base", "rev-list", "rev-parse"}
    | {"update-ref", "verify-commit", "log"}
)
_lists: list[tuple[str, list[str]]] = []


def _note_program(event: str, details: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and _lists:
        words = list(map(str, details[1]))
        name = next((word for word in words if word in _GIT_COMMANDS), words[0])
        for text, started in _lists:
            if any(text in word for word in words):
                started.append(name)


sys.addaudithook(_note_program)  # Python has no way to remove one


@contextmanager
def started_programs(text: object = "") -> Iterator[list[str]]:
    """Note what is started in the block, in any thread: commands of Git, and other programs.

    Only those count that have the text in one of their arguments.
    """
    started: list[str] = []
    entry = str(text), started
    _lists.append(entry)
    try:
        yield started
    finally:
        _lists.remove(entry)
