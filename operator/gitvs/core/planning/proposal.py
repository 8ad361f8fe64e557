"""What one pass would do to one kernel: the plan, what it rests on, and what stands against it.

Puts ownership, overlay, diff, order and gates together. Pure: the same for a live plan, a
plan against a saved observation, and every pass of the agent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from gitvs.core.model.desired import Desired
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import (
    DummyInterface,
    Key,
    LocalRoute,
    RealServer,
    Resource,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Timeout,
    Vip,
    VirtualService,
    family_of,
)
from gitvs.core.model.state import State
from gitvs.core.planning.gates import Gate, conflict_gates, evaluate
from gitvs.core.planning.operations import NO_OPERATIONS, Operations, operated, removed_at_once
from gitvs.core.planning.overlay import Overlay, overlay
from gitvs.core.planning.ownership import Ownership, classify, marked_interfaces
from gitvs.core.planning.plan import (
    Phase,
    Plan,
    desired_digest,
    diff,
    is_of_interface,
    order,
    plan_digest,
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan with its reasons, and the ledger that comes with it."""

    desired: Desired
    plan: Plan
    owned: State
    """What of this is there already, as observed."""
    target: State
    foreign: State
    gates: tuple[Gate, ...]
    ledger: Ledger
    """In force from the point of no return: what will be removed is still owned."""
    operations: Operations = NO_OPERATIONS
    """What operators have said that lies on top of desired state."""

    @property
    def digest(self) -> str:
        """What identifies the plan; worked out when asked for, since it takes long."""
        return plan_digest(self.desired.director, self.plan)

    @property
    def desired_digest(self) -> str:
        """What identifies the desired state; worked out when asked for, like the plan's."""
        return desired_digest(self.desired.director, self.desired.state)

    @property
    def is_blocked(self) -> bool:
        return any(not gate.allowed for gate in self.gates)


def propose(
    desired: Desired,
    applied: Desired | None,
    observation: Observation,
    ledger: Ledger,
    boottime: float,
    mark: str,
    *,
    adopt: bool = False,
    allowed: Collection[str] = (),
    operations: Operations = NO_OPERATIONS,
    only: Collection[Key] | None = None,
    is_host_known: bool = True,
) -> Proposal:
    """Work out the plan from what is observed to what is desired, with operations on top.

    `boottime` is CLOCK_BOOTTIME in seconds; `mark` is the alias of this store's interfaces.
    With `only`, nothing but these keys changes and drains end: what a pause lets through.
    Unless the host is known, nothing is said of what it lacks.
    """
    in_force = applied.state if applied is not None else ()
    wanted = operated(desired, operations)
    ownership = classify(observation, ledger, wanted, mark, adopt, in_force)
    laid = overlay(
        wanted,
        applied,
        ownership.owned,
        ownership.foreign,
        observation.connections,
        ledger,
        boottime,
        removed_at_once(desired, operations),
    )
    if only is not None:
        laid = _paused(laid, wanted, ownership.owned, ledger, only)
    plan = _plan(ownership.owned.with_changes(drop=laid.released), laid)
    gates = (
        *conflict_gates(ownership.conflicts),
        *_mixed_while_syncing(wanted.state, observation.state),
        *(_unsupported(wanted, observation) if is_host_known else ()),
        *evaluate(applied, desired, allowed),
    )
    marked = marked_interfaces(observation, mark, adopt)
    committed = _ledger(ledger, ownership, laid, plan, marked)
    return Proposal(
        desired,
        plan,
        ownership.owned,
        laid.target,
        ownership.foreign,
        gates,
        committed,
        operations,
    )


def _paused(
    laid: Overlay, wanted: Desired, owned: State, ledger: Ledger, only: Collection[Key]
) -> Overlay:
    """Return an overlay that leaves everything as it is but for `only` and the ends of drains."""
    kept = [
        r
        for key, r in owned.items()
        if key not in only and (key in laid.target or not _ends_drain(r, wanted.state, ledger))
    ]
    put = [r for key, r in laid.target.items() if key in only]
    drains = {k: d for k, d in laid.drains.items() if k in ledger.drains or k in only}
    begun = {k: d for k, d in laid.begun.items() if k in only}
    return Overlay(State([*kept, *put]), drains, begun, frozenset(), frozenset())


def _ends_drain(resource: Resource, wanted: State, ledger: Ledger) -> bool:
    """Whether what is to go was there for a drain alone."""
    if isinstance(resource, RealServer):
        return resource.key in ledger.drains
    return resource.key not in wanted and not isinstance(resource, Sysctl | Timeout | SyncDaemon)


def _plan(owned: State, laid: Overlay) -> Plan:
    """The ordered difference, and drains of servers whose weight is 0 already."""
    pairs = diff(owned, laid.target)
    still = [(laid.target[key], laid.target[key]) for key in laid.begun if key in owned]
    unchanged = [pair for pair in still if owned[pair[0].key] == pair[0]]
    return order([*pairs, *unchanged], laid.begun, laid.restored)


