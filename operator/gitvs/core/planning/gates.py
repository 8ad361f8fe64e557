"""Safety rules over a change of desired state.

Gates compare the applied desired state with the new one, never with the kernel. So a preview
and the agent agree, and a removal counts once: when it is committed. The live gates,
`conflict` and `unsupported`, are the exception: they are about this host.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from gitvs.core.allowances import Allowance
from gitvs.core.model.desired import Desired, Policy
from gitvs.core.model.grouped import changed_groups, differences
from gitvs.core.model.kinds import KINDS, facts_of, is_local_address, kind_of
from gitvs.core.model.resources import (
    Endpoint,
    IPAddress,
    Key,
    Kind,
    RealServer,
    Resource,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import Conflict
from gitvs.core.problems import Problem, printable

LIFTABLE_GATES = (
    "empty-state",
    "mass-removal",
    "last-real-server",
    "capacity-drop",
    "protected-vip",
    "other-director",
    "director-leaves",
)
"""The gates that `Gitvs-Allow` and `--allow` lift. `--adopt` resolves a `conflict`."""


LIVE_GATES = ("conflict", "unsupported")
"""The gates about the state of this host, not about the step between two commits."""

_MAX_UNKNOWN_GATES = 3
"""How many lines with an unknown gate have a warning each; one message can hold thousands."""

UNKNOWN_GATE_RULE = "unknown-gate"
"""The rule of the warning that a commit message names an unknown gate."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One safety rule that a plan triggers: the measured value, the limit, and how to lift it.

    `key` is the object that the gate is about, if it is a single one.
    """

    name: str
    measured: str
    limit: str
    message: str
    is_allowed: bool
    key: Key | None = None


def unknown_gate_warnings(
    allowances: Iterable[tuple[str, Iterable[Allowance]]],
) -> Iterator[Problem]:
    """Yield a warning for each line of a commit message that names no gate; one if there are many.

    It is a warning and not an error, because a wrong name lifts no gate: the intended gate still
    blocks, in a preview and on a director.
    """
    unknown = [
        (f"commit {commit_id[:12]}", allowance)
        for commit_id, given in allowances
        for allowance in given
        if allowance.gate not in LIFTABLE_GATES
    ]
    if len(unknown) <= _MAX_UNKNOWN_GATES:
        for file, allowance in unknown:
            text = unknown_gate_text(allowance.gate)
            yield Problem(file, allowance.line, 1, "", UNKNOWN_GATE_RULE, text)
        return
    names = list(dict.fromkeys(f'"{printable(each.gate)}"' for _, each in unknown))
    text = (
        f"Gitvs-Allow: {len(unknown)} lines, this one the first, name no gate that can be lifted:"
        f" {', '.join(names[:_MAX_UNKNOWN_GATES])}{', …' * (len(names) > _MAX_UNKNOWN_GATES)};"
        f" {', '.join(LIFTABLE_GATES)} are"
    )
    file, first = unknown[0]
    yield Problem(file, first.line, 1, "", UNKNOWN_GATE_RULE, text)


def unknown_gate_text(name: str) -> str:
    """Return what is wrong with the name of a gate in a commit message."""
    meant = name.strip(",;.\"'`").lower()
    if meant in LIFTABLE_GATES:
        hint = f"; write {meant}, one gate a line, in small letters and without a comma"
    elif near := get_close_matches(name, LIFTABLE_GATES, 1):
        hint = f"; did you mean {near[0]}?"
    else:
        hint = f"; {', '.join(LIFTABLE_GATES)} are"
    return f'Gitvs-Allow: "{printable(name)}" is no gate that can be lifted{hint}'


@dataclass(frozen=True, slots=True)
class Lift:
    """Gates that a commit's message lifts on a director, and the desired state at that commit.

    They are lifted for the step from the applied state to this one. The step from here to a
    later commit is judged without them: a line never covers what comes after it.
    """

    gates: frozenset[str]
    desired: Desired

    def lifted(self, gates: Iterable[Gate], desired: Desired) -> set[tuple[str, str]]:
        """Return which of these gates it lifts, by identity, in the step to `desired`.

        These are the gates that are not triggered again after its commit.
        """
        again = set(map(_identity, evaluate_gates(self.desired, desired)))
        return {_identity(gate) for gate in gates if gate.name in self.gates} - again


@dataclass(frozen=True, slots=True)
class FoundLifts:
    """The lifts of a step, and by commit why its lines are not counted."""

    lifts: tuple[Lift, ...] = ()
    uncounted: Mapping[str, str] = field(default_factory=dict)


MAX_LIFTING_COMMITS = 10
"""How many commits with a line are rendered for one step."""


def find_lifts(
    applied: Desired | None,
    desired: Desired,
    allowed: Collection[str],
    commits: Iterable[tuple[str, Iterable[Allowance]]],
    desired_at: Callable[[str], Desired | str],
) -> FoundLifts:
    """Return the lifts that a step needs: the newest commits whose lines lift its gates.

    `commits` are the allowances of the commits of this step, the newest first. `desired_at`
    returns the desired state of this director at a commit, or why the commit's lines are not
    counted. Neither is used if no gate blocks the step.
    """
    open_gates = [gate for gate in evaluate_gates(applied, desired, allowed) if not gate.is_allowed]
    lifts: list[Lift] = []
    uncounted: dict[str, str] = {}
    rendered_count = 0
    for commit_id, allowances in commits if open_gates else ():
        given = {a.gate for a in allowances if a.applies_to(desired.director)}
        names = frozenset(given.intersection(gate.name for gate in open_gates))
        if not names:
            continue
        if rendered_count == MAX_LIFTING_COMMITS:
            uncounted[commit_id] = f"{rendered_count} newer commits have lines, and no more count"
            continue
        rendered_count += 1
        found = desired_at(commit_id)
        if isinstance(found, str):
            uncounted[commit_id] = found
            continue
        lifts.append(Lift(names, found))
        lifted = lifts[-1].lifted(open_gates, desired)
        open_gates = [gate for gate in open_gates if _identity(gate) not in lifted]
        if not open_gates:
            break
    return FoundLifts(tuple(lifts), uncounted)


def _identity(gate: Gate) -> tuple[str, str]:
    """Return the identity of a gate; gates of two steps are the same if it is equal."""
    is_about_address = gate.name == "protected-vip"
    return gate.name, gate.measured if is_about_address else gate.key or ""


def evaluate_gates(
    applied: Desired | None,
    desired: Desired,
    allowed: Collection[str] = (),
    lifts: Sequence[Lift] = (),
) -> list[Gate]:
    """Return every gate that the step from applied to desired state triggers.

    `allowed` are gates that are lifted by hand. Without an applied state nothing can be lost, so
    there are no gates.
    """
    if applied is None:
        return []
    policy = stricter_policy(applied.policy, desired.policy)
    before, after = applied.state, desired.state
    if before is after:
        return []
    services = _changed_weights(before, after)
    gates = [
        *_last_real_server(services),
        *_capacity_drop(services, policy),
    ]
    removed = [old for _, old, new in differences(before, after) if old is not None and new is None]
    if removed:
        gates = [
            *_empty_state(before, after),
            *_mass_removal(before, after, removed, policy),
            *gates,
            *_protected_vip(before, after, removed, policy),
            *_other_director(applied, desired, removed),
        ]
    lifted = {identity for lift in lifts for identity in lift.lifted(gates, desired)}
    return [
        _as_allowed(gate) if gate.name in allowed or _identity(gate) in lifted else gate
        for gate in gates
    ]


def stricter_policy(old: Policy, new: Policy) -> Policy:
    """Return the stricter of two policies, limit by limit."""
    return Policy(
        min(old.max_removed_percent, new.max_removed_percent),
        min(old.max_capacity_drop_percent, new.max_capacity_drop_percent),
        min(old.ignore_below_objects, new.ignore_below_objects),
        old.protected_vips | new.protected_vips,
    )


def conflict_gates(conflicts: Iterable[Conflict]) -> list[Gate]:
    """Return conflicts with foreign objects as gates."""
    return [
        Gate("conflict", str(c.key), "none", c.message, is_allowed=False, key=c.key)
        for c in conflicts
    ]


def director_leaves_gate(director: str) -> Gate:
    """Return the gate of a director that a preview's head has no Director document of.

    The agent there keeps what is applied, and reports an error.
    """
    return _liftable_gate(
        "director-leaves",
        f"{director} → none",
        "a Director document",
        f"Director {director} is removed from the manifests. Its agent keeps the applied"
        " state and reports an error until `gitvs teardown` is run there",
    )


def _liftable_gate(
    name: str, measured: str, limit: str, message: str, key: Key | None = None
) -> Gate:
    return Gate(name, measured, limit, message + _remedy(name), is_allowed=False, key=key)


def _remedy(name: str) -> str:
    return f". To allow it once, use `Gitvs-Allow: {name}` in a commit message, or `--allow {name}`"


def _as_allowed(gate: Gate) -> Gate:
    """Return a gate as lifted, without the advice on how to lift it."""
    return replace(gate, message=gate.message.removesuffix(_remedy(gate.name)), is_allowed=True)


def _object_count(state: State) -> int:
    return sum(1 for r in state.values() if facts_of(r).is_noticed)


def _empty_state(before: State, after: State) -> Iterator[Gate]:
    if not _object_count(after) and (count := _object_count(before)):
        yield _liftable_gate(
            "empty-state",
            f"{count} → 0",
            "at least 1 object",
            f"this removes all virtual services, VIPs and local routes ({count})",
        )


def _mass_removal(
    before: State, after: State, removed: Sequence[Resource], policy: Policy
) -> Iterator[Gate]:
    for facts in (facts for facts in KINDS.values() if facts.is_noticed):
        leaving = {_identity_of(r) for r in removed if kind_of(r) is facts.kind}
        if leaving and facts.kind is Kind.VIP:  # it may be on another interface from now on
            leaving -= {_identity_of(vip) for vip in after.of_type(Vip)}
        count, removed_count = len(before.of_type(facts.resource_class)), len(leaving)
        if count < policy.ignore_below_objects or not removed_count:
            continue
        percent = 100 * removed_count / count
        if percent > policy.max_removed_percent:
            yield _liftable_gate(
                "mass-removal",
                f"{removed_count} of {count} {facts.noun}s ({percent:.3g} %)",
                f"{policy.max_removed_percent:g} %",
                f"this removes {removed_count} of {count} {facts.noun}s ({percent:.3g}"
                f" %). The limit is {policy.max_removed_percent:g} % (maxRemovedPercent"
                " of the Policy)",
            )


def _identity_of(resource: Resource) -> str:
    return str(resource.address) if isinstance(resource, Vip) else resource.key


@dataclass(frozen=True, slots=True)
class _ServiceWeights:
    """A virtual service's weights by real server, before and after."""

    service_key: Key
    old: dict[Key, int] = field(default_factory=dict)
    new: dict[Key, int] = field(default_factory=dict)


