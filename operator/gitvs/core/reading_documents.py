"""Typed documents from those that passed their schema, defaults filled in."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from gitvs.core.defaults import Fields, fields_of_section
from gitvs.core.model import (
    AddressFamily,
    Forwarding,
    IPAddress,
    IPNetwork,
    PersistenceEngine,
    Policy,
    Protocol,
    Scheduler,
    SchedulerFlag,
    Source,
    SyncDaemon,
    SyncRole,
    TimeoutName,
    Tunnel,
)
from gitvs.core.places import Document, Spot, shown
from gitvs.core.reading import Reader, Refused, label_match, selector
from gitvs.core.written import (
    Director,
    Pool,
    PoolReference,
    Service,
    WrittenOwner,
    WrittenPersistence,
    WrittenPolicy,
    WrittenPort,
    WrittenServer,
    WrittenVip,
)

DEFAULT_DRAIN_SECONDS = 60.0
MAX_PERSISTENCE_SECONDS = 31 * 24 * 3600
MAX_TIMEOUT_SECONDS = 2_147_483
"""INT_MAX milliseconds: what fits the kernel's jiffies at 1000 Hz."""


def read_service(reader: Reader, document: Document, fields: Fields) -> Service:
    """Read a Service; what cannot be read is left out, and is a problem."""
    values = fields.values
    metadata = document.data["metadata"]
    found = len(reader.problems)
    vips = _list(reader, fields, "vips", _vip)
    servers = _list(reader, fields, "realServers", _server)
    is_whole = len(reader.problems) == found
    return Service(
        spot=Spot(document),
        name=metadata["name"],
        labels=metadata.get("labels", {}),
        directors=selector(fields.spot_of("directors"), values.get("directors")),
        vips=tuple(vips),
        host_addresses=tuple(values.get("hostAddresses", ())),
        ports=tuple(_port(*item) for item in _items(fields, "ports")),
        firewall_mark=values.get("firewallMark"),
        address_family=_optional(AddressFamily, values.get("addressFamily")),
        scheduler=Scheduler(values.get("scheduler", "wlc")),
        flags=frozenset(SchedulerFlag(f) for f in values.get("schedulerFlags", ())),
        persistence=_persistence(reader, fields),
        forwarding=Forwarding(values.get("forwarding", "nat")),
        tunnel=_tunnel(reader, fields),
        cross_family=values.get("crossFamily", False),
        drain_seconds=_drain_seconds(reader, values),
        real_servers=tuple(servers),
        pools=tuple(_pool_reference(*item) for item in _items(fields, "pools")),
        spots=fields.spots,
        is_whole=is_whole,
    )


def read_pool(reader: Reader, document: Document) -> Pool:
    """Read a Pool; what cannot be read is left out, and is a problem."""
    spec = document.data["spec"]
    fields = Fields(Spot(document, ("spec",)), spec, {})
    metadata = document.data["metadata"]
    found = len(reader.problems)
    servers = _list(reader, fields, "realServers", _server)
    is_whole = len(reader.problems) == found
    return Pool(
        Spot(document), metadata["name"], metadata.get("labels", {}), tuple(servers), is_whole
    )


def read_director(reader: Reader, document: Document, fields: Fields) -> Director:
    """Read a Director; what cannot be read is left out, and is a problem."""
    values = fields.values
    metadata = document.data["metadata"]
    interface = values.get("interface", "gitvs0")
    with contextlib.suppress(Refused):
        reader.interface(fields.spot_of("interface"), interface)
    return Director(
        spot=Spot(document),
        name=metadata["name"],
        labels=metadata.get("labels", {}),
        interface=interface,
        addresses=_addresses(reader, fields),
        local_routes=dict(_list(reader, fields, "localRoutes", _prefix)),
        sysctls=_sysctls(reader, fields),
        timeouts=_timeouts(reader, fields),
        sync_daemons=tuple(_list(reader, fields, "syncDaemons", _sync_daemon)),
        standby=values.get("standby", False),
        spots=fields.spots,
    )


def read_defaults(reader: Reader, document: Document) -> None:
    """Read the fields of a Defaults document for their problems, used by anything or not."""
    services = fields_of_section(document, "services")
    _persistence(reader, services)
    _tunnel(reader, services)
    directors = fields_of_section(document, "directors")
    if "interface" in directors.values:
        with contextlib.suppress(Refused):
            reader.interface(directors.spot_of("interface"), directors.values["interface"])
    _addresses(reader, directors)
    _list(reader, directors, "localRoutes", _prefix)
    _sysctls(reader, directors)
    _timeouts(reader, directors)
    _list(reader, directors, "syncDaemons", _sync_daemon)


def read_policy(reader: Reader, document: Document) -> WrittenPolicy:
    """Read a Policy; what cannot be read is left out, and is a problem."""
    spec = document.data.get("spec", {})
    fields = Fields(Spot(document, ("spec",)), spec, {})
    limits = Policy(
        max_removed_percent=spec.get("maxRemovedPercent", 30),
        max_capacity_drop_percent=spec.get("maxCapacityDropPercent", 50),
        ignore_below_objects=spec.get("ignoreBelowObjects", 10),
        protected_vips=frozenset(dict(_list(reader, fields, "protectedVips", _address))),
        source=Source(None, document.file, document.place.line),
    )
    owners = _list(reader, fields, "owners", _owner)
    return WrittenPolicy(Spot(document), limits, tuple(owners))


