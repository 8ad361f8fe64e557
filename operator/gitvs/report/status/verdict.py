"""The first line of `gitvs status`: what matters most about a director, for a tired reader.

Rules stand in order of urgency; the first that has something to say is the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from gitvs.report.text.times import ago, left

Document = Mapping[str, Any]
Words = tuple[str, str]
"""What to say, and its style."""

_ALARM, _WARNING, _GOOD = "bold red", "bold yellow", "bold green"
_NO_VIPS = "no VIPs and local routes here"


def verdict(document: Document, now: datetime) -> Words:
    """Return what there is to say first of a status, `lb1: in sync with …`, and its style."""
    for rule in _RULES:
        said = rule(document, now)
        if said is not None:
            text, style = said
            name = document["director"] or "this director"
            return f"{name}: {text}", style
    raise AssertionError("the last rule always has something to say")


def commit_name(commit: Document, now: datetime) -> str:
    """Return `9ab0af1a283e (Ada, 3 min ago)`."""
    author = person(commit["author"])
    when = "" if commit["committedAt"] is None else ago(time_of(commit["committedAt"]), now)
    notes = ", ".join(part for part in (author, when) if part)
    return f"{commit['id'][:12]} ({notes})" if notes else str(commit["id"][:12])


def person(author: str) -> str:
    """Return an author's name without the mail address, which alone is better than nothing."""
    return author.partition(" <")[0] or author


def time_of(text: str) -> datetime:
    """Read a time of a document."""
    return datetime.fromisoformat(text)


def newest(document: Document) -> Document | None:
    """Return the commit that would be in force if nothing were in its way."""
    is_pinned = any(o["kind"] == "pin" for o in document["operations"])
    head: Document | None = document["source"]["head"]
    return document["desired"] if is_pinned or head is None else head


def in_force(document: Document, now: datetime) -> str:
    """Return what is applied, in a few words."""
    if document["applied"] is not None:
        return commit_name(document["applied"], now)
    if document["isApplied"]:
        return f"a folder of manifests (applied {ago(time_of(document['appliedAt']), now)})"
    return "nothing"


def _stays(document: Document, now: datetime) -> str:
    applied = document["applied"]
    name = in_force(document, now) if applied is None else applied["id"][:12]
    return f"{name} {'is' if name == 'nothing' else 'stays'} in force"


def _is_newest_applied(document: Document) -> bool:
    wanted, applied = newest(document), document["applied"]
    return wanted is None or (applied is not None and wanted["id"] == applied["id"])


def _no_agent(document: Document, now: datetime) -> Words | None:
    if document["startedAt"] is not None:
        return None
    if document["isTransactionOpen"]:
        return (
            f"no agent is running, and a transaction is open; {in_force(document, now)} was in"
            " force: start the agent, it finishes what was begun",
            _ALARM,
        )
    what = f"{in_force(document, now)} is in force" if document["isApplied"] else "nothing applied"
    return f"no agent is running; {what}", _WARNING


def _stuck(document: Document, now: datetime) -> Words | None:
    last = document["last"]
    if not document["isTransactionOpen"] and (last is None or last["result"] != "stuck"):
        return None
    reasons = [] if last is None else [*last["failures"], *last["problems"]]
    return f"STUCK, neither as before nor as planned: {_first(reasons)}", _ALARM


def _paused(document: Document, now: datetime) -> Words | None:
    said = _said(document, "pause", "PAUSED", now)
    if said is None:
        return None
    standby = f"; on standby, {_NO_VIPS}" if document["isStandby"] else ""
    return f"{said}; {_stays(document, now)}{standby}", _WARNING


def _failed(document: Document, now: datetime) -> Words | None:
    """Nothing could be done at all, neither for the newest commit nor for the applied one."""
    last = document["last"]
    if last is None or last["result"] is not None or not last["problems"]:
        return None
    if not document["isApplied"]:
        return f"nothing is applied yet: {_first(last['problems'])}", _ALARM
    return f"the last pass failed, {_stays(document, now)}: {_first(last['problems'])}", _ALARM


def _rolled_back(document: Document, now: datetime) -> Words | None:
    last = document["last"]
    if last is None or last["result"] != "rolled-back":
        return None
    if last["commit"] is None or last["commit"] == document["applied"]:
        return f"a repair failed and was rolled back: {_first(last['failures'])}", _ALARM
    commit = last["commit"]["id"][:12]
    reason = _first(last["failures"])
    return f"commit {commit} rolled back, {_stays(document, now)}: {reason}", _ALARM


