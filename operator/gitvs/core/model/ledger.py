"""What the store records about one incarnation: owned keys, drains and original settings."""

from __future__ import annotations

from collections.abc import (
    Mapping,
)
from dataclasses import dataclass, field

from gitvs.core.model.resources import Key, Resource


@dataclass(frozen=True, slots=True)
class Drain:
    """A draining real server; `deadline_seconds` is on the CLOCK_BOOTTIME of this incarnation."""

    key: Key
    timeout_seconds: float
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of one network namespace; records of another incarnation are not valid in it."""

    boot_id: str
    namespace_cookie: int

    def __str__(self) -> str:
        return f"{self.boot_id}/{self.namespace_cookie}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the store records about one incarnation: owned keys, drains and original settings."""

    owned: frozenset[Key] = frozenset()
    drains: Mapping[Key, Drain] = field(default_factory=dict)
    saved_settings: Mapping[Key, Resource] = field(default_factory=dict)
    """Sysctls and timeouts as they were before gitvs set them."""
