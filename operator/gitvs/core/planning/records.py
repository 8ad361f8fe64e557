"""What the store keeps beyond single resources, as JSON objects, and back.

`resource_json` converts single resources; the store decides where it keeps the records.
Reading a record that this module did not write raises KeyError, TypeError or ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from gitvs.core.model.desired import Desired, ManifestLocation, Policy
from gitvs.core.model.health_json import health_from_json, health_json
from gitvs.core.model.kinds import kind_of
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.resource_json import JsonObject, resource_from_json, resource_json
from gitvs.core.model.resources import Key, Kind, Resource
from gitvs.core.model.state import State
from gitvs.core.planning.plan import Change, Phase


def resource_record(resource: Resource) -> JsonObject:
    """Return a resource together with its kind, which is needed to read it back."""
    return {"kind": str(kind_of(resource)), "resource": resource_json(resource)}


def resource_from_record(record: Mapping[str, Any]) -> Resource:
    """The inverse of `resource_record`."""
    return resource_from_json(Kind(record["kind"]), record["resource"])


def change_from_record(record: Mapping[str, Any]) -> Change:
    """Return a change as stores before schema version 4 recorded it."""
    kind = Kind(record["kind"])
    before, after, drain = record["before"], record["after"], record["drain"]
    return Change(
        None if before is None else resource_from_json(kind, before),
        None if after is None else resource_from_json(kind, after),
        Phase(record["phase"]),
        None if drain is None else drain_from_record(drain),
    )


def drain_record(drain: Drain) -> JsonObject:
    """Return a drain. Its deadline is valid only in its incarnation."""
    return {
        "key": drain.key,
        "timeoutSeconds": drain.timeout_seconds,
        "deadlineSeconds": drain.deadline_seconds,
    }


def drain_from_record(record: Mapping[str, Any]) -> Drain:
    """The inverse of `drain_record`."""
    return Drain(Key(record["key"]), record["timeoutSeconds"], record["deadlineSeconds"])


def ledger_record(ledger: Ledger) -> JsonObject:
    """Return a ledger, sorted, so that equal ledgers give equal texts."""
    return {
        "owned": sorted(ledger.owned),
        "drains": [drain_record(ledger.drains[key]) for key in sorted(ledger.drains)],
        "saved": [
            resource_record(ledger.saved_settings[key]) for key in sorted(ledger.saved_settings)
        ],
    }


def ledger_from_record(record: Mapping[str, Any]) -> Ledger:
    """The inverse of `ledger_record`."""
    drains = [drain_from_record(d) for d in record["drains"]]
    saved = [resource_from_record(r) for r in record["saved"]]
    return Ledger(
        frozenset(Key(key) for key in record["owned"]),
        {drain.key: drain for drain in drains},
        {resource.key: resource for resource in saved},
    )


def desired_record(desired: Desired) -> JsonObject:
    """Return a desired state with its policy, and with all that belongs to its objects."""
    return {**desired_head_record(desired), **desired_contents_record(desired)}


def desired_from_record(record: Mapping[str, Any]) -> Desired:
    """The inverse of `desired_record`."""
    return desired_from_records(record, [record])


def desired_head_record(desired: Desired) -> JsonObject:
    """Return a desired state without its objects."""
    return {
        "director": desired.director,
        "interface": desired.interface,
        "policy": policy_record(desired.policy),
        "isStandby": desired.is_standby,
    }


def desired_contents_record(desired: Desired) -> JsonObject:
    """Return the objects of a desired state with drain times, locations, names and checks."""
    checks = {key: health_json(health) for key, health in desired.health.items()}
    return {
        "state": [resource_record(resource) for resource in desired.state.values()],
        "drainSeconds": dict(desired.drain_seconds),
        "sources": {key: _location_record(s) for key, s in desired.locations.items()},
        "serverNames": dict(desired.server_names),
        **({"health": checks} if checks else {}),  # absent where an older gitvs wrote it
    }


def desired_from_records(head: Mapping[str, Any], contents: Sequence[Mapping[str, Any]]) -> Desired:
    """Return a desired state from its head and its contents, which may have several parts."""
    return Desired(
        head["director"],
        head["interface"],
        State(resource_from_record(r) for part in contents for r in part["state"]),
        {Key(key): s for part in contents for key, s in part["drainSeconds"].items()},
        policy_from_record(head["policy"]),
        {
            Key(key): _location_from_record(s)
            for part in contents
            for key, s in part["sources"].items()
        },
        {Key(key): name for part in contents for key, name in part["serverNames"].items()},
        head["isStandby"],
        {
            Key(key): health_from_json(health)
            for part in contents
            for key, health in part.get("health", {}).items()
        },
    )


def policy_record(policy: Policy) -> JsonObject:
    """Return the limits of the gates, with the location that set them."""
    return {
        "maxRemovedPercent": policy.max_removed_percent,
        "maxCapacityDropPercent": policy.max_capacity_drop_percent,
        "ignoreBelowObjects": policy.ignore_below_objects,
        "protectedVips": sorted(str(address) for address in policy.protected_vips),
        "source": None if policy.location is None else _location_record(policy.location),
    }


def policy_from_record(record: Mapping[str, Any]) -> Policy:
    """The inverse of `policy_record`."""
    location = record["source"]
    return Policy(
        record["maxRemovedPercent"],
        record["maxCapacityDropPercent"],
        record["ignoreBelowObjects"],
        frozenset(ip_address(address) for address in record["protectedVips"]),
        None if location is None else _location_from_record(location),
    )


def _location_record(location: ManifestLocation) -> JsonObject:
    return {"service": location.service, "file": location.file, "line": location.line}


def _location_from_record(record: Mapping[str, Any]) -> ManifestLocation:
    return ManifestLocation(record["service"], record["file"], record["line"])