def _changed_weights(before: State, after: State) -> Collection[_ServiceWeights]:
    """Return the virtual services of both states in which a real server changes or is removed."""
    found = []
    for key in changed_groups(after, before):  # in the order of `before`
        old, new = before.groups.get(key, {}), after.groups.get(key, {})
        if key in old and key in new and any(new.get(k) != r for k, r in _servers(old)):
            found.append(_ServiceWeights(key, _weights(old), _weights(new)))
    return found


def _servers(group: Mapping[Key, Resource]) -> Iterator[tuple[Key, RealServer]]:
    return ((key, r) for key, r in group.items() if isinstance(r, RealServer))


def _weights(group: Mapping[Key, Resource]) -> dict[Key, int]:
    return {key: server.weight for key, server in _servers(group)}


def _last_real_server(services: Iterable[_ServiceWeights]) -> Iterator[Gate]:
    for weights in services:
        count = sum(1 for weight in weights.old.values() if weight)
        if count and not any(weights.new.values()):
            yield _liftable_gate(
                "last-real-server",
                f"{count} → 0",
                "at least 1 active real server",
                f"{weights.service_key} would have no active real server left, and"
                " refuse its clients",
                weights.service_key,
            )


def _capacity_drop(services: Iterable[_ServiceWeights], policy: Policy) -> Iterator[Gate]:
    for weights in services:
        total_weight = sum(weights.old.values())
        lost_weight = sum(w for key, w in weights.old.items() if not weights.new.get(key, 0))
        if total_weight and 100 * lost_weight / total_weight > policy.max_capacity_drop_percent:
            percent = 100 * lost_weight / total_weight
            yield _liftable_gate(
                "capacity-drop",
                f"weight {lost_weight} of {total_weight} ({percent:.3g} %)",
                f"{policy.max_capacity_drop_percent:g} %",
                f"{weights.service_key}: this takes weight {lost_weight} of"
                f" {total_weight} out of service ({percent:.3g} %). The limit is"
                f" {policy.max_capacity_drop_percent:g} % (maxCapacityDropPercent of the"
                " Policy)",
                weights.service_key,
            )


