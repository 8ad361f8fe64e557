"""What one pass would do to one kernel: the plan, what it is based on, and what blocks it.

Combines ownership, overlay, plan and gates. Pure: the same for a live plan, a plan against a
saved observation, and every pass of the agent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gitvs.core.health.serving import EVERYBODY_SERVES, Serving, with_health
from gitvs.core.model.desired import Desired
from gitvs.core.model.grouped import OTHERS
from gitvs.core.model.kinds import facts_of, is_setting
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import (
    DummyInterface,
    Key,
    RealServer,
    Resource,
)
from gitvs.core.model.state import State
from gitvs.core.planning.gates import Gate, Lift, conflict_gates, evaluate_gates
from gitvs.core.planning.operations import (
    NO_OPERATIONS,
    Operations,
    removed_at_once,
    with_operations,
)
from gitvs.core.planning.overlay import Overlay, build_overlay, with_sync_lengths
from gitvs.core.planning.ownership import (
    Conflict,
    Ownership,
    classify,
    interfaces_with_owner_alias,
    renamed_interfaces,
)
from gitvs.core.planning.plan import (
    Phase,
    Plan,
    build_plan,
    desired_digest,
    diff,
    is_sysctl_of_interface,
    plan_digest,
)
from gitvs.core.planning.repairs import differs_in_fallback_only, find_repairs, is_in_force
from gitvs.core.planning.unsupported import (
    lacking_gate,
    lacking_resources,
    misplaced_interfaces,
    mixed_families_while_syncing,
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan with what it is based on, its gates, and the ledger that comes with it."""

    desired: Desired
    plan: Plan
    owned: State
    """The owned objects, as observed."""
    target: State
    foreign: State
    gates: tuple[Gate, ...]
    ledger: Ledger
    """The ledger from the point of no return; objects to be removed are still owned in it."""
    operations: Operations = NO_OPERATIONS
    """The operations on top of desired state."""
    repair_keys: frozenset[Key] = frozenset()
    """The keys of the changes that are repairs; the other changes are the commit's own."""
    unrepairable: Mapping[Key, str] = field(default_factory=dict)
    """The repairs that are known to be impossible, with the reasons."""
    health_keys: frozenset[Key] = frozenset()
    """The real servers of which health says something else than before."""

    @property
    def digest(self) -> str:
        """The digest of the plan; computed on demand, since it takes long."""
        return plan_digest(self.desired, self.plan)

    @property
    def desired_digest(self) -> str:
        """The digest of the desired state; computed on demand, like the plan's."""
        return desired_digest(self.desired)

    @property
    def is_about_health_alone(self) -> bool:
        """Whether every change is one of health, or a fallback flag that comes with it."""
        return bool(self.health_keys) and all(
            c.key in self.health_keys or differs_in_fallback_only(c) for c in self.plan.changes
        )

    @property
    def is_blocked(self) -> bool:
        return any(not gate.is_allowed for gate in self.gates)


def propose(
    desired: Desired,
    applied: Desired | None,
    observation: Observation,
    ledger: Ledger,
    boottime_seconds: float,
    owner_alias: str,
    *,
    adopt: bool = False,
    allowed: Collection[str] = (),
    lifts: Sequence[Lift] = (),
    operations: Operations = NO_OPERATIONS,
    only_keys: Collection[Key] | None = None,
    is_host_known: bool = True,
    serving: Serving = EVERYBODY_SERVES,
) -> Proposal:
    """Compute the plan from observed to desired state, with operations and health on top.

    `boottime_seconds` is CLOCK_BOOTTIME in seconds; `owner_alias` is the alias of this store's
    interfaces. With `only_keys`, only these keys change, and drains end: what a pause permits.
    Without `is_host_known`, no gate reports what the host lacks. `serving` is what health says
    of the real servers; no gate sees it.
    """
    unresolved, desired = desired, with_sync_lengths(desired, observation)
    applied = None if applied is None else with_sync_lengths(applied, observation)
    applied_keys = applied.state if applied is not None else ()
    operated = with_operations(desired, operations)
    effective = with_health(operated, serving)
    ownership = classify(observation, ledger, effective, owner_alias, adopt, applied_keys)
    overlaid = build_overlay(
        effective,
        applied,
        ownership.owned,
        ownership.foreign,
        observation.connections,
        ledger,
        boottime_seconds,
        removed_at_once(desired, operations) | serving.removed,
        serving.held,
    )
    if only_keys is not None:
        overlaid = _overlay_while_paused(overlaid, effective, ownership.owned, ledger, only_keys)
    plan = _plan_to_target(ownership.owned.with_changes(drop=overlaid.released_keys), overlaid)
    repair_keys = find_repairs(plan.changes, applied, desired)
    lacking = list(lacking_resources(operated, observation)) if is_host_known else []
    gates = (
        *conflict_gates(c for c in ownership.conflicts if not _is_repair(c, applied, desired)),
        *mixed_families_while_syncing(operated.state, observation.state, applied),
        *(lacking_gate(r.key, what) for r, what in lacking if not is_in_force(r, applied)),
        *evaluate_gates(applied, desired, allowed, lifts),
    )
    reasons = {
        **{r.key: f"{r.key}: {what}" for r, what in lacking},
        **{c.key: c.message for c in ownership.conflicts},
    }
    unrepairable = {key: reason for key, reason in reasons.items() if key in repair_keys}
    if applied is not None:
        renamed = renamed_interfaces(observation, ledger, effective, owner_alias)
        unrepairable |= misplaced_interfaces(effective, observation, renamed)
    aliased_interfaces = interfaces_with_owner_alias(observation, owner_alias, adopt)
    new_ledger = _ledger_before_break(ledger, ownership, overlaid, plan, aliased_interfaces)
    return Proposal(
        unresolved,
        plan,
        ownership.owned,
        overlaid.target,
        ownership.foreign,
        gates,
        new_ledger,
        operations,
        repair_keys,
        unrepairable,
        serving.changed,
    )


