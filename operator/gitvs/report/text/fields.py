"""The fields of a resource for people: by name, in the words of manifests."""

from __future__ import annotations

from typing import assert_never

from gitvs.core.durations import duration_text
from gitvs.core.model.observation import DEFAULT_MTU
from gitvs.core.model.resources import (
    AddressFamily,
    DummyInterface,
    LocalRoute,
    RealServer,
    Resource,
    SyncDaemon,
    Sysctl,
    Timeout,
    Tunnel,
    TunnelChecksum,
    Vip,
    VirtualService,
    address_text,
)

_HOST_PREFIX_LENGTHS = {AddressFamily.IPV4: 32, AddressFamily.IPV6: 128}

Fields = dict[str, str]
"""Name to value, in the order in which people read them."""


def fields_of(resource: Resource) -> Fields:
    """Return the fields of a resource that can change in place; its key is not one of them."""
    match resource:
        case Sysctl():
            return {"value": resource.value}
        case Timeout():
            return {"timeout": duration_text(resource.seconds)}
        case SyncDaemon():
            return {
                "interface": resource.interface,
                "id": str(resource.id),
                "group": address_text(resource.group),
                "port": str(resource.port),
                "ttl": str(resource.ttl),
                "max length": str(resource.max_length or "as the kernel chooses"),
            }
        case DummyInterface() | LocalRoute():
            return {}
        case Vip():
            return {"route": "present" if resource.has_route else "missing"}
        case VirtualService():
            return {
                "scheduler": str(resource.scheduler),
                "flags": ", ".join(sorted(resource.flags)) or "none",
                "one-packet": "on" if resource.is_one_packet else "off",
                "persistence": persistence_text(resource),
            }
        case RealServer():
            return {
                "forwarding": forwarding_text(resource),
                "weight": str(resource.weight),
                "upper threshold": str(resource.upper_threshold or "none"),
                "lower threshold": str(resource.lower_threshold or "none"),
            }
        case _:
            assert_never(resource)


_DEFAULT_VALUES = frozenset({"none", "off"})
"""Values that a new object need not show."""

UNLABELLED_FIELDS = frozenset({"value", "timeout"})
"""Fields that need no name: their object has no other."""


def nondefault_fields(resource: Resource) -> Fields:
    """Return the fields to show for an object that is created or deleted."""
    fields = fields_of(resource)
    if isinstance(resource, SyncDaemon):
        is_usual = resource.max_length == resource.default_max_length(DEFAULT_MTU)
        usual_length = resource.max_length if is_usual else None
        usual = fields_of(
            SyncDaemon(resource.role, resource.interface, resource.id, max_length=usual_length)
        )
        shown = ("interface", "id")
        return {k: value for k, value in fields.items() if k in shown or value != usual[k]}
    return {
        name: value
        for name, value in fields.items()
        if value not in _DEFAULT_VALUES or name in UNLABELLED_FIELDS
    }


def changed_fields(before: Resource, after: Resource) -> Fields:
    """Return the fields that differ, as `old → new`."""
    old, new = fields_of(before), fields_of(after)
    return {name: before_after_text(old[name], new[name]) for name in new if old[name] != new[name]}


def fields_text(fields: Fields) -> str:
    """Return `scheduler wlc → wrr, persistence 5m`."""
    return ", ".join(v if k in UNLABELLED_FIELDS else f"{k} {v}" for k, v in fields.items())


def thresholds_text(fields: Fields) -> str:
    """Return the thresholds that a real server has, or had."""
    names = ("upper threshold", "lower threshold")
    return ", ".join(f"{name} {fields[name]}" for name in names if fields[name] != "none")


def before_after_text(before: object, after: object) -> str:
    """Return `1 → 2`, or one value if both are the same; `–` means None."""
    old, new = ("–" if value is None else str(value) for value in (before, after))
    return old if old == new else f"{old} → {new}"


def persistence_text(service: VirtualService) -> str:
    """Return `5m, clients by /24, engine sip`; by default a client is one address."""
    persistence = service.persistence
    if persistence is None:
        return "none"
    parts = [duration_text(persistence.timeout_seconds)]
    if persistence.prefix_length != _HOST_PREFIX_LENGTHS[service.listener.family]:
        parts.append(f"clients by /{persistence.prefix_length}")
    if persistence.engine is not None:
        parts.append(f"engine {persistence.engine}")
    return ", ".join(parts)


def forwarding_text(server: RealServer) -> str:
    """Return `nat`, `dr`, or `tun` with how it wraps packets."""
    if server.tunnel is None:
        return str(server.forwarding)
    return f"{server.forwarding} {tunnel_text(server.tunnel)}"


def tunnel_text(tunnel: Tunnel) -> str:
    """Return `ipip`, `gre` or `gue:6080 checksum remote`; a checksum only where there is one."""
    port = f":{tunnel.port}" if tunnel.port else ""
    checksum = "" if tunnel.checksum is TunnelChecksum.NONE else f" checksum {tunnel.checksum}"
    return f"{tunnel.type}{port}{checksum}"