def _quarantined(document: Document, now: datetime) -> Words | None:
    wanted = newest(document)
    if wanted is None or _is_newest_applied(document):
        return None
    for entry in document["quarantined"]:
        if entry["commit"] == wanted["id"]:
            return (
                f"commit {wanted['id'][:12]} is in quarantine, {_stays(document, now)}:"
                f" {entry['reason']}",
                _ALARM,
            )
    return None


def _blocked(document: Document, now: datetime) -> Words | None:
    last = document["last"]
    gates = [] if last is None else [g for g in last["gates"] if not g["allowed"]]
    if not gates:
        return None
    names = ", ".join(dict.fromkeys(g["name"] for g in gates))
    what = "the folder"
    if last["commit"] is not None:
        is_repair = last["commit"] == document["applied"]
        what = "a repair" if is_repair else f"commit {last['commit']['id'][:12]}"
    return f"{what} is blocked by {names}, {_stays(document, now)}: {gates[0]['message']}", _ALARM


def _not_applied(document: Document, now: datetime) -> Words | None:
    last = document["last"]
    if last is None or not last["problems"]:
        return None
    wanted = newest(document)
    if wanted is None or _is_newest_applied(document):
        return f"{_stays(document, now)}, but: {_first(last['problems'])}", _ALARM
    commit = wanted["id"][:12]
    reason = _first(last["problems"])
    return f"commit {commit} is not applied, {_stays(document, now)}: {reason}", _ALARM


def _on_standby(document: Document, now: datetime) -> Words | None:
    if not document["isStandby"]:
        return None
    said = _said(document, "standby", "STANDBY", now) or "STANDBY, as Git says"
    return f"{said}; {_NO_VIPS}; {_stays(document, now)}", _WARNING


def _unanswered(document: Document, now: datetime) -> Words | None:
    source = document["source"]
    if not source["error"]:
        return None
    since = "has never answered"
    if source["answeredAt"] is not None:
        since = f"last answered {ago(time_of(source['answeredAt']), now)}"
    return f"{_stays(document, now)}, but the source {since}: {source['error']}", _WARNING


def _pinned(document: Document, now: datetime) -> Words | None:
    said = _said(document, "pin", "PINNED", now)
    return None if said is None else (f"{said}; {in_force(document, now)} is in force", _WARNING)


def _waiting(document: Document, now: datetime) -> Words | None:
    if not document["isApplied"]:
        return "nothing is applied yet", _WARNING
    wanted = newest(document)
    if wanted is None or _is_newest_applied(document):
        return None
    return f"commit {commit_name(wanted, now)} comes next, {_stays(document, now)}", _WARNING


def _in_sync(document: Document, now: datetime) -> Words | None:
    last = document["last"]
    if last is not None and last["failures"]:
        return f"{_stays(document, now)}, but: {_first(last['failures'])}", _WARNING
    return f"in sync with {in_force(document, now)}", _GOOD


def _said(document: Document, kind: str, word: str, now: datetime) -> str | None:
    """Return `PAUSED by alice, 42m left: moving racks`, if an operator said so."""
    for operation in document["operations"]:
        if operation["kind"] == kind:
            subject = f" to {operation['subject'][:12]}" if kind == "pin" else ""
            until = operation["until"]
            end = "" if until is None else f", {left((time_of(until) - now).total_seconds())}"
            why = f": {operation['why']}" if operation["why"] else ""
            return f"{word}{subject} by {operation['who']}{end}{why}"
    return None


def _first(reasons: list[str]) -> str:
    """Return one reason, and how many more there are; invalid manifests give one a line."""
    lines = [line for reason in reasons for line in reason.split("\n")]
    if not lines:
        return "no reason was recorded"
    more = len(lines) - 1
    return lines[0] + (f" (and {more} more)" if more else "")


_RULES: tuple[Callable[[Document, datetime], Words | None], ...] = (
    _no_agent,
    _stuck,
    _paused,
    _failed,
    _rolled_back,
    _quarantined,
    _blocked,
    _not_applied,
    _on_standby,
    _unanswered,
    _pinned,
    _waiting,
    _in_sync,
)
