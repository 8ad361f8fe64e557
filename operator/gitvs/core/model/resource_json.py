"""Resources as JSON, and back.

The plan JSON, `observe --format json`, the store and the digests share this form: the field
names and enum words are those of the manifests, addresses are strings, durations are whole
seconds, with `seconds` in the field name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Any, TypeVar, assert_never

from gitvs.core.model.resources import (
    AddressFamily,
    DummyInterface,
    Endpoint,
    FirewallMark,
    ForeignName,
    Forwarding,
    Kind,
    Listener,
    LocalRoute,
    Persistence,
    PersistenceEngine,
    Protocol,
    RealServer,
    Resource,
    Scheduler,
    SchedulerFlag,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Timeout,
    TimeoutName,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    Vip,
    VirtualService,
    address_text,
)

JsonObject = dict[str, Any]

EnumType = TypeVar("EnumType", bound=StrEnum)


_NOT_ASCII_TEXT = re.compile(r"[^\n -~]+")

compact_json = json.JSONEncoder(separators=(",", ":")).encode
"""Returns a value as compact JSON on one line, as gitvs stores it."""


def json_text(value: object) -> str:
    """Return a value as indented JSON, for programs and for people who read it.

    Characters that do not print are JSON escapes: a terminal does not obey them, and programs
    read the same value.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _NOT_ASCII_TEXT.sub(_escape_unprintable, text) + "\n"


def _escape_unprintable(characters: re.Match[str]) -> str:
    return "".join(c if c.isprintable() else _json_escape(c) for c in characters[0])


def _json_escape(character: str) -> str:
    """Source: RFC 8259, section 7: beyond U+FFFF, an escape is two UTF-16 units."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def listener_json(listener: Listener) -> JsonObject:
    """Return `{protocol, address, port}` or `{firewallMark, addressFamily}`."""
    if isinstance(listener, FirewallMark):
        return {"firewallMark": listener.mark, "addressFamily": str(listener.family)}
    return {
        "protocol": str(listener.protocol),
        "address": address_text(listener.address),
        "port": listener.port,
    }


def listener_from_json(data: Mapping[str, Any]) -> Listener:
    """The inverse of `listener_json`; other fields are ignored."""
    if "firewallMark" in data:
        return FirewallMark(data["firewallMark"], AddressFamily(data["addressFamily"]))
    return Endpoint(Protocol(data["protocol"]), ip_address(data["address"]), data["port"])


def resource_json(resource: Resource) -> JsonObject:
    """Return every field of a resource as JSON types; a field without a value is null."""
    match resource:
        case Sysctl(name, value):
            return {"name": name, "value": value}
        case Timeout(name, seconds):
            return {"name": str(name), "seconds": seconds}
        case SyncDaemon():
            return {
                "role": str(resource.role),
                "interface": resource.interface,
                "id": resource.id,
                "group": address_text(resource.group),
                "port": resource.port,
                "ttl": resource.ttl,
                "maxLength": resource.max_length,
            }
        case DummyInterface(name):
            return {"name": name}
        case Vip():
            return {
                "address": address_text(resource.address),
                "interface": resource.interface,
                "prefixLength": resource.prefix_length,
                "hasRoute": resource.has_route,
            }
        case LocalRoute(prefix):
            return {"prefix": str(prefix)}
        case VirtualService():
            return {
                **listener_json(resource.listener),
                "scheduler": str(resource.scheduler),
                "schedulerFlags": sorted(str(f) for f in resource.flags),
                "onePacket": resource.is_one_packet,
                "persistence": _persistence_json(resource.persistence),
            }
        case RealServer():
            return {
                "virtualService": listener_json(resource.listener),
                "address": address_text(resource.address),
                "port": resource.port,
                "weight": resource.weight,
                "forwarding": str(resource.forwarding),
                "tunnel": _tunnel_json(resource.tunnel),
                "upperThreshold": resource.upper_threshold,
                "lowerThreshold": resource.lower_threshold,
            }
        case _:
            assert_never(resource)


def _persistence_json(persistence: Persistence | None) -> JsonObject | None:
    if persistence is None:
        return None
    return {
        "timeoutSeconds": persistence.timeout_seconds,
        "prefixLength": persistence.prefix_length,
        "engine": None if persistence.engine is None else str(persistence.engine),
    }


def _tunnel_json(tunnel: Tunnel | None) -> JsonObject | None:
    if tunnel is None:
        return None
    return {"type": str(tunnel.type), "port": tunnel.port, "checksum": str(tunnel.checksum)}


def resource_from_json(kind: Kind, data: Mapping[str, Any]) -> Resource:
    """The inverse of `resource_json`.

    Raises:
        KeyError, TypeError, ValueError: `data` is not a result of `resource_json`.
    """
    d = data
    match kind:
        case Kind.SYSCTL:
            return Sysctl(d["name"], d["value"])
        case Kind.TIMEOUTS:
            return Timeout(TimeoutName(d["name"]), d["seconds"])
        case Kind.SYNC_DAEMON:
            daemon = SyncDaemon(SyncRole(d["role"]), d["interface"], d["id"])
            if "group" not in d:  # written by an earlier gitvs, which left all this to the kernel
                return daemon
            group = ip_address(d["group"])
            return replace(
                daemon, group=group, port=d["port"], ttl=d["ttl"], max_length=d["maxLength"]
            )
        case Kind.DUMMY_INTERFACE:
            return DummyInterface(d["name"])
        case Kind.VIP:
            address = ip_address(d["address"])
            return Vip(address, d["interface"], d["prefixLength"], d["hasRoute"])
        case Kind.LOCAL_ROUTE:
            return LocalRoute(ip_network(d["prefix"]))
        case Kind.VIRTUAL_SERVICE:
            return VirtualService(
                listener_from_json(d),
                _enum_or_foreign_name(Scheduler, d["scheduler"]),
                frozenset(SchedulerFlag(f) for f in d["schedulerFlags"]),
                d["onePacket"],
                _persistence_from_json(d["persistence"]),
            )
        case Kind.REAL_SERVER:
            return RealServer(
                listener_from_json(d["virtualService"]),
                ip_address(d["address"]),
                d["port"],
                d["weight"],
                Forwarding(d["forwarding"]),
                _tunnel_from_json(d["tunnel"]),
                d["upperThreshold"],
                d["lowerThreshold"],
            )
        case _:
            assert_never(kind)


def _persistence_from_json(data: Mapping[str, Any] | None) -> Persistence | None:
    if data is None:
        return None
    engine = data["engine"]
    return Persistence(
        data["timeoutSeconds"],
        data["prefixLength"],
        None if engine is None else _enum_or_foreign_name(PersistenceEngine, engine),
    )


def _tunnel_from_json(data: Mapping[str, Any] | None) -> Tunnel | None:
    if data is None:
        return None
    return Tunnel(TunnelType(data["type"]), data["port"], TunnelChecksum(data["checksum"]))


def _enum_or_foreign_name(enum_type: type[EnumType], name: str) -> EnumType | ForeignName:
    """Return a name as an enum member, or as a `ForeignName` if the enum does not have it."""
    try:
        return enum_type(name)
    except ValueError:
        return ForeignName(name)
