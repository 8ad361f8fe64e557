"""What operators have said, as JSON and as a line for people."""

from __future__ import annotations

from gitvs.core.model.resource_json import Document
from gitvs.core.planning.operations import Operation, OperationKind
from gitvs.core.problems import printable


def operation_document(operation: Operation) -> Document:
    """Return an operation as JSON types; what was not said is null."""
    until = operation.until
    return {
        "kind": str(operation.kind),
        "who": operation.who,
        "why": operation.why,
        "at": operation.at.isoformat(timespec="seconds"),
        "until": None if until is None else until.isoformat(timespec="seconds"),
        "subject": operation.subject or None,
        "name": operation.name or None,
        "service": operation.service or None,
        "isNow": operation.is_now,
    }


def operation_text(operation: Operation) -> str:
    """Return `drain web2, by alice since 2026-01-02 12:00 UTC, until taken back: disk errors`."""
    subject = operation.subject
    if operation.name not in ("", subject):
        subject = f"{operation.name} ({subject})"
    if operation.kind is OperationKind.PIN:
        subject = subject[:12]
    words = [str(operation.kind), subject, "at once" if operation.is_now else ""]
    words.append(f"in service {operation.service}" if operation.service else "")
    until = "until taken back"
    if operation.until is not None:
        until = f"until {operation.until:%Y-%m-%d %H:%M} UTC"
    said = f"by {operation.who} since {operation.at:%Y-%m-%d %H:%M} UTC"
    why = f": {operation.why}" if operation.why else ""
    return printable(f"{' '.join(w for w in words if w)}, {said}, {until}{why}")
