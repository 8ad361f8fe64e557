"""A risk, and how it is put: many objects that are alike make one note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gitvs.core.model.resources import Key

_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Risk:
    """One thing to know. `name` is the rule's; `key` is the object it is about, if it is one."""

    name: str
    message: str
    key: Key | None = None


def risk(name: str, keys: Sequence[Key], message: str) -> Risk:
    """Return a note about these objects."""
    return Risk(name, message, keys[0] if len(keys) == 1 else None)


def several(noun: str, names: Sequence[str]) -> str:
    """Return `VIP a`, `2 VIPs (a, b)` or `12 VIPs (a, b, c and 9 more)`."""
    if len(names) == 1:
        return f"{noun} {names[0]}"
    return f"{len(names)} {noun}s ({some(names)})"


def some(names: Sequence[str], most: int = _MOST_NAMES) -> str:
    """Return `a, b, c and 9 more`."""
    listed = ", ".join(names[:most])
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed
