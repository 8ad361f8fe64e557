"""Safety rules over a change of desired state.

Gates compare the applied desired state with the new one, never the kernel, so that a preview
and the agent agree, and a removal counts once: when people remove it. The live gates,
`conflict` and `unsupported`, are the exception: they are about this host.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from gitvs.core.model.desired import Desired, Policy
from gitvs.core.model.resources import (
    Endpoint,
    IPAddress,
    Key,
    LocalRoute,
    RealServer,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import Conflict

LIFTABLE = (
    "empty-state",
    "mass-removal",
    "last-real-server",
    "capacity-drop",
    "protected-vip",
    "other-director",
)
"""The gates that `Gitvs-Allow` and `--allow` lift. A `conflict` has `--adopt` instead."""


UNKNOWN_GATE = "unknown-gate"
"""The rule of a problem in a commit message: it names a gate that is none."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One rule that a plan meets: what was measured, against what limit, and how to lift it.

    `key` is the object that it is about, if it is about one.
    """

    name: str
    measured: str
    limit: str
    message: str
    allowed: bool
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one line of a commit message lifts: a gate, on some directors, or on all.

    `line` counts from 1.
    """

    gate: str
    directors: tuple[str, ...]
    line: int

    def holds_on(self, director: str) -> bool:
        """Whether it is about a director."""
        return not self.directors or director in self.directors


_SAID = "gitvs-allow"


def allowances(message: str) -> Iterator[Allowance]:
    """Yield what a commit message lifts.

    A line is `Gitvs-Allow: mass-removal`, or `Gitvs-Allow: mass-removal lb3` for one director.
    Any line counts: squash and merge commits put them anywhere.
    """
    for number, line in enumerate(message.split("\n"), start=1):
        said, _, what = line.partition(":")
        if said.strip().lower() == _SAID and (words := what.split(maxsplit=1)):
            directors = " ".join(words[1:]).replace(",", " ").split()
            yield Allowance(words[0], tuple(directors), number)


def allowed_gates(messages: Iterable[str], director: str) -> frozenset[str]:
    """Return the gates that commit messages lift for a director."""
    said = (allowance for message in messages for allowance in allowances(message))
    return frozenset(a.gate for a in said if a.holds_on(director))


def unknown_gates(names: Iterable[str]) -> list[str]:
    """Return the names that are no gate that can be lifted."""
    return sorted(set(names) - set(LIFTABLE))


def evaluate(applied: Desired | None, desired: Desired, allowed: Collection[str]) -> list[Gate]:
    """Return every gate that the step from applied to desired state meets.

    Without an applied state there is nothing to lose, hence no gate.
    """
    if applied is None:
        return []
    policy = stricter(applied.policy, desired.policy)
    before, after = applied.state, desired.state
    if before is after:
        return []
    services = _changed_weights(before, after)
    found = [
        *_last_real_server(services),
        *_capacity_drop(services, policy),
        *_protected_vip(before, after, policy),
    ]
    if not before.keys() <= after.keys():
        found = [
            *_empty_state(before, after),
            *_mass_removal(before, after, policy),
            *found,
            *_other_director(applied, desired),
        ]
    return [replace(gate, allowed=gate.name in allowed) for gate in found]


def stricter(old: Policy, new: Policy) -> Policy:
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
        Gate("conflict", str(c.key), "none", c.message, allowed=False, key=c.key) for c in conflicts
    ]


def _gate(name: str, measured: str, limit: str, message: str, key: Key | None = None) -> Gate:
    remedy = f"`Gitvs-Allow: {name}` in a commit message, or `--allow {name}`, lifts it once"
    return Gate(name, measured, limit, f"{message}; {remedy}", allowed=False, key=key)


def _listening(state: State) -> int:
    return sum(1 for r in state.values() if isinstance(r, VirtualService | Vip | LocalRoute))


def _empty_state(before: State, after: State) -> Iterator[Gate]:
    count = _listening(before)
    if count and not _listening(after):
        yield _gate(
            "empty-state",
            f"{count} → 0",
            "at least 1 object",
            f"all {count} virtual services, VIPs and local routes would leave",
        )


