"""The input of every rule: the step of one director, from which state, on which host."""

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
class RiskContext:
    """One director's step from applied to desired state, and what is known of its host."""

    applied: Desired | None
    desired: Desired
    plan: Plan
    observation: Observation | None
    bound_vips: frozenset[IPAddress]
    """The VIPs that are bound after the step."""
    local_prefixes: tuple[IPNetwork, ...]
    """The prefixes that local routes cover after the step."""
    other_local_addresses: frozenset[IPAddress]
    """Further addresses of the director, as far as they are known."""
    served_addresses: frozenset[IPAddress]
    """The addresses of virtual services after the step, except those of firewall marks."""
    has_firewall_marks: bool

    @property
    def before(self) -> State:
        return State() if self.applied is None else self.applied.state

    @property
    def after(self) -> State:
        return self.desired.state

    def changed(self, resource_type: type[R]) -> Iterator[tuple[R | None, R]]:
        """Yield the desired objects that the plan creates or changes, with what they were."""
        first_before: dict[Key, Resource | None] = {}
        for change in self.plan.changes:  # a service may change in two steps
            first_before.setdefault(change.key, change.before)
        for key, before in first_before.items():
            if isinstance(after := self.after.get(key), resource_type):
                yield (before if isinstance(before, resource_type) else None), after

    def removed(self, resource_type: type[R]) -> list[R]:
        """Return the objects that were applied and are no longer desired; they may drain first."""
        return [r for r in self.before.of_type(resource_type) if r.key not in self.after]

    def sysctl_value(self, *names: str) -> str | None:
        """Return a sysctl's value after the step, if known; `names` are names of one setting."""
        for state in (self.after, self.observation.state if self.observation else State()):
            for name in names:
                if isinstance(found := state.get(Sysctl(name, "").key), Sysctl):
                    return found.value
        return None

    def is_bound(self, address: IPAddress) -> bool:
        """Whether desired state makes an address local."""
        return address in self.bound_vips or any(
            address in prefix for prefix in self.local_prefixes
        )

    def is_local(self, address: IPAddress) -> bool:
        """Whether a real server's address is the director's own."""
        return (
            address.is_loopback or address in self.other_local_addresses or self.is_bound(address)
        )


def risk_context(
    applied: Desired | None, desired: Desired, plan: Plan, observation: Observation | None
) -> RiskContext:
    """Return the context of one director's step."""
    state = desired.state
    listeners = [s.listener for s in state.of_type(VirtualService)]
    served_addresses = frozenset(x.address for x in listeners if isinstance(x, Endpoint))
    links = observation.links.values() if observation is not None else ()
    return RiskContext(
        applied,
        desired,
        plan,
        observation,
        bound_vips=frozenset(vip.address for vip in state.of_type(Vip)),
        local_prefixes=tuple(route.prefix for route in state.of_type(LocalRoute)),
        other_local_addresses=served_addresses
        | {address for link in links for address in link.addresses},
        served_addresses=served_addresses,
        has_firewall_marks=any(isinstance(x, FirewallMark) for x in listeners),
    )