def _ledger(
    ledger: Ledger, ownership: Ownership, laid: Overlay, plan: Plan, marked: frozenset[Key]
) -> Ledger:
    """What is owned, drains and is saved once everything but the break has been done."""
    made = {c.key for c in plan.changes if c.before is None} | marked | ledger.owned
    removed = {c.key for c in plan.changes if c.after is None}
    target = laid.target
    ours: list[Resource] = [
        *target.of(VirtualService),
        *target.of(Vip),
        *target.of(LocalRoute),
        *target.of(SyncDaemon),
        *(interface for interface in target.of(DummyInterface) if interface.key in made),
    ]
    owned = {resource.key for resource in ours}
    ending = {key: d for key, d in ledger.drains.items() if key in removed}
    former = {r.key: r for r in _settings_before(ownership.owned, target, owned)}
    saved = {k: r for k, r in {**former, **ledger.saved}.items() if k not in laid.released}
    return Ledger(frozenset(owned | (removed & ledger.owned)), {**ending, **laid.drains}, saved)


def ledger_after_break(ledger: Ledger, plan: Plan) -> Ledger:
    """Return the ledger once the break of a plan is done too: what was removed is gone."""
    gone = {c.key for c in plan.of(Phase.BREAK) if c.after is None}
    put_back = {c.key for c in plan.of(Phase.BREAK) if isinstance(c.after, Sysctl | Timeout)}
    return Ledger(
        ledger.owned - gone,
        {key: d for key, d in ledger.drains.items() if key not in gone},
        {key: r for key, r in ledger.saved.items() if key not in put_back},
    )


def _settings_before(observed: State, target: State, owned: Collection[Key]) -> Iterator[Resource]:
    """Settings as they were before gitvs; those of an interface that it made had no before."""
    ours = [i.name for i in target.of(DummyInterface) if i.key in owned]
    settings: list[Resource] = [*target.of(Sysctl), *target.of(Timeout)]
    for key in (setting.key for setting in settings):
        if key in observed and not any(is_of_interface(key, name) for name in ours):
            yield observed[key]


def _unsupported(desired: Desired, observation: Observation) -> Iterator[Gate]:
    """What this host's kernel lacks and the manifests need; nothing lifts these.

    What is there already as it should be lacks nothing, so that a link that went down later
    holds up neither repairs nor the ends of drains.
    """
    lacking = [
        *_lacking_schedulers(desired.state, observation),
        *_lacking_sysctls(desired, observation),
        *_lacking_links(desired.state, observation),
    ]
    for resource, what in lacking:
        if observation.state.get(resource.key) != resource:
            yield _lacks(resource.key, what)


_Lacking = Iterator[tuple[Resource, str]]


def _lacking_schedulers(desired: State, observation: Observation) -> _Lacking:
    for service in desired.of(VirtualService):
        if service.scheduler in observation.missing_schedulers:
            name = service.scheduler
            yield (
                service,
                f"scheduler {name} is not in this kernel"
                f" (Linux {observation.release} has no module ip_vs_{name})",
            )


def _lacking_sysctls(desired: Desired, observation: Observation) -> _Lacking:
    has_interface = desired.interface in observation.links
    for sysctl in desired.state.of(Sysctl):
        if is_of_interface(sysctl.name, desired.interface) and not has_interface:
            continue  # it comes with the interface
        if sysctl.key not in observation.state:
            yield sysctl, f"sysctl {sysctl.name} does not exist here, or cannot be read"


def _lacking_links(desired: State, observation: Observation) -> _Lacking:
    for daemon in desired.of(SyncDaemon):
        link = observation.links.get(daemon.interface)
        if link is None:
            yield daemon, f"interface {daemon.interface} does not exist"
        elif daemon.role is SyncRole.BACKUP:
            continue  # it only listens
        elif not link.is_up:
            yield daemon, f"interface {daemon.interface} is down"
        elif not link.addresses:
            yield daemon, f"interface {daemon.interface} has no address to send from"


def _mixed_while_syncing(wanted: State, now: State) -> Iterator[Gate]:
    """Connection sync and a real server of another family than its service's: no kernel has both.

    Source: Linux net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_set_cmd and ip_vs_genl_new_daemon.
    """
    daemons = {d.key: d for d in (*now.of(SyncDaemon), *wanted.of(SyncDaemon))}
    if not daemons:
        return
    mixed = [s for s in wanted.of(RealServer) if family_of(s.address) is not s.listener.family]
    both: list[Resource] = [*mixed, *daemons.values()]
    is_news = any(now.get(r.key) != r for r in both)
    if mixed and is_news:
        leaves = "" if wanted.of(SyncDaemon) else " in a commit before this one"
        yield _lacks(
            mixed[0].key,
            "a real server of another address family than its virtual service's, and"
            f" {' and '.join(daemons)}, exclude each other: take the sync daemon away{leaves}",
        )


def _lacks(key: Key, what: str) -> Gate:
    message = f"{key}: {what}; change the manifest or this host"
    return Gate("unsupported", what, "supported by this host", message, allowed=False, key=key)
