"""Operations of operators, as JSON and as a line for people."""

from __future__ import annotations

from gitvs.core.model.resource_json import JsonObject
from gitvs.core.planning.operations import Operation, OperationKind
from gitvs.core.problems import printable
from gitvs.report.text.times import utc_time_text


def operation_json(operation: Operation) -> JsonObject:
    """Return an operation as JSON types; what was not given is null."""
    until = operation.expires_at
    return {
        "kind": str(operation.kind),
        "who": operation.who,
        "why": operation.why,
        "at": operation.requested_at.isoformat(timespec="seconds"),
        "until": None if until is None else until.isoformat(timespec="seconds"),
        "subject": operation.subject or None,
        "name": operation.server_name or None,
        "service": operation.service or None,
        "isNow": operation.is_immediate,
    }


def operation_text(operation: Operation) -> str:
    """Return `drain web2, by alice since 2026-01-02 12:00:00 UTC, until taken back: disk`."""
    subject = operation.subject
    if operation.server_name not in ("", subject):
        subject = f"{operation.server_name} ({subject})"
    if operation.kind is OperationKind.PIN:
        subject = subject[:12]
    words = [str(operation.kind), subject, "at once" if operation.is_immediate else ""]
    words.append(f"in service {operation.service}" if operation.service else "")
    until = "until taken back"
    if operation.expires_at is not None:
        until = f"until {utc_time_text(operation.expires_at)}"
    attribution = f"by {operation.who} since {utc_time_text(operation.requested_at)}"
    why = f": {operation.why}" if operation.why else ""
    return printable(f"{' '.join(w for w in words if w)}, {attribution}, {until}{why}")
