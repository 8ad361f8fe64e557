"""The health of a director as JSON, for the status."""

from __future__ import annotations

from gitvs.core.health.judgement import Reason
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.resources import host_and_port
from gitvs.core.status.health import CheckStatus, HealthStatus, ServerHealth, ServiceHealth


def health_json(health: HealthStatus) -> JsonObject | None:
    """Return what is known of the checks as a whole; null if nothing is checked."""
    if not health.tracked:
        return None
    checker = health.checker
    return {
        "isFrozen": health.is_frozen,
        "checker": None
        if checker is None
        else {
            "isAnswering": checker.is_answering,
            "silentSeconds": round(checker.silence_seconds, 1),
            "restarts": checker.restart_count,
            "probes": checker.heartbeat.probes,
            "inFlight": checker.heartbeat.in_flight,
            "latenessSeconds": round(checker.heartbeat.worst_lateness_seconds, 3),
            "withoutResults": len(checker.heartbeat.stale),
        },
    }


def service_health_json(health: ServiceHealth) -> JsonObject:
    """Return what is known of one virtual service; counts are of real servers."""
    counts = {str(reason): health.count(reason) for reason in Reason}
    return {
        "counts": counts,
        "isTroubled": health.is_troubled,
        "isQuorumLost": health.is_quorum_lost,
        "upPercent": None if health.up_percent is None else round(health.up_percent, 1),
        "losePercent": health.limits.lose_percent,
        "gainPercent": health.limits.gain_percent,
        "keepPercent": health.limits.keep_percent,
        "onTrial": list(health.on_trial),
        "realServers": [_server_json(server) for server in health.servers],
    }


def _server_json(health: ServerHealth) -> JsonObject:
    return {
        "key": str(health.server.key),
        "address": host_and_port(health.server.address, health.server.port),
        "standing": str(health.standing),
        "serves": health.serves,
        "reason": None if health.reason is None else str(health.reason),
        "ageSeconds": round(health.age_seconds, 1),
        "failure": None if health.failure is None else str(health.failure),
        "text": health.text,
        "checks": [_check_json(check) for check in health.checks],
    }


def _check_json(check: CheckStatus) -> JsonObject:
    return {
        "check": check.words,
        "standing": str(check.standing),
        "isOnTrial": check.is_on_trial,
        "inARow": check.in_a_row,
        "failure": None if check.failure is None else str(check.failure),
        "text": check.text,
        "latencySeconds": round(check.latency_seconds, 6),
    }
