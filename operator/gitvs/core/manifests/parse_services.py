"""Typed Services and Pools from documents that passed their schema, defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitvs.core.durations import seconds_of
from gitvs.core.manifests.defaults import Fields
from gitvs.core.manifests.parse_values import (
    Reader,
    Refused,
    items_of,
    label_match,
    optional,
    read_list,
    selector,
)
from gitvs.core.manifests.syntax.source_positions import Document, Spot
from gitvs.core.manifests.types import (
    Pool,
    PoolReference,
    Service,
    WrittenPersistence,
    WrittenPort,
    WrittenServer,
    WrittenVip,
)
from gitvs.core.model.resources import (
    AddressFamily,
    Forwarding,
    PersistenceEngine,
    Protocol,
    Scheduler,
    SchedulerFlag,
    Tunnel,
)

DEFAULT_DRAIN_SECONDS = 60.0
MAX_PERSISTENCE_SECONDS = 31 * 24 * 3600


def read_service(reader: Reader, document: Document, fields: Fields) -> Service:
    """Read a Service; what cannot be read is left out, and is a problem."""
    values = fields.values
    metadata = document.data["metadata"]
    found = len(reader.problems)
    vips = read_list(reader, fields, "vips", _vip)
    servers = read_list(reader, fields, "realServers", _server)
    is_whole = len(reader.problems) == found
    return Service(
        spot=Spot(document),
        name=metadata["name"],
        labels=metadata.get("labels", {}),
        directors=selector(fields.spot_of("directors"), values.get("directors")),
        vips=tuple(vips),
        host_addresses=tuple(values.get("hostAddresses", ())),
        ports=tuple(_port(*item) for item in items_of(fields, "ports")),
        firewall_mark=values.get("firewallMark"),
        address_family=optional(AddressFamily, values.get("addressFamily")),
        scheduler=Scheduler(values.get("scheduler", "wlc")),
        flags=frozenset(SchedulerFlag(f) for f in values.get("schedulerFlags", ())),
        persistence=read_persistence(reader, fields),
        forwarding=Forwarding(values.get("forwarding", "nat")),
        tunnel=read_tunnel(reader, fields),
        cross_family=values.get("crossFamily", False),
        drain_seconds=_drain_seconds(reader, values),
        real_servers=tuple(servers),
        pools=tuple(_pool_reference(*item) for item in items_of(fields, "pools")),
        spots=fields.spots,
        is_whole=is_whole,
    )


def read_pool(reader: Reader, document: Document) -> Pool:
    """Read a Pool; what cannot be read is left out, and is a problem."""
    spec = document.data["spec"]
    fields = Fields(Spot(document, ("spec",)), spec, {})
    metadata = document.data["metadata"]
    found = len(reader.problems)
    servers = read_list(reader, fields, "realServers", _server)
    is_whole = len(reader.problems) == found
    return Pool(
        Spot(document), metadata["name"], metadata.get("labels", {}), tuple(servers), is_whole
    )


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
        optional(Forwarding, data.get("forwarding")),
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


def read_persistence(reader: Reader, fields: Fields) -> WrittenPersistence | None:
    """Read the persistence of a spec, or of Defaults."""
    data = fields.values.get("persistence")
    if data is None:
        return None
    spot = fields.spot_of("persistence")
    seconds = _persistence_seconds(reader, spot, data)
    return WrittenPersistence(
        seconds,
        data.get("ipv4Prefix", 32),
        data.get("ipv6Prefix", 128),
        optional(PersistenceEngine, data.get("engine")),
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


def read_tunnel(reader: Reader, fields: Fields) -> Tunnel | None:
    """Read the tunnel of a spec, or of Defaults."""
    data = fields.values.get("tunnel")
    return None if data is None else reader.tunnel(fields.spot_of("tunnel"), data)


def _drain_seconds(reader: Reader, values: Mapping[str, Any]) -> float:
    drain = values.get("drain")
    return DEFAULT_DRAIN_SECONDS if drain is None else seconds_of(drain["timeout"])
