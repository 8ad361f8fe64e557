"""The way back: from whatever a failed or interrupted plan left, to what was there before.

Undo looks at the kernel, not at a log of what was done. It is worked out step by step, each
from a fresh reading: first the new real servers get weight 0, so that no connection arrives
between looking and deleting; then what has no connections goes. A new server that has
connections by then stays to drain, with what its traffic needs. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gitvs.core.model.desired import Desired
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import (
    DummyInterface,
    Endpoint,
    Key,
    LocalRoute,
    RealServer,
    Resource,
    SyncDaemon,
    Sysctl,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.overlay import FALLBACK, drain_seconds, needed_by, with_fallback
from gitvs.core.planning.plan import Change, Phase, Plan, diff, order


@dataclass(frozen=True, slots=True)
class UndoStep:
    """The next plan on the way back; once it is empty, `ledger` is what is then in force."""

    plan: Plan
    ledger: Ledger


def undo_step(
    changes: Iterable[Change],
    conflicts: frozenset[Key],
    observation: Observation,
    ledger: Ledger,
    desired: Desired,
    boottime: float,
) -> UndoStep:
    """Return the next step back.

    `changes` and `ledger` are the transaction's as recorded at its beginning, `conflicts`
    the creates that found somebody else's object, `desired` what the plan was for.
    """
    now = observation.state
    forward = [c for c in changes if c.phase is not Phase.BREAK]
    taken = conflicts | _occupied(forward, now)
    before = {c.key: c.before for c in forward if not _is_out_of_reach(c, now, taken)}
    new = [s for s in _new_servers(before, now) if s.service_key not in conflicts]
    drains = {d.key: d for d in (_drain(s, observation, desired, boottime) for s in new) if d}
    loud = [s for s in new if s.weight > 0 and _is_quietable(s, now)]
    staying = [replace(s, weight=0) for s in new if s in loud or s.key in drains]
    needed = _needed(staying, before, now)
    services = {s.service_key: now[s.service_key] for s in staying}
    target = _target(before, services, staying, needed)
    reach = {*before, *services}
    present = State(r for key, r in now.items() if key in reach)
    return UndoStep(order(diff(present, target)), _ledger(ledger, drains, needed))


def _occupied(forward: Iterable[Change], now: State) -> frozenset[Key]:
    """The interfaces that hold addresses which the plan knows nothing of: they stay."""
    planned = {c.key for c in forward}
    return frozenset(DummyInterface(v.interface).key for v in now.of(Vip) if v.key not in planned)


def _is_out_of_reach(change: Change, now: State, conflicts: frozenset[Key]) -> bool:
    """Whether an undo must not touch this key: somebody else's object, or a setting that
    comes and goes with its interface."""
    if change.key in conflicts or (isinstance(change.after, Sysctl) and change.before is None):
        return True
    present = now.get(change.key)
    made_by_others = isinstance(present, VirtualService | SyncDaemon) and present != change.after
    return change.before is None and made_by_others and not _only_flags(present, change.after)


def _only_flags(present: Resource | None, after: Resource | None) -> bool:
    """Whether two services differ by flags alone, as an undo's own fallback flag does."""
    return (
        isinstance(present, VirtualService)
        and isinstance(after, VirtualService)
        and replace(present, flags=after.flags) == after
    )


def _new_servers(before: Mapping[Key, Resource | None], now: State) -> list[RealServer]:
    found = (now.get(key) for key, resource in before.items() if resource is None)
    return [r for r in found if isinstance(r, RealServer)]


def _drain(
    server: RealServer, observation: Observation, desired: Desired, boottime: float
) -> Drain | None:
    counts = observation.connections.get(server.key)
    timeout = drain_seconds(server.service_key, desired, None)
    if counts is None or counts.is_idle or timeout <= 0:
        return None
    return Drain(server.key, timeout, boottime + timeout)


def _is_quietable(server: RealServer, now: State) -> bool:
    """`sh` and `mh` would refuse clients of a server at weight 0, so there it goes at once."""
    service = now.get(server.service_key)
    return isinstance(service, VirtualService) and service.scheduler not in FALLBACK


def _needed(
    staying: Iterable[RealServer], before: Mapping[Key, Resource | None], now: State
) -> list[Resource]:
    """What the plan made and the traffic of staying servers needs: service, VIP, route, link.

    A service that was there before has what it needs.
    """
    listeners = {s.listener for s in staying}
    made = [now[key] for key, r in before.items() if r is None and key in now]
    services = [r for r in made if isinstance(r, VirtualService) and r.listener in listeners]
    bound = {v.address for v in now.of(Vip) if before.get(v.key, v) is not None}
    listening = (s.listener for s in services)
    is_needed = needed_by(
        x for x in listening if not (isinstance(x, Endpoint) and x.address in bound)
    )
    vips = [r for r in made if isinstance(r, Vip) and is_needed(r)]
    routes = [r for r in made if isinstance(r, LocalRoute) and is_needed(r)]
    links = {v.interface for v in vips}
    interfaces = [r for r in made if isinstance(r, DummyInterface) and r.name in links]
    return [*services, *vips, *routes, *interfaces]


def _target(
    before: Mapping[Key, Resource | None],
    services: Mapping[Key, Resource],
    staying: Iterable[RealServer],
    needed: Iterable[Resource],
) -> State:
    former = {key: r for key, r in before.items() if r is not None}
    kept = [r for key, r in services.items() if key not in before]
    return with_fallback(State([*kept, *needed, *staying, *former.values()]))


def _ledger(ledger: Ledger, drains: Mapping[Key, Drain], needed: Iterable[Resource]) -> Ledger:
    owned = {r.key for r in needed if isinstance(r, VirtualService | Vip | DummyInterface)}
    return Ledger(ledger.owned | owned, {**ledger.drains, **drains}, ledger.saved)
