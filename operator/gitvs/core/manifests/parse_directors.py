"""Parses Directors, Defaults and Policies that passed their schema."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gitvs.core.manifests.defaults import SpecFields, fields_of_section
from gitvs.core.manifests.parse_services import parse_health, parse_persistence, parse_tunnel
from gitvs.core.manifests.parse_values import InvalidValue, ValueParser, parse_list, parse_selector
from gitvs.core.manifests.syntax.source_positions import Document, Origin, value_text
from gitvs.core.manifests.types import Director, ManifestOwner, ManifestPolicy
from gitvs.core.model.desired import ManifestLocation, Policy
from gitvs.core.model.resources import IPAddress, IPNetwork, SyncDaemon, SyncRole, TimeoutName

MAX_TIMEOUT_SECONDS = 2_147_483
"""INT_MAX milliseconds: the most that fits the kernel's jiffies at 1000 Hz."""


def parse_director(parser: ValueParser, document: Document, fields: SpecFields) -> Director:
    """Parse a Director; an invalid value is left out and recorded as a problem."""
    values = fields.values
    metadata = document.data["metadata"]
    interface = values.get("interface", "gitvs0")
    with contextlib.suppress(InvalidValue):
        parser.parse_dummy_interface(fields.origin_of("interface"), interface)
    return Director(
        origin=Origin(document),
        name=metadata["name"],
        labels=metadata.get("labels", {}),
        interface=interface,
        addresses=_parse_addresses(parser, fields),
        local_routes=dict(parse_list(parser, fields, "localRoutes", _parse_prefix)),
        sysctls=_parse_sysctls(parser, fields),
        timeouts=_parse_timeouts(parser, fields),
        sync_daemons=tuple(parse_list(parser, fields, "syncDaemons", _parse_sync_daemon)),
        is_standby=values.get("standby", False),
        origins=fields.origins,
    )


def check_defaults(parser: ValueParser, document: Document) -> None:
    """Parse a Defaults document to record its problems, even if nothing uses its fields."""
    services = fields_of_section(document, "services")
    parse_persistence(parser, services)
    parse_tunnel(parser, services)
    parse_health(parser, services)
    directors = fields_of_section(document, "directors")
    if "interface" in directors.values:
        with contextlib.suppress(InvalidValue):
            parser.parse_dummy_interface(
                directors.origin_of("interface"), directors.values["interface"]
            )
    _parse_addresses(parser, directors)
    parse_list(parser, directors, "localRoutes", _parse_prefix)
    _parse_sysctls(parser, directors)
    _parse_timeouts(parser, directors)
    parse_list(parser, directors, "syncDaemons", _parse_sync_daemon)


def parse_policy(parser: ValueParser, document: Document) -> ManifestPolicy:
    """Parse a Policy; an invalid value is left out and recorded as a problem."""
    spec = document.data.get("spec", {})
    fields = SpecFields(Origin(document, ("spec",)), spec, {})
    limits = Policy(
        max_removed_percent=spec.get("maxRemovedPercent", 30),
        max_capacity_drop_percent=spec.get("maxCapacityDropPercent", 50),
        ignore_below_objects=spec.get("ignoreBelowObjects", 10),
        protected_vips=frozenset(dict(parse_list(parser, fields, "protectedVips", _parse_address))),
        location=ManifestLocation(None, document.file, document.position.line),
    )
    owners = parse_list(parser, fields, "owners", _parse_owner)
    return ManifestPolicy(Origin(document), limits, tuple(owners))


def _parse_address(parser: ValueParser, origin: Origin, data: str) -> tuple[IPAddress, Origin]:
    return parser.parse_address(origin, data), origin


def _parse_prefix(parser: ValueParser, origin: Origin, data: str) -> tuple[IPNetwork, Origin]:
    return parser.parse_prefix(origin, data), origin


def _parse_addresses(parser: ValueParser, fields: SpecFields) -> dict[str, dict[IPAddress, Origin]]:
    origin = fields.origin_of("addresses")
    values = fields.values.get("addresses", {})
    named = SpecFields(origin, values, {})
    return {name: dict(parse_list(parser, named, name, _parse_address)) for name in values}


