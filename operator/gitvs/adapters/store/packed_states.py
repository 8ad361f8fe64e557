"""Desired states and ledgers as the segments of a chain.

Both are mappings by key, and a segment says which keys have which values now, and which keys are
gone. The first segment of a chain says so relative to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from gitvs.adapters.store.chains import Chain, extend_chain
from gitvs.adapters.store.packed_resources import pack_resources, unpack_resources
from gitvs.adapters.store.sealed_records import SealedRecords
from gitvs.core.model.desired import Desired, ManifestLocation
from gitvs.core.model.grouped import Grouped, differences
from gitvs.core.model.health import Health
from gitvs.core.model.health_json import health_from_json, health_json
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.resources import Key, Resource
from gitvs.core.model.state import State
from gitvs.core.planning.records import (
    policy_from_record,
    resource_from_record,
    resource_record,
)

V = TypeVar("V")

EMPTY_DESIRED = Desired("", "", State())


def changed_keys(before: Mapping[Key, object], after: Mapping[Key, object]) -> list[Key]:
    """Return the keys whose values differ, in the order of `after`; those that are gone last."""
    return [key for key, _, _ in differences(Grouped.of(before), Grouped.of(after))]


# Desired states


def extend_state_chain(
    records: SealedRecords, chain: Chain, before: Desired, after: Desired
) -> Chain:
    """Return a chain for `after`, given that of `before`; its head is not part of it."""
    if not chain:  # nothing to compare with
        return extend_chain(records, [], dict, lambda: _pack_whole_state(after), True)
    keys = changed_keys(before.state, after.state)
    sections = [
        {key: new.get(key) for key in changed_keys(old, new)}
        for old, new in zip(_sections(before), _sections(after), strict=True)
    ]
    if not keys and not any(sections):
        return chain
    count = max(len(keys), *map(len, sections))
    return extend_chain(
        records,
        chain,
        lambda: _pack_state(after.state, _sections(after), keys, sections),
        lambda: _pack_whole_state(after),
        is_mostly_changed=count * 2 > len(after.state),
    )


def _pack_whole_state(desired: Desired) -> JsonObject:
    """Return a segment with everything, from plain dicts: asking groups takes twice as long."""
    state = dict(desired.state.items())
    sections = [dict(section.items()) for section in _sections(desired)]
    return _pack_state(state, sections, list(state), sections)


def _sections(desired: Desired) -> tuple[Mapping[Key, Any], ...]:
    return desired.drain_seconds, desired.locations, desired.server_names, desired.health


def _pack_state(
    state: Mapping[Key, Resource],
    sections: Sequence[Mapping[Key, Any]],
    keys: Sequence[Key],
    changed_sections: Sequence[Mapping[Key, Any]],
) -> JsonObject:
    """Return a segment with the resources of `keys`, and with what the sections say.

    What the sections say of these resources is a column beside them, the rest is by key.
    """
    present = [key for key in keys if key in state]
    drains, locations, names, checks = sections
    files: dict[tuple[str | None, str], int] = {}
    beside = [locations.get(key) for key in present]
    is_beside = set(present)
    more_drains, more_locations, more_names, more_checks = (
        {key: value for key, value in section.items() if key not in is_beside}
        for section in changed_sections
    )
    values: dict[Health, int] = {}
    beside_checks = [_place_of(checks.get(key), values) for key in present]
    packed_checks = {
        "health": beside_checks,
        "moreHealth": {key: _place_of(value, values) for key, value in more_checks.items()},
        "healthValues": [health_json(value) for value in values],
    }
    return {
        "put": pack_resources([state[key] for key in present]),
        "dropped": [key for key in keys if key not in state],
        "drains": [drains.get(key) for key in present],
        "names": [names.get(key) for key in present],
        "files": [x and files.setdefault((x.service, x.file), len(files)) for x in beside],
        "lines": [x and x.line for x in beside],
        "fileNames": list(files),
        "moreDrains": more_drains,
        "moreNames": more_names,
        "moreLocations": {
            key: x and [x.service, x.file, x.line] for key, x in more_locations.items()
        },
        **(packed_checks if values or more_checks else {}),
    }


def _place_of(health: Health | None, values: dict[Health, int]) -> int | None:
    """Return the index of a value among those that a segment has, where it is written once."""
    return None if health is None else values.setdefault(health, len(values))


def read_state(head: Mapping[str, Any], segments: Iterable[Mapping[str, Any]]) -> Desired:
    """Return a desired state from its head and the segments of its chain."""
    resources: dict[Key, Resource] = {}
    drains: dict[Key, float] = {}
    locations: dict[Key, ManifestLocation] = {}
    names: dict[Key, str] = {}
    checks: dict[Key, Health] = {}
    for segment in segments:
        put = unpack_resources(segment["put"])
        keys = [r.key for r in put]
        files = segment["fileNames"]
        beside = [
            None if file is None else ManifestLocation(files[file][0], files[file][1], line)
            for file, line in zip(segment["files"], segment["lines"], strict=True)
        ]
        for key in segment["dropped"]:
            del resources[key]
        resources.update(zip(keys, put, strict=True))
        _update(drains, zip(keys, segment["drains"], strict=True), segment["moreDrains"])
        _update(names, zip(keys, segment["names"], strict=True), segment["moreNames"])
        more = {
            key: None if x is None else ManifestLocation(*x)
            for key, x in segment["moreLocations"].items()
        }
        _update(locations, zip(keys, beside, strict=True), more)
        _update(checks, *_read_checks(segment, keys))
    return Desired(
        head["director"],
        head["interface"],
        State(resources.values()),
        Grouped.of(drains),
        policy_from_record(head["policy"]),
        Grouped.of(locations),
        Grouped.of(names),
        head["isStandby"],
        Grouped.of(checks),
    )


def _read_checks(
    segment: Mapping[str, Any], keys: Sequence[Key]
) -> tuple[Iterable[tuple[Key, Health | None]], Mapping[Key, Health | None]]:
    """Return the health checks of a segment, which has none where these fields are absent."""
    if "health" not in segment:
        return ((key, None) for key in keys), {}
    values = [None, *map(health_from_json, segment["healthValues"])]
    beside = [values[0 if place is None else place + 1] for place in segment["health"]]
    more = segment["moreHealth"].items()
    return (
        zip(keys, beside, strict=True),
        {Key(key): values[0 if place is None else place + 1] for key, place in more},
    )


def _update(
    section: dict[Key, V],
    beside: Iterable[tuple[Key, V | None]],
    more: Mapping[Key, V | None],
) -> None:
    """Change the contents of a section; None means that it says nothing of a key."""
    for key, value in (*beside, *more.items()):
        if value is None:
            section.pop(key, None)
        else:
            section[key] = value


# Ledgers


def extend_ledger_chain(
    records: SealedRecords, chain: Chain, before: Ledger, after: Ledger
) -> Chain:
    """Return a chain for `after`, given that of `before`."""
    owned: frozenset[Key] = frozenset()
    unowned = owned
    if after.owned is not before.owned:  # usually it is the same object
        owned, unowned = after.owned - before.owned, before.owned - after.owned
    drains = {key: after.drains.get(key) for key in changed_keys(before.drains, after.drains)}
    saved = {
        key: after.saved_settings.get(key)
        for key in changed_keys(before.saved_settings, after.saved_settings)
    }
    if not (owned or unowned or drains or saved):
        return chain
    return extend_chain(
        records,
        chain,
        lambda: _pack_ledger(owned, unowned, drains, saved),
        lambda: _pack_ledger(after.owned, (), after.drains, after.saved_settings),
        is_mostly_changed=(len(owned) + len(unowned) + len(drains)) * 2 > len(after.owned),
    )


def _pack_ledger(
    owned: Iterable[Key],
    unowned: Iterable[Key],
    drains: Mapping[Key, Drain | None],
    saved: Mapping[Key, Resource | None],
) -> JsonObject:
    return {
        "owned": sorted(owned),
        "unowned": sorted(unowned),
        "drains": {k: d and [d.timeout_seconds, d.deadline_seconds] for k, d in drains.items()},
        "saved": {key: r and resource_record(r) for key, r in saved.items()},
    }


def read_ledger(segments: Iterable[Mapping[str, Any]]) -> Ledger:
    """Return a ledger from the segments of its chain."""
    owned: set[Key] = set()
    drains: dict[Key, Drain] = {}
    saved: dict[Key, Resource] = {}
    for segment in segments:
        owned.difference_update(segment["unowned"])
        owned.update(map(Key, segment["owned"]))
        new_drains = {
            key: None if times is None else Drain(Key(key), float(times[0]), float(times[1]))
            for key, times in segment["drains"].items()
        }
        new_saved = {
            key: None if record is None else resource_from_record(record)
            for key, record in segment["saved"].items()
        }
        _update(drains, (), new_drains)
        _update(saved, (), new_saved)
    return Ledger(frozenset(owned), drains, saved)
