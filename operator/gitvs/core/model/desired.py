"""The desired state of one director at one commit, and where the manifests define it."""

from __future__ import annotations

from collections.abc import (
    Mapping,
)
from dataclasses import dataclass, field

from gitvs.core.model.health import Health
from gitvs.core.model.resources import IPAddress, Key
from gitvs.core.model.state import State

DEFAULT_SYSCTLS = {
    "net.ipv4.vs.expire_quiescent_template": "1",
    "net.ipv4.vs.expire_nodest_conn": "1",
}
"""The settings of every director, unless its manifest gives them another value."""


@dataclass(frozen=True, slots=True)
class ManifestLocation:
    """The file and line of a definition; `file` is relative to the chosen path, `line` from 1."""

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
    """The desired state of one director at one commit.

    `drain_seconds` is per virtual service. `locations` is only for people: no comparison, digest
    or decision uses it.
    """

    director: str
    interface: str
    state: State
    drain_seconds: Mapping[Key, float] = field(default_factory=dict)
    policy: Policy = Policy()
    locations: Mapping[Key, ManifestLocation] = field(default_factory=dict, compare=False)
    server_names: Mapping[Key, str] = field(default_factory=dict, compare=False)
    """The names of the real servers that have one in the manifests."""
    is_standby: bool = False
    """Whether this director should have neither VIPs nor local routes, even for drains."""
    health: Mapping[Key, Health] = field(default_factory=dict)
    """How the real servers of a virtual service are checked; it has no entry if they are not."""
