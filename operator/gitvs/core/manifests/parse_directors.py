"""Typed Directors, Defaults and Policies from documents that passed their schema."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from gitvs.core.manifests.defaults import Fields, fields_of_section
from gitvs.core.manifests.parse_services import read_persistence, read_tunnel
from gitvs.core.manifests.parse_values import Reader, Refused, read_list, selector
from gitvs.core.manifests.syntax.source_positions import Document, Spot, shown
from gitvs.core.manifests.types import Director, WrittenOwner, WrittenPolicy
from gitvs.core.model.desired import Policy, Source
from gitvs.core.model.resources import IPAddress, IPNetwork, SyncDaemon, SyncRole, TimeoutName

MAX_TIMEOUT_SECONDS = 2_147_483
"""INT_MAX milliseconds: what fits the kernel's jiffies at 1000 Hz."""


def read_director(reader: Reader, document: Document, fields: Fields) -> Director:
    """Read a Director; what cannot be read is left out, and is a problem."""
    values = fields.values
    metadata = document.data["metadata"]
    interface = values.get("interface", "gitvs0")
    with contextlib.suppress(Refused):
        reader.dummy_interface(fields.spot_of("interface"), interface)
    return Director(
        spot=Spot(document),
        name=metadata["name"],
        labels=metadata.get("labels", {}),
        interface=interface,
        addresses=_addresses(reader, fields),
        local_routes=dict(read_list(reader, fields, "localRoutes", _prefix)),
        sysctls=_sysctls(reader, fields),
        timeouts=_timeouts(reader, fields),
        sync_daemons=tuple(read_list(reader, fields, "syncDaemons", _sync_daemon)),
        standby=values.get("standby", False),
        spots=fields.spots,
    )


def read_defaults(reader: Reader, document: Document) -> None:
    """Read the fields of a Defaults document for their problems, used by anything or not."""
    services = fields_of_section(document, "services")
    read_persistence(reader, services)
    read_tunnel(reader, services)
    directors = fields_of_section(document, "directors")
    if "interface" in directors.values:
        with contextlib.suppress(Refused):
            reader.dummy_interface(directors.spot_of("interface"), directors.values["interface"])
    _addresses(reader, directors)
    read_list(reader, directors, "localRoutes", _prefix)
    _sysctls(reader, directors)
    _timeouts(reader, directors)
    read_list(reader, directors, "syncDaemons", _sync_daemon)


def read_policy(reader: Reader, document: Document) -> WrittenPolicy:
    """Read a Policy; what cannot be read is left out, and is a problem."""
    spec = document.data.get("spec", {})
    fields = Fields(Spot(document, ("spec",)), spec, {})
    limits = Policy(
        max_removed_percent=spec.get("maxRemovedPercent", 30),
        max_capacity_drop_percent=spec.get("maxCapacityDropPercent", 50),
        ignore_below_objects=spec.get("ignoreBelowObjects", 10),
        protected_vips=frozenset(dict(read_list(reader, fields, "protectedVips", _address))),
        source=Source(None, document.file, document.place.line),
    )
    owners = read_list(reader, fields, "owners", _owner)
    return WrittenPolicy(Spot(document), limits, tuple(owners))


def _address(reader: Reader, spot: Spot, data: str) -> tuple[IPAddress, Spot]:
    return reader.address(spot, data), spot


def _prefix(reader: Reader, spot: Spot, data: str) -> tuple[IPNetwork, Spot]:
    return reader.prefix(spot, data), spot


def _addresses(reader: Reader, fields: Fields) -> dict[str, dict[IPAddress, Spot]]:
    spot = fields.spot_of("addresses")
    values = fields.values.get("addresses", {})
    named = Fields(spot, values, {})
    return {name: dict(read_list(reader, named, name, _address)) for name in values}


def _sysctls(reader: Reader, fields: Fields) -> dict[str, str]:
    result: dict[str, str] = {}
    for name, value in fields.values.get("sysctls", {}).items():
        spot = fields.spot_of("sysctls") / name
        text = " ".join(str(value).split())
        if any(not part.strip("/") for part in name.split(".")):  # a / stands for a dot
            message = f"{shown(name)} is not the name of a setting"
            reader.refuse(spot, "bad-sysctl", message)
        elif not text.isprintable() or not text:
            message = f"{shown(value)} is not a value for {name}: text on one line, or a number"
            reader.refuse(spot, "bad-sysctl", message)
        else:
            result[name] = text
    return result


def _timeouts(reader: Reader, fields: Fields) -> dict[TimeoutName, int]:
    result: dict[TimeoutName, int] = {}
    for name, text in fields.values.get("timeouts", {}).items():
        spot = fields.spot_of("timeouts") / name
        with contextlib.suppress(Refused):
            seconds = reader.whole_seconds(spot, text)
            if not 1 <= seconds <= MAX_TIMEOUT_SECONDS:
                message = f"a timeout of {text} is out of range; allowed is 1s to "
                raise reader.refuse(
                    spot, "timeout-out-of-range", f"{message}{MAX_TIMEOUT_SECONDS}s (24 days)"
                )
            result[TimeoutName(name)] = seconds
    return result


def _sync_daemon(reader: Reader, spot: Spot, data: Mapping[str, Any]) -> tuple[SyncDaemon, Spot]:
    interface = reader.interface(spot / "interface", data["interface"])
    return SyncDaemon(SyncRole(data["role"]), interface, data.get("id", 0)), spot


def _owner(reader: Reader, spot: Spot, data: Mapping[str, Any]) -> WrittenOwner:
    path = data["path"].rstrip("/")
    if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        message = f"{shown(data['path'])} is not a folder below the chosen path, such as team-a"
        raise reader.refuse(spot / "path", "owner-path", message)
    values = Fields(spot, data, {})
    return WrittenOwner(
        spot,
        path,
        dict(read_list(reader, values, "vips", _prefix)),
        tuple(data.get("firewallMarks", ())),
        selector(spot / "directors", data.get("directors")),
    )
