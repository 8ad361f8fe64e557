"""What every rule looks at: the step that one director takes, from what, on which host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from gitvs.core.model.desired import Desired
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import (
    Endpoint,
    FirewallMark,
    IPAddress,
    IPNetwork,
    Key,
    LocalRoute,
    RealServer,
    Resource,
    Sysctl,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.plan import Plan

R = TypeVar("R", RealServer, Vip, VirtualService)


@dataclass(frozen=True, slots=True)
class Step:
    """One director's way from what is in force to what is desired, and what its host is like."""

    applied: Desired | None
    desired: Desired
    plan: Plan
    host: Observation | None
    vips: frozenset[IPAddress]
    """What is bound in the end."""
    prefixes: tuple[IPNetwork, ...]
    """What is local by a route in the end."""
    others: frozenset[IPAddress]
    """More addresses of the director, as far as they are known."""
    served: frozenset[IPAddress]
    """What virtual services listen on in the end, but for marks."""
    has_marks: bool

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
        return address in self.vips or any(address in prefix for prefix in self.prefixes)

    def is_local(self, address: IPAddress) -> bool:
        """Whether a real server's address is the director's own."""
        return address.is_loopback or address in self.others or self.is_bound(address)


def step_of(
    applied: Desired | None, desired: Desired, plan: Plan, host: Observation | None
) -> Step:
    """Return the step of one director."""
    state = desired.state
    listeners = [s.listener for s in state.of(VirtualService)]
    served = frozenset(x.address for x in listeners if isinstance(x, Endpoint))
    links = host.links.values() if host is not None else ()
    return Step(
        applied,
        desired,
        plan,
        host,
        vips=frozenset(vip.address for vip in state.of(Vip)),
        prefixes=tuple(route.prefix for route in state.of(LocalRoute)),
        others=served | {address for link in links for address in link.addresses},
        served=served,
        has_marks=any(isinstance(x, FirewallMark) for x in listeners),
    )