def _is_repair(conflict: Conflict, applied: Desired | None, desired: Desired) -> bool:
    """Whether a conflict only prevents the repair of one object."""
    resource = desired.state.get(conflict.key)
    return is_in_force(resource, applied) and not conflict.is_about_store


def _overlay_while_paused(
    overlaid: Overlay, effective: Desired, owned: State, ledger: Ledger, only_keys: Collection[Key]
) -> Overlay:
    """Return an overlay that changes nothing except `only_keys` and the drains that end.

    An owned object that somebody removes during a pause stays owned. If it is put back, for
    example by `ipvsadm -R`, it is still managed by gitvs.
    """
    unchanged = [
        r
        for key, r in owned.items()
        if key not in only_keys
        and (key in overlaid.target or not _is_end_of_drain(r, effective.state, ledger))
    ]
    changed = [r for key, r in overlaid.target.items() if key in only_keys]
    drains = {k: d for k, d in overlaid.drains.items() if k in ledger.drains or k in only_keys}
    new_drains = {k: d for k, d in overlaid.new_drains.items() if k in only_keys}
    kept_keys = ledger.owned.difference(only_keys)
    return Overlay(
        State([*unchanged, *changed]), drains, new_drains, frozenset(), frozenset(), kept_keys
    )


def _is_end_of_drain(resource: Resource, desired_state: State, ledger: Ledger) -> bool:
    """Whether a resource that is removed existed only for a drain."""
    if isinstance(resource, RealServer):
        return resource.key in ledger.drains
    return resource.key not in desired_state and facts_of(resource).only_drains_keep_it


def _plan_to_target(owned: State, overlaid: Overlay) -> Plan:
    """The ordered difference, and the drains of servers whose weight is already 0."""
    pairs = diff(owned, overlaid.target)
    draining_pairs = [
        (overlaid.target[key], overlaid.target[key]) for key in overlaid.new_drains if key in owned
    ]
    already_idle = [pair for pair in draining_pairs if owned[pair[0].key] == pair[0]]
    return build_plan([*pairs, *already_idle], overlaid.new_drains, overlaid.restored_keys)


def _ledger_before_break(
    ledger: Ledger,
    ownership: Ownership,
    overlaid: Overlay,
    plan: Plan,
    aliased_interfaces: frozenset[Key],
) -> Ledger:
    """Return the ledger once everything except the break is done.

    That is: the owned keys, the drains, and the settings as they were before gitvs.
    """
    created = {c.key for c in plan.changes if c.before is None}

    # A dummy interface may have existed before gitvs, and then gitvs must never delete it. So it is
    # owned only if this plan creates it, if it has this store's alias, or if the ledger names it.
    def is_ours(resource: Resource) -> bool:
        key = resource.key
        is_known = key in created or key in aliased_interfaces or key in ledger.owned
        return is_known or not isinstance(resource, DummyInterface)

    removed = {c.key for c in plan.changes if c.after is None}
    target = overlaid.target
    others = target.groups.get(OTHERS, {}).items()
    owned_keys = {
        *target.service_keys(),
        *(key for key, r in others if facts_of(r).is_owned_by_itself and is_ours(r)),
    }
    # The break may fail. Until it is done, the record of a drain keeps the drain's deadline.
    ending_drains = {key: d for key, d in ledger.drains.items() if key in removed}
    original_settings = {r.key: r for r in _original_settings(ownership.owned, target, owned_keys)}
    # The saved value wins over the observed one: gitvs itself may have written
    # the observed one.
    saved_settings = {
        k: r
        for k, r in {**original_settings, **ledger.saved_settings}.items()
        if k not in overlaid.released_keys
    }
    # What the break removes is owned until it is gone: if the kernel refuses, a later pass tries
    # again, and a pass removes owned objects only.
    owned_keys |= overlaid.kept_keys | (removed & ledger.owned)
    return Ledger(
        ledger.owned if owned_keys == ledger.owned else frozenset(owned_keys),
        {**ending_drains, **overlaid.drains},
        saved_settings,
    )


def ledger_after_break(ledger: Ledger, plan: Plan) -> Ledger:
    """Return the ledger once the break of a plan is done too, without what was removed."""
    removed = {c.key for c in plan.in_phase(Phase.BREAK) if c.after is None}
    put_back = {c.key for c in plan.in_phase(Phase.BREAK) if is_setting(c.after)}
    return Ledger(
        ledger.owned - removed if removed else ledger.owned,
        {key: d for key, d in ledger.drains.items() if key not in removed},
        {key: r for key, r in ledger.saved_settings.items() if key not in put_back},
    )


def _original_settings(
    observed: State, target: State, owned: Collection[Key]
) -> Iterator[Resource]:
    """Settings as they were before gitvs.

    Those of an interface that gitvs made are omitted: they had no value before.
    """
    owned_interfaces = [i.name for i in target.of_type(DummyInterface) if i.key in owned]
    others = target.groups.get(OTHERS, {}).values()
    for key in (r.key for r in others if is_setting(r)):
        if key in observed and not any(
            is_sysctl_of_interface(key, name) for name in owned_interfaces
        ):
            yield observed[key]
