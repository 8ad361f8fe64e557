"""What the manifests of one commit say that one director should have, and where they say it."""

from __future__ import annotations

from collections.abc import (
    Mapping,
)
from dataclasses import dataclass, field

from gitvs.core.model.resources import IPAddress, Key
from gitvs.core.model.state import State


@dataclass(frozen=True, slots=True)
class ManifestLocation:
    """Where something was written: file relative to the chosen path, line from 1."""

    service: str | None
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of the gates (design section 5); percentages are 0 to 100."""

    max_removed_percent: float = 30
    max_capacity_drop_percent: float = 50
    ignore_below_objects: int = 10
    protected_vips: frozenset[IPAddress] = frozenset()
    location: ManifestLocation | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Desired:
    """What the manifests of one commit say that one director should have.

    `drain_seconds` is per virtual service. `locations` is for people: it never takes part in
    a comparison, a digest or a decision.
    """

    director: str
    interface: str
    state: State
    drain_seconds: Mapping[Key, float] = field(default_factory=dict)
    policy: Policy = Policy()
    locations: Mapping[Key, ManifestLocation] = field(default_factory=dict, compare=False)
    server_names: Mapping[Key, str] = field(default_factory=dict, compare=False)
    """What people call the real servers that they gave a name."""
    is_standby: bool = False
    """Whether this director is to be without VIPs and local routes, at once."""
