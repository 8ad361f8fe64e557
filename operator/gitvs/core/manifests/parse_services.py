"""Parses Services and Pools that passed their schema, with defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitvs.core.durations import duration_text, parse_seconds
from gitvs.core.manifests.defaults import SpecFields
from gitvs.core.manifests.parse_values import (
    InvalidValue,
    ValueParser,
    list_items,
    optional_enum,
    parse_label_match,
    parse_list,
    parse_selector,
)
from gitvs.core.manifests.syntax.source_positions import Document, Origin
from gitvs.core.manifests.types import (
    ManifestCheck,
    ManifestHealth,
    ManifestPersistence,
    ManifestPort,
    ManifestRealServer,
    ManifestVip,
    Pool,
    PoolReference,
    Service,
)
from gitvs.core.model.health import CheckTimes, Health, OnFailure
from gitvs.core.model.health_json import check_from_json
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
MIN_INTERVAL_SECONDS = 0.5
MAX_INTERVAL_SECONDS = 600.0
MIN_TIMEOUT_SECONDS = 0.01
_DEFAULT = Health(checks=())


def parse_service(parser: ValueParser, document: Document, fields: SpecFields) -> Service:
    """Parse a Service; an invalid value is left out and recorded as a problem."""
    values = fields.values
    metadata = document.data["metadata"]
    problem_count = len(parser.problems)
    vips = parse_list(parser, fields, "vips", _parse_vip)
    servers = parse_list(parser, fields, "realServers", _parse_server)
    is_complete = len(parser.problems) == problem_count
    return Service(
        origin=Origin(document),
        name=metadata["name"],
        labels=metadata.get("labels", {}),
        directors=parse_selector(fields.origin_of("directors"), values.get("directors")),
        vips=tuple(vips),
        host_addresses=tuple(values.get("hostAddresses", ())),
        ports=tuple(_parse_port(*item) for item in list_items(fields, "ports")),
        firewall_mark=values.get("firewallMark"),
        address_family=optional_enum(AddressFamily, values.get("addressFamily")),
        scheduler=Scheduler(values.get("scheduler", "wlc")),
        flags=frozenset(SchedulerFlag(f) for f in values.get("schedulerFlags", ())),
        persistence=parse_persistence(parser, fields),
        forwarding=Forwarding(values.get("forwarding", "nat")),
        tunnel=parse_tunnel(parser, fields),
        is_cross_family=values.get("crossFamily", False),
        drain_seconds=_parse_drain_seconds(parser, values),
        health=parse_health(parser, fields),
        real_servers=tuple(servers),
        pools=tuple(_parse_pool_reference(*item) for item in list_items(fields, "pools")),
        origins=fields.origins,
        is_complete=is_complete,
    )


def parse_pool(parser: ValueParser, document: Document) -> Pool:
    """Parse a Pool; an invalid value is left out and recorded as a problem."""
    spec = document.data["spec"]
    fields = SpecFields(Origin(document, ("spec",)), spec, {})
    metadata = document.data["metadata"]
    problem_count = len(parser.problems)
    servers = parse_list(parser, fields, "realServers", _parse_server)
    is_complete = len(parser.problems) == problem_count
    return Pool(
        Origin(document), metadata["name"], metadata.get("labels", {}), tuple(servers), is_complete
    )


def _parse_vip(parser: ValueParser, origin: Origin, data: Any) -> ManifestVip:
    if isinstance(data, str):
        return ManifestVip(origin, parser.parse_address(origin, data))
    address = parser.parse_address(origin / "address", data["address"])
    directors = parse_selector(origin / "directors", data.get("directors"))
    return ManifestVip(origin, address, directors, data.get("bind", True))


def _parse_port(origin: Origin, data: Mapping[str, Any]) -> ManifestPort:
    return ManifestPort(
        origin,
        data["port"],
        Protocol(data.get("protocol", "tcp")),
        data.get("targetPort"),
        data.get("onePacket", False),
    )


def _parse_server(
    parser: ValueParser, origin: Origin, data: Mapping[str, Any]
) -> ManifestRealServer:
    tunnel = data.get("tunnel")
    return ManifestRealServer(
        origin,
        parser.parse_address(origin / "address", data["address"]),
        data.get("name"),
        data.get("port"),
        data.get("weight", 1),
        data.get("upperThreshold", 0),
        data.get("lowerThreshold", 0),
        optional_enum(Forwarding, data.get("forwarding")),
        None if tunnel is None else parser.parse_tunnel(origin / "tunnel", tunnel),
        data.get("labels"),
    )


def _parse_pool_reference(origin: Origin, data: Any) -> PoolReference:
    if isinstance(data, str):
        return PoolReference(origin, data)
    return PoolReference(
        origin,
        data["name"],
        tuple(data.get("sameLabels", ())),
        parse_label_match(data.get("matchLabels")),
        data.get("weight", 1),
    )


def parse_persistence(parser: ValueParser, fields: SpecFields) -> ManifestPersistence | None:
    """Parse the persistence of a spec, or of Defaults."""
    data = fields.values.get("persistence")
    if data is None:
        return None
    origin = fields.origin_of("persistence")
    seconds = _parse_persistence_seconds(parser, origin, data)
    return ManifestPersistence(
        seconds,
        data.get("ipv4Prefix", 32),
        data.get("ipv6Prefix", 128),
        optional_enum(PersistenceEngine, data.get("engine")),
    )


def _parse_persistence_seconds(parser: ValueParser, origin: Origin, data: Mapping[str, Any]) -> int:
    """Return the timeout; 1 if it has none that can be parsed, so that this is reported once."""
    text = data.get("timeout")
    if text is None:
        engine = data.get("engine")
        if engine is not None:
            message = f"engine {engine} works only with persistence; give timeout too"
            parser.reject(origin, "engine-without-persistence", message)
        else:
            message = "persistence needs a timeout, for example 5m"
            parser.reject(origin, "persistence-without-timeout", message)
        return 1
    try:
        seconds = parser.parse_whole_seconds(origin / "timeout", text)
    except InvalidValue:
        return 1
    if not 1 <= seconds <= MAX_PERSISTENCE_SECONDS:
        message = f"persistence of {text} is out of range; allowed is 1s to 744h (31 days)"
        hint = "" if seconds else "; leave persistence out to have none"
        parser.reject(origin / "timeout", "persistence-out-of-range", message + hint)
    return seconds


def parse_tunnel(parser: ValueParser, fields: SpecFields) -> Tunnel | None:
    """Parse the tunnel of a spec, or of Defaults."""
    data = fields.values.get("tunnel")
    return None if data is None else parser.parse_tunnel(fields.origin_of("tunnel"), data)


def _parse_drain_seconds(parser: ValueParser, values: Mapping[str, Any]) -> float:
    drain = values.get("drain")
    return DEFAULT_DRAIN_SECONDS if drain is None else parse_seconds(drain["timeout"])


def parse_health(parser: ValueParser, fields: SpecFields) -> ManifestHealth | None:
    """Parse the health checks of a spec, or of Defaults."""
    data = fields.values.get("health")
    if data is None:
        return None
    origin = fields.origin_of("health")
    quorum = data.get("quorum", {})
    lose_percent = float(quorum.get("losePercent", _DEFAULT.lose_percent))
    gain_percent = float(quorum.get("gainPercent", lose_percent))
    if gain_percent < lose_percent:
        message = f"gainPercent {gain_percent:g} is under losePercent, {lose_percent:g}: the quorum"
        message += " would be lost and gained at once; give at least losePercent, or leave it out"
        parser.reject(origin / "quorum" / "gainPercent", "quorum-crossed", message)
    return ManifestHealth(
        origin,
        tuple(
            ManifestCheck(origin / "checks" / index, check_from_json(check))
            for index, check in enumerate(data["checks"])
        ),
        _parse_check_times(parser, origin, data),
        data.get("rise", _DEFAULT.rise),
        data.get("fall", _DEFAULT.fall),
        optional_enum(OnFailure, data.get("onFailure")),
        float(data.get("keepPercent", _DEFAULT.keep_percent)),
        lose_percent,
        gain_percent,
    )


def _parse_check_times(parser: ValueParser, origin: Origin, data: Mapping[str, Any]) -> CheckTimes:
    interval = parse_seconds(data.get("interval", "5s"))
    if not MIN_INTERVAL_SECONDS <= interval <= MAX_INTERVAL_SECONDS:
        message = f"interval {data['interval']} is out of range; allowed is 500ms to 10m"
        parser.reject(origin / "interval", "check-interval-out-of-range", message)
        return CheckTimes()  # the other times are measured against the interval
    times = {"timeout": min(2.0, interval), "retryInterval": max(interval / 3, 0.5)}
    lowest = {"timeout": MIN_TIMEOUT_SECONDS, "retryInterval": MIN_INTERVAL_SECONDS}
    for name in times:
        if name in data:
            times[name] = parse_seconds(data[name])
            if not lowest[name] <= times[name] <= interval:
                message = f"{name} {data[name]} is out of range; allowed is"
                message += f" {duration_text(lowest[name])} to the interval, "
                message += duration_text(interval)
                parser.reject(origin / name, "check-time-out-of-range", message)
    return CheckTimes(interval, times["timeout"], times["retryInterval"])
