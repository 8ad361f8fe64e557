"""Health checks as JSON types and back, and their digest.

The names are those of the manifests, with times in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from hashlib import blake2b
from typing import Any

from gitvs.core.model.grouped import Grouped, differences
from gitvs.core.model.health import (
    DEFAULT_STATUS,
    Check,
    CheckTimes,
    DnsCheck,
    DnsProtocol,
    Health,
    HttpCheck,
    OnFailure,
    PingCheck,
    TcpCheck,
    Tls,
    UdpCheck,
    status_range_text,
)
from gitvs.core.model.resource_json import JsonObject, compact_json
from gitvs.core.model.resources import Key

_HOST_AND_PORT = re.compile(r"(\[[^]]*\]|[^:]*)(?::[0-9]+)?")
_DIGEST_BYTES = 16
_MODULUS = 2 ** (8 * _DIGEST_BYTES)


def health_json(health: Health) -> JsonObject:
    """Return health checks; what a check leaves out is absent."""
    times = health.times
    return {
        "checks": [check_json(check) for check in health.checks],
        "intervalSeconds": _number(times.interval_seconds),
        "timeoutSeconds": _number(times.timeout_seconds),
        "retryIntervalSeconds": _number(times.retry_seconds),
        "rise": health.rise,
        "fall": health.fall,
        "onFailure": str(health.on_failure),
        "keepPercent": _number(health.keep_percent),
        "quorum": {
            "losePercent": _number(health.lose_percent),
            "gainPercent": _number(health.gain_percent),
        },
    }


def health_from_json(json_object: Mapping[str, Any]) -> Health:
    """The inverse of `health_json`."""
    quorum = json_object["quorum"]
    return Health(
        tuple(check_from_json(check) for check in json_object["checks"]),
        CheckTimes(
            float(json_object["intervalSeconds"]),
            float(json_object["timeoutSeconds"]),
            float(json_object["retryIntervalSeconds"]),
        ),
        json_object["rise"],
        json_object["fall"],
        OnFailure(json_object["onFailure"]),
        float(json_object["keepPercent"]),
        float(quorum["losePercent"]),
        float(quorum["gainPercent"]),
    )


def check_json(check: Check) -> JsonObject:
    """Return a check as in the manifests: its type, and the fields that are no defaults."""
    if isinstance(check, HttpCheck):
        values = {"port": check.port, "expect": check.expect, **_http_fields(check)}
        return {check.kind: {name: value for name, value in values.items() if value}}
    changed = {f.name: getattr(check, f.name) for f in fields(check)}
    for field in fields(check):
        if changed[field.name] == field.default:
            del changed[field.name]
    return {check.kind: {_JSON_NAMES.get(name, name): value for name, value in changed.items()}}


def _http_fields(check: HttpCheck) -> dict[str, Any]:
    tls = check.tls or Tls("")
    is_default = check.status == DEFAULT_STATUS
    return {
        "path": "" if check.path == "/" else check.path,
        "method": "" if check.method == "GET" else check.method,
        "host": check.host,
        "headers": dict(check.headers),
        "status": [] if is_default else [status_range_text(each) for each in check.status],
        "serverName": "" if tls.server_name == name_of_host(check.host) else tls.server_name,
        "verify": tls.verify,
        "caFile": tls.ca_file,
    }


def check_from_json(json_object: Mapping[str, Any]) -> Check:
    """The inverse of `check_json`; it reads a check of the manifests as well.

    Raises:
        KeyError: there is no such type of check.
    """
    ((kind, given),) = json_object.items()
    if kind not in ("http", "https"):
        return _SIMPLE_CHECKS[kind](**{_FIELD_NAMES.get(n, n): value for n, value in given.items()})
    return _http_check(kind, given)


def _dns_check(**given: Any) -> DnsCheck:
    return DnsCheck(**{**given, "protocol": DnsProtocol(given.get("protocol", DnsProtocol.UDP))})


_SIMPLE_CHECKS: Mapping[str, Callable[..., Check]] = {
    "tcp": TcpCheck,
    "udp": UdpCheck,
    "dns": _dns_check,
    "ping": PingCheck,
}
_JSON_NAMES = {"send_hex": "sendHex", "expect_hex": "expectHex"}
_FIELD_NAMES = {json_name: name for name, json_name in _JSON_NAMES.items()}


def _http_check(kind: str, fields: Mapping[str, Any]) -> HttpCheck:
    host, tls = fields.get("host", ""), None
    if kind == "https":
        name = fields.get("serverName", name_of_host(host))
        tls = Tls(name, fields.get("verify", False), fields.get("caFile", ""))
    return HttpCheck(
        fields.get("port"),
        fields.get("path", "/"),
        fields.get("method", "GET"),
        host,
        tuple(fields.get("headers", {}).items()),
        tuple(map(_status_range, fields["status"])) if "status" in fields else DEFAULT_STATUS,
        fields.get("expect", ""),
        tls,
    )


def name_of_host(host: str) -> str:
    """Return a host without its port, and an IPv6 address without its brackets."""
    found = _HOST_AND_PORT.fullmatch(host)
    bare = host if found is None else found[1]
    return bare.removeprefix("[").removesuffix("]")


def _status_range(value: int | str) -> tuple[int, int]:
    first, _, last = str(value).partition("-")
    return int(first), int(last or first)


def _number(value: float) -> float:
    """Return a number as people write it: 5, not 5.0."""
    return int(value) if value == int(value) else value


def health_digest(
    health: Mapping[Key, Health], known: tuple[Mapping[Key, Health], str] | None = None
) -> str:
    """Return the digest of the checks of virtual services; empty if there are none.

    `known` is another such mapping with its digest: what both share is not looked at.
    """
    before, digest = ({}, "") if known is None else known
    total = int(digest or "0", 16)
    for key, old, new in differences(Grouped.of(before), Grouped.of(health)):
        total += _digest(key, new) - _digest(key, old)
    return f"{total % _MODULUS:0{2 * _DIGEST_BYTES}x}" if health else ""


def _digest(key: Key, health: Health | None) -> int:
    if health is None:
        return 0
    text = f"{key} {compact_json(health_json(health))}"
    return int.from_bytes(blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest(), "big")
