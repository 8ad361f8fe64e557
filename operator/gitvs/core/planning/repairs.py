"""Which changes of a plan are repairs, and what cannot be repaired while something else fails.

A change is a repair if it brings back what is in force already: the object is the same in the
applied and in the new desired state. All other changes are the commit's own. An object that cannot
be repaired must not prevent the repair of others. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from gitvs.core.model.desired import Desired
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.resources import (
    DummyInterface,
    Endpoint,
    IPAddress,
    Key,
    LocalRoute,
    RealServer,
    Resource,
    Sysctl,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.overlay import needed_by
from gitvs.core.planning.plan import FALLBACK_FLAGS, Change, Phase, is_interface_sysctl


@dataclass(frozen=True, slots=True)
class Unrepairable:
    """An object that is not as it should be, and could not be repaired.

    `next_try_at` is None if it is repaired as soon as the reason is gone.
    """

    key: Key
    reason: str
    since: datetime | None = None
    next_try_at: datetime | None = None


def find_repairs(
    changes: Collection[Change], applied: Desired | None, desired: Desired
) -> frozenset[Key]:
    """Return the keys of the changes that are repairs; without an applied state there are none.

    A change that would be a repair belongs to the commit if it must come after a change of the
    commit, since repairs come first.
    """
    if applied is None:
        return frozenset()
    if applied.state is desired.state:
        return frozenset(c.key for c in changes)
    old, new = applied.state, desired.state
    # Most are the same object in both, which a comparison alone would not notice.
    repairs = [c for c in changes if (x := old.get(c.key)) is (y := new.get(c.key)) or x == y]
    repair_keys = {c.key for c in repairs}
    of_commit = [c for c in changes if c.key not in repair_keys]
    if not of_commit:
        return frozenset(repair_keys)
    remade = [
        c.resource
        for c in of_commit
        if c.before is None and c.key in old and isinstance(c.resource, VirtualService)
    ]
    created_keys = {c.key for c in of_commit if c.before is None}
    changed_listeners = {
        c.resource.listener for c in of_commit if isinstance(c.resource, RealServer)
    }
    is_needed = needed_by(s.listener for s in remade)

    def follows_commit(change: Change) -> bool:
        match change.resource:
            case RealServer(listener):
                return listener.key in created_keys
            case VirtualService(listener):
                return listener in changed_listeners and differs_in_fallback_only(change)
            case Vip() | LocalRoute() as resource:
                return bool(remade) and change.phase is Phase.BIND and is_needed(resource)
            case _:
                return False

    return frozenset(c.key for c in repairs if not follows_commit(c))


def differs_in_fallback_only(change: Change) -> bool:
    """Whether only a fallback flag changes, which gitvs's own drains set."""
    before, after = change.before, change.after
    if not (isinstance(before, VirtualService) and isinstance(after, VirtualService)):
        return False
    return replace(before, flags=before.flags - FALLBACK_FLAGS) == replace(
        after, flags=after.flags - FALLBACK_FLAGS
    )


@dataclass(slots=True)
class Failures:
    """The objects that failed in a pass, with the reasons; what needs one of them is left out.

    `present` is what exists before the pass, `target` what should exist after it.
    """

    present: State
    target: State
    reasons: dict[Key, str]
    unmade_keys: set[Key] = field(init=False)
    """Those of them that were not made: not written, or somebody else's object."""

    def __post_init__(self) -> None:
        self.unmade_keys = set(self.reasons)

    def add(self, reasons: Mapping[Key, str], made_keys: Collection[Key] = ()) -> None:
        """Record objects that failed; those in `made_keys` exist, but not as they should be."""
        self.reasons.update(reasons)
        self.unmade_keys.update(key for key in reasons if key not in made_keys)

    def possible(self, changes: Iterable[Change]) -> tuple[Change, ...]:
        """Return the changes that neither failed nor need an object that failed.

        The others are recorded as failed, with the object that they need.
        """
        if not self.reasons:
            return tuple(changes)
        remaining = [c for c in changes if c.key not in self.reasons]
        unserved = self._unserved_addresses()
        lacking = {}
        for change in remaining:
            needed = next((k for k in _needs(change, unserved) if self._is_absent(k)), None)
            if needed is None and _lowers_weight(change) and _service_key(change) in self.reasons:
                needed = _service_key(change)
            if needed is not None:
                lacking[change.key] = (
                    f"{change.key}: it needs {needed}, which could not be repaired"
                )
        self.add(lacking)
        return tuple(c for c in remaining if c.key not in lacking)

    def _is_absent(self, key: Key) -> bool:
        return key in self.reasons and key not in self.present

    def _unserved_addresses(self) -> dict[IPAddress, Key]:
        """Return the addresses without any virtual service, with one that failed to be made."""
        listeners = [
            s.listener
            for s in self.target.of_type(VirtualService)
            if isinstance(s.listener, Endpoint)
        ]
        served = {x.address for x in listeners if not self._is_absent(x.key)}
        return {x.address: x.key for x in listeners if x.address not in served}


def _needs(change: Change, unserved: Mapping[IPAddress, Key]) -> Iterator[Key]:
    """Yield the keys of the objects that must exist before a change can be made."""
    if change.after is None:
        return
    match change.resource:
        case RealServer() as server:
            yield server.service_key
        case Vip(address, interface):
            yield DummyInterface(interface).key
            if address in unserved:  # other daemons of the host would answer its clients
                yield unserved[address]
        case Sysctl(name) if change.before is None and is_interface_sysctl(name):
            yield DummyInterface(name.split(".")[3].replace("/", ".")).key


def _lowers_weight(change: Change) -> bool:
    """Whether a real server goes to weight 0, which may need its service's fallback flag first."""
    return isinstance(change.after, RealServer) and change.after.weight == 0


def _service_key(change: Change) -> Key:
    assert isinstance(change.resource, RealServer)
    return change.resource.service_key


def merged_ledger(before: Ledger, after: Ledger, kept_keys: Collection[Key]) -> Ledger:
    """Return the ledger of a part of a plan: for `kept_keys` as before, for others as after."""
    if not kept_keys:
        return after
    kept = frozenset(kept_keys)
    return Ledger(
        (after.owned - kept) | (before.owned & kept),
        {
            **{key: drain for key, drain in after.drains.items() if key not in kept},
            **{key: drain for key, drain in before.drains.items() if key in kept},
        },
        {
            **{key: r for key, r in after.saved_settings.items() if key not in kept},
            **{key: r for key, r in before.saved_settings.items() if key in kept},
        },
    )


def ledger_keys(*ledgers: Ledger) -> frozenset[Key]:
    """Return every key that is in one of these ledgers."""
    return frozenset(
        key for x in ledgers for keys in (x.owned, x.drains, x.saved_settings) for key in keys
    )


def is_in_force(resource: Resource | None, applied: Desired | None) -> bool:
    """Whether exactly this object is in force: then making it again is a repair."""
    return (
        resource is not None and applied is not None and applied.state.get(resource.key) == resource
    )
