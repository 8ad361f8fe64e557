"""The steps that undo a failed or interrupted plan, or finish it.

Undo reads the kernel, not a log of what was done. Each step is computed from a fresh reading. First
the new real servers get weight 0, so that no connection arrives between reading and deleting; then
those without connections are removed. A new real server that has connections by then is kept and
drains, with what its traffic needs. Past the point of no return `unfinished_breaks` says what is
left to do. Neither touches what another program made meanwhile. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gitvs.core.model.desired import Desired
from gitvs.core.model.kinds import facts_of
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
from gitvs.core.planning.overlay import (
    FALLBACK_FLAG_BY_SCHEDULER,
    drain_seconds,
    needed_by,
    with_fallback_flags,
    with_sync_length,
)
from gitvs.core.planning.plan import Change, Phase, Plan, build_plan, diff


@dataclass(frozen=True, slots=True)
class UndoStep:
    """The next plan of an undo. If it is empty, the undo is done.

    `ledger` is in force if the undo ends here. What the plan still removes is owned in it, so that
    a later pass removes what the kernel refuses to remove now.
    """

    plan: Plan
    ledger: Ledger


def undo_step(
    changes: Iterable[Change],
    conflicts: frozenset[Key],
    observation: Observation,
    ledger: Ledger,
    desired: Desired,
    boottime_seconds: float,
) -> UndoStep:
    """Return the next step of an undo.

    `changes` and `ledger` are those that the transaction recorded at its beginning. `conflicts` are
    the creates that found a foreign object. `desired` is what the plan was for.
    """
    observed = observation.state
    undoable = [_with_sync_lengths(c, observation) for c in changes if c.phase is not Phase.BREAK]
    foreign_keys = conflicts | _occupied_interfaces(undoable, observed)
    before = {c.key: c.before for c in undoable if not _is_untouchable(c, observed, foreign_keys)}
    new_servers = [s for s in _new_servers(before, observed) if s.service_key not in conflicts]
    drains = {
        d.key: d
        for d in (_new_drain(s, observation, desired, boottime_seconds) for s in new_servers)
        if d
    }
    still_active = [s for s in new_servers if s.weight > 0 and _can_get_weight_zero(s, observed)]
    staying = [replace(s, weight=0) for s in new_servers if s in still_active or s.key in drains]
    needed = _needed_resources(staying, before, observed)
    services = {s.service_key: observed[s.service_key] for s in staying}
    target = _target(before, services, staying, needed)
    keys_in_scope = {*before, *services}
    present = State(r for key, r in observed.items() if key in keys_in_scope)
    plan = build_plan(diff(present, target))
    unremoved = [c.before for c in plan.changes if c.after is None and c.before is not None]
    return UndoStep(plan, _ledger_after_undo(ledger, drains, [*needed, *unremoved]))


def _with_sync_lengths(change: Change, observation: Observation) -> Change:
    """Return a change with lengths, which earlier versions of gitvs did not record."""
    if not isinstance(change.resource, SyncDaemon):
        return change
    before, after = (
        with_sync_length(r, observation) if isinstance(r, SyncDaemon) else r
        for r in (change.before, change.after)
    )
    return replace(change, before=before, after=after)


@dataclass(frozen=True, slots=True)
class UnfinishedBreaks:
    """What is left of the break of a plan. `given_up`: objects that are foreign now, and stay."""

    remaining: tuple[Change, ...]
    given_up: frozenset[Key]


def unfinished_breaks(changes: Iterable[Change], observation: Observation) -> UnfinishedBreaks:
    """Return what is left of the break of a plan, as a reading shows.

    An object that is missing is done, and one that is not as the plan found it is given up: another
    program made or set it since. Addresses and routes do not show who made them.
    """
    observed = observation.state
    breaks = [_with_sync_lengths(c, observation) for c in changes if c.phase is Phase.BREAK]
    unfinished = [c for c in breaks if c.key in observed and observed[c.key] != c.after]
    given_up = {c.key for c in unfinished if _is_somebody_elses(c, observed[c.key])}
    given_up |= {c.key for c in unfinished if _service_key(c.before) in given_up}
    return UnfinishedBreaks(
        tuple(c for c in unfinished if c.key not in given_up), frozenset(given_up)
    )


def _is_somebody_elses(change: Change, present: Resource) -> bool:
    shows_maker = facts_of(present).shows_maker
    return shows_maker and change.before is not None and present != change.before


def _service_key(resource: Resource | None) -> Key | None:
    return resource.service_key if isinstance(resource, RealServer) else None


def _occupied_interfaces(undoable: Iterable[Change], observed: State) -> frozenset[Key]:
    """The interfaces with addresses that are not part of the plan: they are not removed."""
    planned = {c.key for c in undoable}
    return frozenset(
        DummyInterface(v.interface).key for v in observed.of_type(Vip) if v.key not in planned
    )


def _is_untouchable(change: Change, observed: State, foreign_keys: frozenset[Key]) -> bool:
    """Whether an undo must not touch the key of a change.

    It is a foreign object, or a setting that exists only while its interface does.
    """
    if change.key in foreign_keys or (isinstance(change.after, Sysctl) and change.before is None):
        return True
    present = observed.get(change.key)
    return (
        change.before is None
        and present is not None
        and facts_of(present).shows_maker
        and present != change.after
        and not _differs_by_flags_only(present, change.after)
    )


def _differs_by_flags_only(present: Resource | None, after: Resource | None) -> bool:
    """Whether two services differ only in flags, as after an undo sets the fallback flag."""
    return (
        isinstance(present, VirtualService)
        and isinstance(after, VirtualService)
        and replace(present, flags=after.flags) == after
    )


def _new_servers(before: Mapping[Key, Resource | None], observed: State) -> list[RealServer]:
    found = (observed.get(key) for key, resource in before.items() if resource is None)
    return [r for r in found if isinstance(r, RealServer)]


def _new_drain(
    server: RealServer, observation: Observation, desired: Desired, boottime_seconds: float
) -> Drain | None:
    counts = observation.connections.get(server.key)
    timeout_seconds = drain_seconds(server.service_key, desired, None)
    if counts is None or counts.is_idle or timeout_seconds <= 0:
        return None
    return Drain(server.key, timeout_seconds, boottime_seconds + timeout_seconds)


def _can_get_weight_zero(server: RealServer, observed: State) -> bool:
    """Whether a real server can get weight 0 before it is deleted.

    `sh` and `mh` would refuse its clients, so there it is deleted at once.
    """
    service = observed.get(server.service_key)
    return (
        isinstance(service, VirtualService) and service.scheduler not in FALLBACK_FLAG_BY_SCHEDULER
    )


def _needed_resources(
    staying: Iterable[RealServer], before: Mapping[Key, Resource | None], observed: State
) -> list[Resource]:
    """What the plan created and the traffic of `staying` needs: service, VIP, route, interface.

    A service that was there before already has what it needs.
    """
    listeners = {s.listener for s in staying}
    created = [observed[key] for key, r in before.items() if r is None and key in observed]
    services = [r for r in created if isinstance(r, VirtualService) and r.listener in listeners]
    already_bound = {v.address for v in observed.of_type(Vip) if before.get(v.key, v) is not None}
    listening = (s.listener for s in services)
    is_needed = needed_by(
        x for x in listening if not (isinstance(x, Endpoint) and x.address in already_bound)
    )
    vips = [r for r in created if isinstance(r, Vip) and is_needed(r)]
    routes = [r for r in created if isinstance(r, LocalRoute) and is_needed(r)]
    interface_names = {v.interface for v in vips}
    interfaces = [r for r in created if isinstance(r, DummyInterface) and r.name in interface_names]
    return [*services, *vips, *routes, *interfaces]


def _target(
    before: Mapping[Key, Resource | None],
    services: Mapping[Key, Resource],
    staying: Iterable[RealServer],
    needed: Iterable[Resource],
) -> State:
    restored = {key: r for key, r in before.items() if r is not None}
    existing_services = [r for key, r in services.items() if key not in before]
    return with_fallback_flags(State([*existing_services, *needed, *staying, *restored.values()]))


def _ledger_after_undo(
    ledger: Ledger, drains: Mapping[Key, Drain], staying: Iterable[Resource]
) -> Ledger:
    """Return the ledger once an undo ends; `staying` is what the plan made and still exists."""
    owned = {r.key for r in staying if facts_of(r).is_owned_by_itself}
    return Ledger(ledger.owned | owned, {**ledger.drains, **drains}, ledger.saved_settings)
