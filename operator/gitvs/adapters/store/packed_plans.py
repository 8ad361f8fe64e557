"""The changes of a plan as columns, with everything that an undo needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gitvs.adapters.store.packed_resources import pack_resources, unpack_resources
from gitvs.core.model.ledger import Drain
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.resources import Key, Resource
from gitvs.core.planning.plan import PHASES, Change

_BEFORE, _AFTER = 1, 2
_PHASE_NUMBERS = {phase: number for number, phase in enumerate(PHASES)}


def pack_changes(changes: Sequence[Change]) -> JsonObject:
    """Return changes as columns: which of before and after there are, phases, drains, resources."""
    return {
        "sides": [
            (0 if c.before is None else _BEFORE) | (0 if c.after is None else _AFTER)
            for c in changes
        ],
        "phases": [_PHASE_NUMBERS[c.phase] for c in changes],
        "drains": {
            place: [c.drain.key, c.drain.timeout_seconds, c.drain.deadline_seconds]
            for place, c in enumerate(changes)
            if c.drain is not None
        },
        "befores": pack_resources([c.before for c in changes if c.before is not None]),
        "afters": pack_resources([c.after for c in changes if c.after is not None]),
    }


def unpack_changes(packed: Mapping[str, Any]) -> tuple[Change, ...]:
    """The inverse of `pack_changes`."""
    sides = packed["sides"]
    befores = _spread(sides, _BEFORE, unpack_resources(packed["befores"]))
    afters = _spread(sides, _AFTER, unpack_resources(packed["afters"]))
    drains = {int(place): _unpack_drain(*fields) for place, fields in packed["drains"].items()}
    return tuple(
        Change(before, after, PHASES[phase], drains.get(place))
        for place, (before, after, phase) in enumerate(
            zip(befores, afters, packed["phases"], strict=True)
        )
    )


def _spread(
    sides: Sequence[int], side: int, resources: Iterable[Resource]
) -> Iterable[Resource | None]:
    remaining = iter(resources)
    spread = [next(remaining) if present & side else None for present in sides]
    if next(remaining, None) is not None:
        raise ValueError("more resources than changes")
    return spread


def _unpack_drain(key: str, timeout_seconds: float, deadline_seconds: float) -> Drain:
    return Drain(Key(key), float(timeout_seconds), float(deadline_seconds))