def _mass_removal(before: State, after: State, policy: Policy) -> Iterator[Gate]:
    for noun, old, new in (
        ("virtual services", _keys(before, VirtualService), _keys(after, VirtualService)),
        ("VIPs", _addresses(before), _addresses(after)),
        ("local routes", _keys(before, LocalRoute), _keys(after, LocalRoute)),
    ):
        gone = len(old - new)
        if len(old) < policy.ignore_below_objects or not gone:
            continue
        percent = 100 * gone / len(old)
        if percent > policy.max_removed_percent:
            yield _gate(
                "mass-removal",
                f"{gone} of {len(old)} {noun} ({percent:.3g} %)",
                f"{policy.max_removed_percent:g} %",
                f"{gone} of {len(old)} {noun} would leave, which is {percent:.3g} % and over"
                f" maxRemovedPercent, {policy.max_removed_percent:g} % (Policy)",
            )


def _keys(state: State, kind: type[VirtualService] | type[LocalRoute]) -> set[str]:
    return {r.key for r in state.of(kind)}


def _addresses(state: State) -> set[str]:
    return {str(v.address) for v in state.of(Vip)}


@dataclass(frozen=True, slots=True)
class _Weights:
    """A virtual service's weights by real server, before and after."""

    service: Key
    old: dict[Key, int] = field(default_factory=dict)
    new: dict[Key, int] = field(default_factory=dict)


def _changed_weights(before: State, after: State) -> Collection[_Weights]:
    """Return the virtual services of both states in which a real server changes or leaves."""
    now = after.by_key
    pairs = [(r, now.get(r.key)) for r in before.of(RealServer)]
    touched = {old.listener.key for old, new in pairs if old is not new and old != new}
    found = {key: _Weights(key) for key in before if key in touched and key in after}
    if not found:
        return ()
    for server in before.of(RealServer):
        if server.listener.key in found:
            found[server.listener.key].old[server.key] = server.weight
    for server in after.of(RealServer):
        if server.listener.key in found:
            found[server.listener.key].new[server.key] = server.weight
    return found.values()


def _last_real_server(services: Iterable[_Weights]) -> Iterator[Gate]:
    for weights in services:
        count = sum(1 for weight in weights.old.values() if weight)
        if count and not any(weights.new.values()):
            yield _gate(
                "last-real-server",
                f"{count} → 0",
                "at least 1 active real server",
                f"{weights.service} would stay without an active real server, and refuse its"
                " clients",
                weights.service,
            )


def _capacity_drop(services: Iterable[_Weights], policy: Policy) -> Iterator[Gate]:
    for weights in services:
        total = sum(weights.old.values())
        lost = sum(w for key, w in weights.old.items() if not weights.new.get(key, 0))
        if total and 100 * lost / total > policy.max_capacity_drop_percent:
            percent = 100 * lost / total
            yield _gate(
                "capacity-drop",
                f"weight {lost} of {total} ({percent:.3g} %)",
                f"{policy.max_capacity_drop_percent:g} %",
                f"{weights.service}: real servers with {lost} of its weight of {total} would leave"
                f" or go to 0, which is {percent:.3g} % and over maxCapacityDropPercent,"
                f" {policy.max_capacity_drop_percent:g} % (Policy)",
                weights.service,
            )


def _protected_vip(before: State, after: State, policy: Policy) -> Iterator[Gate]:
    for address in sorted(policy.protected_vips, key=lambda a: (a.version, int(a))):
        losses = []
        if _is_local(before, address) and not _is_local(after, address):
            losses.append("be no longer bound or routed")
        if lost := [str(key) for key in _listeners_on(before, address) if key not in after]:
            losses.append(f"lose {', '.join(lost)}")
        if losses:
            yield _gate(
                "protected-vip",
                str(address),
                "protected",
                f"{address} would {' and '.join(losses)}, and is one of protectedVips (Policy)",
            )


def _other_director(applied: Desired, desired: Desired) -> Iterator[Gate]:
    """Catch a wrong `--director`; renaming one that keeps everything passes."""
    gone = [
        key
        for key, r in applied.state.items()
        if isinstance(r, VirtualService | Vip | LocalRoute) and key not in desired.state
    ]
    if gone and applied.director not in ("", desired.director):
        yield _gate(
            "other-director",
            f"{applied.director} → {desired.director}",
            applied.director,
            f"this host is {applied.director} so far; as {desired.director} it would lose"
            f" {len(gone)} virtual services, VIPs and local routes",
        )


def _is_local(state: State, address: IPAddress) -> bool:
    return any(v.address == address for v in state.of(Vip)) or any(
        address in r.prefix for r in state.of(LocalRoute)
    )


def _listeners_on(state: State, address: IPAddress) -> list[Key]:
    return [
        s.key
        for s in state.of(VirtualService)
        if isinstance(s.listener, Endpoint) and s.listener.address == address
    ]
