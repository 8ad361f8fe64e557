"""What the store records of one incarnation: what gitvs owns, drains, and would put back."""

from __future__ import annotations

from collections.abc import (
    Mapping,
)
from dataclasses import dataclass, field

from gitvs.core.model.resources import Key, Resource


@dataclass(frozen=True, slots=True)
class Drain:
    """A real server on its way out. `deadline_seconds` is CLOCK_BOOTTIME of this incarnation."""

    key: Key
    timeout_seconds: float
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of one network namespace: what was true in another is void here."""

    boot_id: str
    namespace_cookie: int

    def __str__(self) -> str:
        return f"{self.boot_id}/{self.namespace_cookie}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the store records of one incarnation: what gitvs owns, drains, and would put back."""

    owned: frozenset[Key] = frozenset()
    drains: Mapping[Key, Drain] = field(default_factory=dict)
    saved_settings: Mapping[Key, Resource] = field(default_factory=dict)
    """Sysctls and timeouts as they were before gitvs set them."""