def _protected_vip(
    before: State, after: State, removed: Sequence[Resource], policy: Policy
) -> Iterator[Gate]:
    for address in sorted(policy.protected_vips, key=lambda a: (a.version, int(a))):
        losses = []
        if _is_any_local(removed, address) and not _is_any_local(after.values(), address):
            losses.append("be no longer bound or routed")
        if lost_keys := _listeners_on(removed, address):
            losses.append(f"lose {', '.join(lost_keys)}")
        if losses:
            yield _liftable_gate(
                "protected-vip",
                str(address),
                "protected",
                f"{address} would {' and '.join(losses)}, and is one of protectedVips (Policy)",
            )


def _other_director(
    applied: Desired, desired: Desired, removed: Sequence[Resource]
) -> Iterator[Gate]:
    """Detect a wrong `--director`. A renamed director that keeps all its objects passes."""
    lost_count = sum(1 for r in removed if facts_of(r).is_noticed)
    if lost_count and applied.director not in ("", desired.director):
        yield _liftable_gate(
            "other-director",
            f"{applied.director} → {desired.director}",
            applied.director,
            f"this host is director {applied.director}; as director {desired.director},"
            f" it would lose {lost_count} virtual services, VIPs and local routes",
        )


def _is_any_local(resources: Iterable[Resource], address: IPAddress) -> bool:
    return any(is_local_address(r) and r.makes_local(address) for r in resources)


def _listeners_on(resources: Iterable[Resource], address: IPAddress) -> list[Key]:
    return [
        r.key
        for r in resources
        if isinstance(r, VirtualService)
        and isinstance(r.listener, Endpoint)
        and r.listener.address == address
    ]
