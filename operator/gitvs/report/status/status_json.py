"""A director's status as a JSON document: `gitvs status --json`, and what the agent answers."""

from __future__ import annotations

from datetime import UTC, datetime

from gitvs.core.model.history import Commit
from gitvs.core.model.observation import Connections, Counters
from gitvs.core.model.resource_json import Document, document_of
from gitvs.core.model.resources import host_and_port
from gitvs.core.status.agent_status import (
    LastPass,
    ServerStatus,
    ServiceStatus,
    SourceStatus,
    Status,
)
from gitvs.report.text.operations import operation_document

FORMAT_VERSION = "1.0"


def status_document(status: Status) -> Document:
    """Return a status with all that is known; what is not known is null. Times are in UTC."""
    return {
        "formatVersion": FORMAT_VERSION,
        "director": status.director,
        "version": status.version,
        "at": time_document(status.at),
        "startedAt": time_document(status.started_at),
        "source": _source(status.source),
        "desired": commit_document(status.desired),
        "applied": commit_document(status.applied),
        "appliedAt": time_document(status.applied_at),
        "isApplied": status.is_applied,
        "desiredDigest": status.desired_digest or None,
        "last": None if status.last is None else _last(status.last),
        "observedAt": time_document(status.observed_at),
        "drift": list(status.drift),
        "vips": list(status.vips),
        "isStandby": status.is_standby,
        "operations": [operation_document(operation) for operation in status.operations.all],
        "quarantined": [
            {"commit": q.commit_id, "reason": q.reason, "at": time_document(q.at)}
            for q in status.quarantined
        ],
        "isTransactionOpen": status.is_transaction_open,
        "services": [_service(service) for service in status.services],
    }


def time_document(at: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC, in whole seconds."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds")


def commit_document(commit: Commit | None) -> Document | None:
    """Return a commit as JSON types; null where there is none."""
    if commit is None:
        return None
    return {
        "id": commit.id,
        "author": commit.author,
        "subject": commit.subject,
        "committedAt": time_document(commit.committed_at),
    }


def _source(source: SourceStatus) -> Document:
    return {
        "name": source.name,
        "head": commit_document(source.head),
        "signedBy": source.signed_by or None,
        "answeredAt": time_document(source.answered_at),
        "failures": source.failures,
        "error": source.error or None,
        "nextAt": time_document(source.next_at),
    }


def _last(last: LastPass) -> Document:
    return {
        "result": None if last.result is None else str(last.result),
        "at": time_document(last.at),
        "durationSeconds": round(last.duration_seconds, 3),
        "commit": commit_document(last.commit),
        "trigger": last.trigger,
        "problems": list(last.problems),
        "gates": [
            {
                "name": gate.name,
                "measured": gate.measured,
                "limit": gate.limit,
                "message": gate.message,
                "allowed": gate.allowed,
            }
            for gate in last.gates
        ],
        "failures": list(last.failures),
    }


def _service(found: ServiceStatus) -> Document:
    return {
        "key": str(found.service.key),
        "service": found.name or None,
        "object": document_of(found.service),
        "counters": _counters(found.counters),
        "realServers": [_server(server) for server in found.servers],
    }


def _server(found: ServerStatus) -> Document:
    left = found.draining_seconds
    return {
        "key": str(found.server.key),
        "address": host_and_port(found.server.address, found.server.port),
        "name": found.name or None,
        "object": document_of(found.server),
        "connections": _connections(found.connections),
        "counters": _counters(found.counters),
        "drainingSeconds": None if left is None else round(left, 1),
        "isDrainedByHand": found.is_drained_by_hand,
        "isLocal": found.is_local,
    }


def _connections(counted: Connections) -> Document:
    return {
        "active": counted.active,
        "inactive": counted.inactive,
        "persistent": counted.persistent,
    }


def _counters(counted: Counters) -> Document:
    return {
        "connections": counted.connections,
        "packetsIn": counted.packets_in,
        "packetsOut": counted.packets_out,
        "bytesIn": counted.bytes_in,
        "bytesOut": counted.bytes_out,
    }
