"""A director's status as JSON: `gitvs status --json`, and the agent's answer."""

from __future__ import annotations

from datetime import UTC, datetime

from gitvs.core.model.history import Commit, HistoryEntry
from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resource_json import JsonObject, resource_json
from gitvs.core.model.resources import host_and_port
from gitvs.core.status.agent_status import (
    AgentStatus,
    HookStatus,
    LastPass,
    ServerStatus,
    ServiceStatus,
    SourceStatus,
)
from gitvs.core.status.health import HealthStatus
from gitvs.report.status.change_counts import summary_of_entry
from gitvs.report.status.health_json import health_json, service_health_json
from gitvs.report.text.operations import operation_json

FORMAT_VERSION = "1.0"


def status_json(status: AgentStatus) -> JsonObject:
    """Return a status with all that is known; what is not known is null. Times are in UTC."""
    return {
        "formatVersion": FORMAT_VERSION,
        "director": status.director,
        "version": status.version,
        "at": time_json(status.at),
        "startedAt": time_json(status.started_at),
        "source": _source_json(status.source),
        "hook": None if status.hook is None else _hook_json(status.hook),
        "desired": commit_json(status.desired_commit),
        "applied": commit_json(status.applied_commit),
        "appliedAt": time_json(status.applied_at),
        "isApplied": status.is_applied,
        "desiredDigest": status.desired_digest or None,
        "last": None if status.last_pass is None else _last_pass_json(status.last_pass),
        "lastChange": (
            None if status.last_change is None else _last_change_json(status.last_change)
        ),
        "observedAt": time_json(status.observed_at),
        "drift": list(status.drifted_keys),
        "unrepairable": [
            {
                "key": str(u.key),
                "reason": u.reason,
                "since": time_json(u.since),
                "nextTryAt": time_json(u.next_try_at),
            }
            for u in status.unrepairable
        ],
        "warnings": [warning.as_json() for warning in status.warnings],
        "vips": list(status.vips),
        "isStandby": status.is_standby,
        "operations": [operation_json(operation) for operation in status.operations.all],
        "quarantined": [
            {"commit": q.commit_id, "reason": q.reason, "at": time_json(q.quarantined_at)}
            for q in status.quarantined
        ],
        "isTransactionOpen": status.is_transaction_open,
        "health": health_json(status.health),
        "services": [_service_json(service, status.health) for service in status.services],
    }


def time_json(at: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC, in whole seconds."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds")


def commit_json(commit: Commit | None) -> JsonObject | None:
    """Return a commit as JSON types; null where there is none."""
    if commit is None:
        return None
    return {
        "id": commit.id,
        "author": commit.author,
        "subject": commit.subject,
        "committedAt": time_json(commit.committed_at),
    }


def _source_json(source: SourceStatus) -> JsonObject:
    return {
        "name": source.name,
        "head": commit_json(source.head),
        "signedBy": source.signed_by or None,
        "answeredAt": time_json(source.last_answer_at),
        "failures": source.failure_count,
        "error": source.error or None,
        "nextAt": time_json(source.next_fetch_at),
        "judgingSince": time_json(source.judging_since),
    }


def _hook_json(hook: HookStatus) -> JsonObject:
    return {
        "listen": hook.listen,
        "lastPushAt": time_json(hook.last_push_at),
        "error": hook.error or None,
    }


def _last_pass_json(last_pass: LastPass) -> JsonObject:
    return {
        "result": None if last_pass.outcome is None else str(last_pass.outcome),
        "at": time_json(last_pass.at),
        "durationSeconds": round(last_pass.duration_seconds, 3),
        "commit": commit_json(last_pass.commit),
        "trigger": last_pass.trigger,
        "problems": list(last_pass.problems),
        "gates": [
            {
                "name": gate.name,
                "measured": gate.measured,
                "limit": gate.limit,
                "message": gate.message,
                "allowed": gate.is_allowed,
            }
            for gate in last_pass.gates
        ],
        "failures": list(last_pass.failures),
    }


def _last_change_json(entry: HistoryEntry) -> JsonObject:
    return {
        "id": entry.id,
        "at": time_json(entry.finished_at),
        "cause": str(entry.cause),
        "commit": commit_json(entry.commit),
        "summary": summary_of_entry(entry),
    }


def _service_json(service_status: ServiceStatus, health: HealthStatus) -> JsonObject:
    service_health = health.services.get(service_status.service.key)
    return {
        "key": str(service_status.service.key),
        "service": service_status.name or None,
        "object": resource_json(service_status.service),
        "counters": _counters_json(service_status.counters),
        "health": None if service_health is None else service_health_json(service_health),
        "realServers": [_server_json(server) for server in service_status.servers],
    }


def _server_json(server_status: ServerStatus) -> JsonObject:
    draining_seconds = server_status.remaining_drain_seconds
    return {
        "key": str(server_status.server.key),
        "address": host_and_port(server_status.server.address, server_status.server.port),
        "name": server_status.name or None,
        "object": resource_json(server_status.server),
        "connections": _connections_json(server_status.connections),
        "counters": _counters_json(server_status.counters),
        "drainingSeconds": None if draining_seconds is None else round(draining_seconds, 1),
        "isDrainedByHand": server_status.is_drained_by_operator,
        "isLocal": server_status.is_local,
    }


def _connections_json(connections: ConnectionCounts) -> JsonObject:
    return {
        "active": connections.active,
        "inactive": connections.inactive,
        "persistent": connections.persistent,
    }


def _counters_json(counters: Counters) -> JsonObject:
    return {
        "connections": counters.connections,
        "packetsIn": counters.packets_in,
        "packetsOut": counters.packets_out,
        "bytesIn": counters.bytes_in,
        "bytesOut": counters.bytes_out,
        "connectionsPerSecond": counters.connections_per_second,
        "bytesInPerSecond": counters.bytes_in_per_second,
        "bytesOutPerSecond": counters.bytes_out_per_second,
    }
