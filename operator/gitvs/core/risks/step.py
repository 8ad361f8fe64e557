"""What every rule looks at: the step that one director takes, from what, on which host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from gitvs.core.model import (
    Desired,
    Endpoint,
    IPAddress,
    LocalRoute,
    Observation,
    RealServer,
    State,
    Sysctl,
    Vip,
    VirtualService,
)
from gitvs.core.plan import Plan

R = TypeVar("R", RealServer, Vip, VirtualService)


@dataclass(frozen=True, slots=True)
class Step:
    """One director's way from what is in force to what is desired; `host` is what is known of it.

    `own` are the addresses that are the director's, as far as is known.
    """

    applied: Desired | None
    desired: Desired
    plan: Plan
    host: Observation | None
    own: frozenset[IPAddress]

    @property
    def before(self) -> State:
        return State() if self.applied is None else self.applied.state

    @property
    def after(self) -> State:
        return self.desired.state

    def changed(self, kind: type[R]) -> Iterator[tuple[R | None, R]]:
        """Yield what the plan makes or changes of what is desired, with what it was."""
        for change in self.plan.changes:
            after = self.after.get(change.key)
            if isinstance(after, kind) and change.after is not None:
                yield (change.before if isinstance(change.before, kind) else None), after

    def leaving(self, kind: type[R]) -> Iterator[R]:
        """Yield what was in force and is desired no longer, where the plan acts on it."""
        for change in self.plan.changes:
            before = self.before.get(change.key)
            if isinstance(before, kind) and change.key not in self.after:
                yield before

    def setting(self, *names: str) -> str | None:
        """Return a setting as it will be, as far as is known; `names` are names of one."""
        for state in (self.after, self.host.state if self.host else State()):
            for name in names:
                if isinstance(found := state.get(Sysctl(name, "").key), Sysctl):
                    return found.value
        return None

    def is_local(self, address: IPAddress) -> bool:
        """Whether a real server's address is the director's own."""
        if address.is_loopback or address in self.own:
            return True
        return any(address in route.prefix for route in self.after.of(LocalRoute))


def step_of(
    applied: Desired | None, desired: Desired, plan: Plan, host: Observation | None
) -> Step:
    """Return the step of one director."""
    own = {v.address for v in desired.state.of(Vip)}
    listeners = (s.listener for s in desired.state.of(VirtualService))
    own |= {x.address for x in listeners if isinstance(x, Endpoint)}
    if host is not None:
        own |= {address for link in host.links.values() for address in link.addresses}
    return Step(applied, desired, plan, host, frozenset(own))
