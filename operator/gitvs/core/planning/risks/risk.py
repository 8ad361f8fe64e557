"""A risk and its wording: objects with the same risk share one note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gitvs.core.model.resources import Key

_MAX_NAMES = 3


@dataclass(frozen=True, slots=True)
class Risk:
    """One note. `name` is the rule's; `key` is the object concerned, if it is a single one."""

    name: str
    message: str
    key: Key | None = None


def risk_for(name: str, keys: Sequence[Key], message: str) -> Risk:
    """Return a note about these objects."""
    return Risk(name, message, keys[0] if len(keys) == 1 else None)


def counted_names(noun: str, names: Sequence[str]) -> str:
    """Return `VIP a`, `2 VIPs (a, b)` or `12 VIPs (a, b, c and 9 more)`."""
    if len(names) == 1:
        return f"{noun} {names[0]}"
    return f"{len(names)} {noun}s ({names_text(names)})"


def names_text(names: Sequence[str], max_names: int = _MAX_NAMES) -> str:
    """Return `a, b, c and 9 more`."""
    listed = ", ".join(names[:max_names])
    return f"{listed} and {len(names) - max_names} more" if len(names) > max_names else listed
