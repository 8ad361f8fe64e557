"""What health says of the real servers of one director, and desired state with that on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gitvs.core.model.desired import Desired
from gitvs.core.model.resources import Key, RealServer


class OutBy(StrEnum):
    """How a real server that does not serve is kept from serving."""

    WEIGHT = "weight"
    """Its weight is 0: open connections go on."""
    REMOVAL = "removal"
    """It is not there: its connections end."""


@dataclass(frozen=True, slots=True)
class Serving:
    """Which real servers do not serve.

    `changed` are the real servers for which this differs from the last pass. `held` are real
    servers that the manifests no longer have, and that go on serving until newcomers take their
    place.
    """

    out: Mapping[Key, OutBy] = field(default_factory=dict)
    changed: frozenset[Key] = frozenset()
    held: frozenset[Key] = frozenset()

    @property
    def removed(self) -> frozenset[Key]:
        """The real servers that are removed without a drain."""
        return frozenset(key for key, out_by in self.out.items() if out_by is OutBy.REMOVAL)


EVERYBODY_SERVES = Serving()


def with_health(desired: Desired, serving: Serving) -> Desired:
    """Return desired state without the weight of the real servers that do not serve.

    One that an operator has removed or drained stays so.
    """
    idle, removed = [], []
    for key, out_by in serving.out.items():
        server = desired.state.get(key)
        if not isinstance(server, RealServer):
            continue
        if out_by is OutBy.REMOVAL:
            removed.append(key)
        elif server.weight:
            idle.append(replace(server, weight=0))
    if not idle and not removed:
        return desired
    return replace(desired, state=desired.state.with_changes(idle, removed))
