"""From one state to another: the changes, and the one order in which they are safe.

`diff` finds what differs, `build_plan` sorts it: make, then modify, then bind, then break
(design section 3). Both are pure and serve the plan, the verification (an empty diff),
drift, undo and crash recovery. `overlay` decides what the target is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from gitvs.core.model.desired import Desired
from gitvs.core.model.grouped import differences
from gitvs.core.model.health_json import health_json
from gitvs.core.model.kinds import KINDS, Role, facts_of, is_setting, kind_of
from gitvs.core.model.ledger import Drain
from gitvs.core.model.resource_json import resource_json
from gitvs.core.model.resources import (
    AddressFamily,
    Endpoint,
    Key,
    Kind,
    Listener,
    LocalRoute,
    Protocol,
    RealServer,
    Resource,
    SchedulerFlag,
    Sysctl,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State

PLAN_FORMAT_VERSION = "1.0"

FALLBACK_FLAGS = frozenset({SchedulerFlag.SH_FALLBACK, SchedulerFlag.MH_FALLBACK})


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    DRAIN = "drain"
    REPLACE = "replace"
    """Stop and start a sync daemon, the only object that cannot change in place."""


class Phase(StrEnum):
    """The phases in order. All except the last are undone on a failure; the last is finished."""

    PREPARE = "prepare"
    MAKE = "make"
    MODIFY = "modify"
    BIND = "bind"
    BREAK = "break"


PHASES = tuple(Phase)
_PHASE_RANK = {phase: rank for rank, phase in enumerate(Phase)}


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after; None means absent. `drain` is set if a real server drains."""

    before: Resource | None
    after: Resource | None
    phase: Phase
    drain: Drain | None = None

    @property
    def resource(self) -> Resource:
        """The object that changes: as it will be, or as it was if it is removed."""
        resource = self.after if self.after is not None else self.before
        assert resource is not None, "a change has a before or an after"
        return resource

    @property
    def key(self) -> Key:
        return self.resource.key

    @property
    def kind(self) -> Kind:
        return kind_of(self.resource)

    @property
    def action(self) -> Action:
        if self.drain is not None:
            return Action.DRAIN
        if is_setting(self.resource):
            return Action.UPDATE  # a setting always has a value, even if it is unknown here
        if self.before is None:
            return Action.CREATE
        if self.after is None:
            return Action.DELETE
        return Action.REPLACE if facts_of(self.after).is_restarted else Action.UPDATE


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes in the order of execution. An empty plan is a valid plan."""

    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    def in_phase(self, phase: Phase) -> tuple[Change, ...]:
        """Return the changes of one phase, in order."""
        return tuple(c for c in self.changes if c.phase is phase)


def diff(before: State, after: State) -> list[tuple[Resource | None, Resource | None]]:
    """Return what differs, as pairs of before and after, in no particular order."""
    return [(one, other) for _, one, other in differences(before, after)]


def build_plan(
    pairs: Iterable[tuple[Resource | None, Resource | None]],
    drains: Mapping[Key, Drain] | None = None,
    restored_keys: Collection[Key] = (),
) -> Plan:
    """Put changes into the one order in which they are safe.

    `drains` are the drains that begin with this plan; a real server that already has weight 0
    is still a change, since its deadline must be recorded. `restored_keys` are the settings
    that go back to their values before gitvs, which comes last.
    """
    new_drains = dict(drains or {})
    changes = []
    for before, after in pairs:
        resource = after if after is not None else before
        assert resource is not None, "a pair has a before or an after"
        key = resource.key
        if key in restored_keys:
            changes.append(Change(before, after, Phase.BREAK))
            continue
        for former, latter in _steps(before, after):
            changes.append(Change(former, latter, _phase_of(former, latter), new_drains.get(key)))
    return Plan(tuple(sorted(changes, key=_sort_key)))


def _steps(
    before: Resource | None, after: Resource | None
) -> list[tuple[Resource | None, Resource | None]]:
    """Return the steps of one object: a virtual service drops its fallback flag separately.

    The break phase drops the flag and is never undone; the other changes of the service must
    be undoable.
    """
    if not (isinstance(before, VirtualService) and isinstance(after, VirtualService)):
        return [(before, after)]
    dropped = _dropped_fallback_flags(before, after)
    intermediate = replace(after, flags=after.flags | dropped)
    if not dropped or intermediate == before:
        return [(before, after)]
    return [(before, intermediate), (intermediate, after)]


def _phase_of(before: Resource | None, after: Resource | None) -> Phase:
    resource = after if after is not None else before
    assert resource is not None, "a pair has a before or an after"
    role = facts_of(resource).role
    if role is Role.SETTING:
        return Phase.PREPARE
    if role is not Role.RULE:
        made_in = Phase.PREPARE if role is Role.HOST else Phase.BIND
        return Phase.BREAK if after is None else made_in
    if before is None:
        # An idle server comes after the fallback flag of its `sh` or `mh` service.
        is_idle = isinstance(after, RealServer) and after.weight == 0
        return Phase.MODIFY if is_idle else Phase.MAKE
    is_last = after is None or _drops_fallback_flag(before, after)
    return Phase.BREAK if is_last else Phase.MODIFY


def _drops_fallback_flag(before: Resource | None, after: Resource) -> bool:
    """Whether a virtual service drops its fallback flag, which must follow its real servers."""
    if not (isinstance(before, VirtualService) and isinstance(after, VirtualService)):
        return False
    return bool(_dropped_fallback_flags(before, after))


def _dropped_fallback_flags(
    before: VirtualService, after: VirtualService
) -> frozenset[SchedulerFlag]:
    """Return the fallback flags that are dropped; a new scheduler makes them meaningless."""
    if before.scheduler != after.scheduler:
        return frozenset()
    return (before.flags - after.flags) & FALLBACK_FLAGS


_AFTER_ALL_OTHERS = len(KINDS)


def _sort_key(change: Change) -> tuple[int, int, tuple[int, ...], str]:
    """The sort key of a change: phase, rank in it, then address and port by number."""
    resource = change.resource
    phase = _PHASE_RANK[change.phase]
    return phase, _rank(change), natural_sort_key(resource), resource.key


def _rank(change: Change) -> int:
    if change.phase is Phase.MODIFY:
        return _modify_rank(change)
    facts = facts_of(change.resource)
    if change.phase is Phase.BREAK:
        return facts.break_rank
    if facts.kind is Kind.SYSCTL and change.before is None:
        return _AFTER_ALL_OTHERS  # it exists only once its interface does
    return facts.make_rank


def _modify_rank(change: Change) -> int:
    """Raised weights, services (fallback flag before weight 0), lowered weights and the rest."""
    before, after = change.before, change.after
    if not isinstance(after, RealServer):
        return 1
    weight = before.weight if isinstance(before, RealServer) else 0
    return 0 if after.weight > weight and change.drain is None else 2


def natural_sort_key(resource: Resource) -> tuple[int, ...]:
    """Return a sort key by address and port; a service comes right before its real servers."""
    if type(resource) is RealServer:
        address = resource.address
        service_key = _listener_sort_key(resource.listener)
        return (*service_key, address.version, int(address), resource.port)
    match resource:
        case VirtualService(listener):
            return _listener_sort_key(listener)
        case Vip(address):
            return (address.version, int(address), resource.prefix_length)
        case LocalRoute(prefix):
            return (prefix.version, int(prefix.network_address), prefix.prefixlen)
        case Sysctl(name):
            return (not is_forwarding_sysctl(name), _sysctl_rank(name))
        case _:
            return ()


_PROTOCOL_RANK = {protocol: rank for rank, protocol in enumerate(Protocol)}
_FAMILY_RANK = {family: rank for rank, family in enumerate(AddressFamily)}


def _listener_sort_key(listener: Listener) -> tuple[int, ...]:
    if isinstance(listener, Endpoint):
        rank = _PROTOCOL_RANK[listener.protocol]
        return (listener.address.version, int(listener.address), listener.port, rank)
    return (9, listener.mark, _FAMILY_RANK[listener.family], 0)


def _sysctl_rank(name: str) -> int:
    """The rank of a sysctl: one whose write changes others comes before these.

    A switch for all interfaces sets that of each; a default sets those never set themselves.
    Source: Linux net/ipv4/devinet.c, inet_forward_change and devinet_conf_proc.
    """
    if name == "net.ipv4.ip_forward" or ".conf.all." in name:
        return 0
    return 1 if ".conf.default." in name else 2


def is_forwarding_sysctl(name: str) -> bool:
    """Whether a sysctl turns forwarding on: it is written first, and never restored.

    Writing one resets others (`conf.all.accept_redirects`). Source: Linux ip-sysctl.rst,
    ip_forward.
    """
    return name == "net.ipv4.ip_forward" or (
        name.startswith(("net.ipv4.conf.", "net.ipv6.conf.")) and name.endswith(".forwarding")
    )


def is_sysctl_of_interface(name: str, interface: str) -> bool:
    """Whether a sysctl is an interface's own; `/` replaces a dot. Source: sysctl(8), NOTES."""
    return f".{interface.replace('.', '/')}." in name


