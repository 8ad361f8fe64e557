"""Health checks as JSON types and back, and their digest.

The names are those of the manifests, with times in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from gitvs.core.model.grouped import Grouped, differences
from gitvs.core.model.health import Check, CheckTimes, Health, OnFailure, TcpCheck
from gitvs.core.model.resource_json import JsonObject, compact_json
from gitvs.core.model.resources import Key

_DIGEST_BYTES = 16
_MODULUS = 2 ** (8 * _DIGEST_BYTES)


def health_json(health: Health) -> JsonObject:
    """Return health checks; what a check leaves out is absent."""
    times = health.times
    return {
        "checks": [_check_json(check) for check in health.checks],
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
        tuple(TcpCheck(**check["tcp"]) for check in json_object["checks"]),
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


def _check_json(check: Check) -> JsonObject:
    fields = {"port": check.port, "send": check.send, "expect": check.expect}
    return {"tcp": {name: value for name, value in fields.items() if value}}


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