def _items(fields: Fields, name: str) -> list[tuple[Spot, Any]]:
    values = fields.values.get(name)
    if not values:
        return []
    spot = fields.spots.get(name) or fields.spot / name
    return [(spot / index, value) for index, value in enumerate(values)]


def _list(reader: Reader, fields: Fields, name: str, read: Any) -> list[Any]:
    """Read each item of a list; those that are refused are left out."""
    result = []
    for spot, data in _items(fields, name):
        with contextlib.suppress(Refused):
            result.append(read(reader, spot, data))
    return result


def _optional(kind: Any, value: str | None) -> Any:
    return None if value is None else kind(value)


def _address(reader: Reader, spot: Spot, data: str) -> tuple[IPAddress, Spot]:
    return reader.address(spot, data), spot


def _prefix(reader: Reader, spot: Spot, data: str) -> tuple[IPNetwork, Spot]:
    return reader.prefix(spot, data), spot


def _vip(reader: Reader, spot: Spot, data: Any) -> WrittenVip:
    if isinstance(data, str):
        return WrittenVip(spot, reader.address(spot, data))
    address = reader.address(spot / "address", data["address"])
    directors = selector(spot / "directors", data.get("directors"))
    return WrittenVip(spot, address, directors, data.get("bind", True))


def _port(spot: Spot, data: Mapping[str, Any]) -> WrittenPort:
    return WrittenPort(
        spot,
        data["port"],
        Protocol(data.get("protocol", "tcp")),
        data.get("targetPort"),
        data.get("onePacket", False),
    )


def _server(reader: Reader, spot: Spot, data: Mapping[str, Any]) -> WrittenServer:
    tunnel = data.get("tunnel")
    return WrittenServer(
        spot,
        reader.address(spot / "address", data["address"]),
        data.get("name"),
        data.get("port"),
        data.get("weight", 1),
        data.get("upperThreshold", 0),
        data.get("lowerThreshold", 0),
        _optional(Forwarding, data.get("forwarding")),
        None if tunnel is None else reader.tunnel(spot / "tunnel", tunnel),
        data.get("labels"),
    )


def _pool_reference(spot: Spot, data: Any) -> PoolReference:
    if isinstance(data, str):
        return PoolReference(spot, data)
    return PoolReference(
        spot,
        data["name"],
        tuple(data.get("sameLabels", ())),
        label_match(data.get("matchLabels")),
        data.get("weight", 1),
    )


def _persistence(reader: Reader, fields: Fields) -> WrittenPersistence | None:
    data = fields.values.get("persistence")
    if data is None:
        return None
    spot = fields.spot_of("persistence")
    seconds = _persistence_seconds(reader, spot, data)
    return WrittenPersistence(
        seconds,
        data.get("ipv4Prefix", 32),
        data.get("ipv6Prefix", 128),
        _optional(PersistenceEngine, data.get("engine")),
    )


def _persistence_seconds(reader: Reader, spot: Spot, data: Mapping[str, Any]) -> int:
    """Return the timeout; 1 where it is wrong, so that nothing else is reported for it."""
    text = data.get("timeout")
    if text is None:
        engine = data.get("engine")
        if engine is not None:
            message = f"engine {engine} works only with persistence; give timeout too"
            reader.refuse(spot, "engine-without-persistence", message)
        else:
            message = "persistence needs a timeout, for example 5m"
            reader.refuse(spot, "persistence-without-timeout", message)
        return 1
    try:
        seconds = reader.whole_seconds(spot / "timeout", text)
    except Refused:
        return 1
    if not 1 <= seconds <= MAX_PERSISTENCE_SECONDS:
        message = f"persistence of {text} is out of range; allowed is 1s to 744h (31 days)"
        hint = "" if seconds else "; leave persistence out to have none"
        reader.refuse(spot / "timeout", "persistence-out-of-range", message + hint)
    return seconds


def _tunnel(reader: Reader, fields: Fields) -> Tunnel | None:
    data = fields.values.get("tunnel")
    return None if data is None else reader.tunnel(fields.spot_of("tunnel"), data)


def _drain_seconds(reader: Reader, values: Mapping[str, Any]) -> float:
    drain = values.get("drain")
    return DEFAULT_DRAIN_SECONDS if drain is None else reader.milliseconds(drain["timeout"]) / 1000


def _addresses(reader: Reader, fields: Fields) -> dict[str, dict[IPAddress, Spot]]:
    spot = fields.spot_of("addresses")
    values = fields.values.get("addresses", {})
    named = Fields(spot, values, {})
    return {name: dict(_list(reader, named, name, _address)) for name in values}


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
        dict(_list(reader, values, "vips", _prefix)),
        tuple(data.get("firewallMarks", ())),
        selector(spot / "directors", data.get("directors")),
    )