def is_interface_sysctl(name: str) -> bool:
    """Whether a sysctl belongs to any single interface. Source: Linux ip-sysctl.rst."""
    match name.split("."):
        case ["net", _, "conf" | "neigh", interface, *_]:
            return interface not in ("all", "default")
    return False


def plan_digest(desired: Desired, plan: Plan) -> str:
    """Return the digest of a live plan: director, format, and each change without drain times.

    Where there are health checks, those that are to be in force belong to it too.
    """
    changes = [
        [str(c.kind), c.key, str(c.action), None if c.after is None else resource_json(c.after)]
        for c in plan.changes
    ]
    return _sha256([desired.director, PLAN_FORMAT_VERSION, changes, *_checks(desired)])


def desired_digest(desired: Desired) -> str:
    """Return the digest of a desired state, the same in a preview and in the agent.

    It is of the resources, and of the health checks where there are any.
    """
    state = desired.state
    resources = [[key, resource_json(state[key])] for key in sorted(state)]
    return _sha256([desired.director, PLAN_FORMAT_VERSION, resources, *_checks(desired)])


def _checks(desired: Desired) -> list[object]:
    """Return a list of the health checks, which is empty if there are none.

    So a digest without checks is the one that it was before there were any.
    """
    health = desired.health
    checks = [[key, health_json(health[key])] for key in sorted(health)]
    return [checks] if checks else []


def _sha256(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