_BOOLEAN_WORDS = {
    **dict.fromkeys(("true", "yes", "on"), 1),
    **dict.fromkeys(("false", "no", "off"), 0),
}
"""No setting below net. takes one of these words."""


def _parse_sysctls(parser: ValueParser, fields: SpecFields) -> dict[str, str]:
    result: dict[str, str] = {}
    for name, value in fields.values.get("sysctls", {}).items():
        origin = fields.origin_of("sysctls") / name
        text = " ".join(str(value).split())
        if any(not part.strip("/") for part in name.split(".")):  # a / is a dot inside a part
            message = f"{value_text(name)} is not the name of a setting"
            parser.reject(origin, "bad-sysctl", message)
        elif text.lower() in _BOOLEAN_WORDS:
            number = _BOOLEAN_WORDS[text.lower()]
            message = f"{value_text(value)} is no value of the kernel's; write {number}"
            parser.reject(origin, "bad-sysctl", message)
        elif not text.isprintable() or not text:
            message = (
                f"{value_text(value)} is not a value for {name}: text on one line, or a number"
            )
            parser.reject(origin, "bad-sysctl", message)
        else:
            result[name] = text
    return result


def _parse_timeouts(parser: ValueParser, fields: SpecFields) -> dict[TimeoutName, int]:
    result: dict[TimeoutName, int] = {}
    for name, text in fields.values.get("timeouts", {}).items():
        origin = fields.origin_of("timeouts") / name
        with contextlib.suppress(InvalidValue):
            seconds = parser.parse_whole_seconds(origin, text)
            if not 1 <= seconds <= MAX_TIMEOUT_SECONDS:
                message = f"a timeout of {text} is out of range; allowed is 1s to "
                raise parser.reject(
                    origin, "timeout-out-of-range", f"{message}{MAX_TIMEOUT_SECONDS}s (24 days)"
                )
            result[TimeoutName(name)] = seconds
    return result


_MIN_SYNC_LENGTHS = {SyncRole.PRIMARY: 1, SyncRole.BACKUP: 1024}
_MAX_SYNC_LENGTHS = {4: 65507, 6: 65487}
"""The lengths that the kernel takes, by role and by IP version; it corrects others silently.

Source: net/netfilter/ipvs/ip_vs_sync.c, start_sync_thread.
"""


def _parse_sync_daemon(
    parser: ValueParser, origin: Origin, data: Mapping[str, Any]
) -> tuple[SyncDaemon, Origin]:
    interface = parser.parse_interface(origin / "interface", data["interface"])
    daemon = SyncDaemon(SyncRole(data["role"]), interface, data.get("id", 0))
    group = daemon.group
    if "group" in data:
        group = parser.parse_address(origin / "group", data["group"])
        if not group.is_multicast:
            message = f"{group} is no multicast group; write one, such as 224.0.0.81 or ff02::81"
            raise parser.reject(origin / "group", "not-multicast", message)
    lowest, highest = _MIN_SYNC_LENGTHS[daemon.role], _MAX_SYNC_LENGTHS[group.version]
    max_length = data.get("maxLength")
    if max_length is not None and not lowest <= max_length <= highest:
        message = (
            f"{max_length} is out of range; for a {daemon.role} with group {group} it is {lowest}"
            f" to {highest}"
        )
        raise parser.reject(origin / "maxLength", "sync-length-out-of-range", message)
    port, ttl = data.get("port", daemon.port), data.get("ttl", daemon.ttl)
    return replace(daemon, group=group, port=port, ttl=ttl, max_length=max_length), origin


def _parse_owner(parser: ValueParser, origin: Origin, data: Mapping[str, Any]) -> ManifestOwner:
    path = data["path"].rstrip("/")
    if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        message = (
            f"{value_text(data['path'])} is not a folder below the chosen path, such as team-a"
        )
        raise parser.reject(origin / "path", "owner-path", message)
    values = SpecFields(origin, data, {})
    return ManifestOwner(
        origin,
        path,
        dict(parse_list(parser, values, "vips", _parse_prefix)),
        tuple(data.get("firewallMarks", ())),
        parse_selector(origin / "directors", data.get("directors")),
    )
