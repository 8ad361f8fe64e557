"""What every rule looks at: the step that one director takes, from what, on which host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from gitvs.core.model import (
    Desired,
    Endpoint,
    IPAddress,
    Key,
    LocalRoute,
    Observation,
    RealServer,
    Resource,
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
        firsts: dict[Key, Resource | None] = {}
        for change in self.plan.changes:  # a service may change in two steps
            firsts.setdefault(change.key, change.before)
        for key, before in firsts.items():
            if isinstance(after := self.after.get(key), kind):
                yield (before if isinstance(before, kind) else None), after

    def leaving(self, kind: type[R]) -> list[R]:
        """Return what was in force and is desired no longer; it may drain first."""
        return [r for r in self.before.of(kind) if r.key not in self.after]

    def setting(self, *names: str) -> str | None:
        """Return a setting as it will be, as far as is known; `names` are names of one."""
        for state in (self.after, self.host.state if self.host else State()):
            for name in names:
                if isinstance(found := state.get(Sysctl(name, "").key), Sysctl):
                    return found.value
        return None

    def is_bound(self, address: IPAddress) -> bool:
        """Whether an address is made local by what is desired."""
        if any(vip.address == address for vip in self.after.of(Vip)):
            return True
        return any(address in route.prefix for route in self.after.of(LocalRoute))

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
