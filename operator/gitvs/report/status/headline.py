"""The first line of `gitvs status`: what matters most about a director, for a tired reader.

The rules are in order of urgency; the first that returns a text is the headline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from gitvs.report.status.health_text import troubles
from gitvs.report.text.times import age_text, time_left_text, utc_time_text

JsonObject = Mapping[str, Any]
StyledText = tuple[str, str]
"""A text, and its style."""

_ALARM_STYLE, _WARNING_STYLE, _GOOD_STYLE = "bold red", "bold yellow", "bold green"
_NO_VIPS_TEXT = "no VIPs and local routes here"


def headline(status: JsonObject, now: datetime) -> StyledText:
    """Return the headline of a status, such as `lb1: in sync with …`, and its style."""
    for rule in _HEADLINE_RULES:
        styled_text = rule(status, now)
        if styled_text is not None:
            text, style = styled_text
            director = status["director"] or "this director"
            return f"{director}: {text}", style
    raise AssertionError("the last rule always has something to say")


def commit_text(commit: JsonObject, now: datetime) -> str:
    """Return `9ab0af1a283e (by Ada, committed 3m ago)`."""
    author = author_name(commit["author"])
    when = "" if commit["committedAt"] is None else age_text(parse_time(commit["committedAt"]), now)
    parts = (f"by {author}" if author else "", f"committed {when}" if when else "")
    notes = ", ".join(part for part in parts if part)
    return f"{commit['id'][:12]} ({notes})" if notes else str(commit["id"][:12])


def author_name(author: str) -> str:
    """Return an author's name without the mail address, or the address if there is no name."""
    return author.partition(" <")[0] or author


def parse_time(text: str) -> datetime:
    """Read a time from the status JSON."""
    return datetime.fromisoformat(text)


def target_commit(status: JsonObject) -> JsonObject | None:
    """Return the commit that gitvs would apply if nothing prevented it."""
    is_pinned = any(o["kind"] == "pin" for o in status["operations"])
    head: JsonObject | None = status["source"]["head"]
    return status["desired"] if is_pinned or head is None else head


def applied_text(status: JsonObject, now: datetime) -> str:
    """Return what is applied, in a few words."""
    if status["applied"] is not None:
        return commit_text(status["applied"], now)
    if status["isApplied"]:
        return f"a folder of manifests (applied {age_text(parse_time(status['appliedAt']), now)})"
    return "nothing"


def _still_in_force_text(status: JsonObject, now: datetime) -> str:
    applied = status["applied"]
    name = applied_text(status, now) if applied is None else applied["id"][:12]
    return f"{name} {'is' if name == 'nothing' else 'stays'} in force"


def _is_target_applied(status: JsonObject) -> bool:
    target, applied = target_commit(status), status["applied"]
    return target is None or (applied is not None and target["id"] == applied["id"])


def problems_beside_source(status: JsonObject) -> list[str]:
    """Return the problems of the newest pass, without the source's error, which is shown apart."""
    error = status["source"]["error"] or ""
    return [p for p in status["last"]["problems"] if not p or not error.startswith(p)]


def repairable_drift(status: JsonObject) -> list[str]:
    """Return the keys that drifted and are not listed as unrepairable."""
    unrepairable_keys = {u["key"] for u in status["unrepairable"]}
    return [key for key in status["drift"] if key not in unrepairable_keys]


def no_agent(status: JsonObject, now: datetime) -> StyledText | None:
    if status["startedAt"] is not None:
        return None
    if status["isTransactionOpen"]:
        return (
            f"no agent is running, and a transaction is open; {applied_text(status, now)} was in"
            " force: start the agent, it finishes what was begun",
            _ALARM_STYLE,
        )
    what = f"{applied_text(status, now)} is in force" if status["isApplied"] else "nothing applied"
    return f"no agent is running; {what}", _WARNING_STYLE


def stuck(status: JsonObject, now: datetime) -> StyledText | None:
    last = status["last"]
    if not status["isTransactionOpen"] and (last is None or last["result"] != "stuck"):
        return None
    reasons = [] if last is None else [*last["failures"], *last["problems"]]
    return f"STUCK, a change is neither applied nor undone: {_first_reason(reasons)}", _ALARM_STYLE


def paused(status: JsonObject, now: datetime) -> StyledText | None:
    pause_text = _operation_summary(status, "pause", "PAUSED", now)
    if pause_text is None:
        return None
    standby = f"; on standby, {_NO_VIPS_TEXT}" if status["isStandby"] else ""
    return f"{pause_text}; {_still_in_force_text(status, now)}{standby}", _WARNING_STYLE


def pass_failed(status: JsonObject, now: datetime) -> StyledText | None:
    """Nothing could be done at all, neither for the newest commit nor for the applied one."""
    last = status["last"]
    if last is None or last["result"] is not None or not last["problems"]:
        return None
    if not status["isApplied"]:
        return f"nothing is applied yet: {_first_reason(last['problems'])}", _ALARM_STYLE
    return (
        f"the last pass failed, {_still_in_force_text(status, now)}:"
        f" {_first_reason(last['problems'])}",
        _ALARM_STYLE,
    )


def rolled_back(status: JsonObject, now: datetime) -> StyledText | None:
    last = status["last"]
    if last is None or last["result"] != "rolled-back":
        return None
    if last["commit"] is None or last["commit"] == status["applied"]:
        return (
            f"a repair failed and was rolled back: {_first_reason(last['failures'])}",
            _ALARM_STYLE,
        )
    commit = last["commit"]["id"][:12]
    reason = _first_reason(last["failures"])
    return (
        f"commit {commit} rolled back, {_still_in_force_text(status, now)}: {reason}",
        _ALARM_STYLE,
    )


def quarantined(status: JsonObject, now: datetime) -> StyledText | None:
    target = target_commit(status)
    if target is None or _is_target_applied(status):
        return None
    for entry in status["quarantined"]:
        if entry["commit"] == target["id"]:
            return (
                f"commit {target['id'][:12]} is in quarantine, {_still_in_force_text(status, now)}:"
                f" {entry['reason']}",
                _ALARM_STYLE,
            )
    return None


def being_judged(status: JsonObject, now: datetime) -> StyledText | None:
    since, target = status["source"].get("judgingSince"), target_commit(status)
    if since is None or target is None or _is_target_applied(status):
        return None
    return (
        f"commit {target['id'][:12]} is not yet judged, begun {age_text(parse_time(since), now)};"
        f" {_still_in_force_text(status, now)}",
        _WARNING_STYLE,
    )


def blocked(status: JsonObject, now: datetime) -> StyledText | None:
    last = status["last"]
    gates = [] if last is None else [g for g in last["gates"] if not g["allowed"]]
    if not gates:
        return None
    names = ", ".join(dict.fromkeys(g["name"] for g in gates))
    what = "the folder"
    if last["commit"] is not None:
        is_repair = last["commit"] == status["applied"]
        what = "a repair" if is_repair else f"commit {last['commit']['id'][:12]}"
    return (
        f"{what} is blocked by {names}, {_still_in_force_text(status, now)}: {gates[0]['message']}",
        _ALARM_STYLE,
    )


def not_applied(status: JsonObject, now: datetime) -> StyledText | None:
    last = status["last"]
    if last is None or not last["problems"]:
        return None
    target = target_commit(status)
    if target is None or _is_target_applied(status):
        return (
            f"{_still_in_force_text(status, now)}, but: {_first_reason(last['problems'])}",
            _ALARM_STYLE,
        )
    commit = target["id"][:12]
    reason = _first_reason(last["problems"])
    return (
        f"commit {commit} is not applied, {_still_in_force_text(status, now)}: {reason}",
        _ALARM_STYLE,
    )


def unrepairable(status: JsonObject, now: datetime) -> StyledText | None:
    if not status["unrepairable"]:
        return None
    first, *others = status["unrepairable"]
    more = f" (and {len(others)} more)" if others else ""
    return (
        f"{_still_in_force_text(status, now)}, but not all of it can be repaired:"
        f" {first['reason']}{more}",
        _ALARM_STYLE,
    )


def on_standby(status: JsonObject, now: datetime) -> StyledText | None:
    if not status["isStandby"]:
        return None
    standby_text = _operation_summary(status, "standby", "STANDBY", now) or "STANDBY, as Git says"
    return f"{standby_text}; {_NO_VIPS_TEXT}; {_still_in_force_text(status, now)}", _WARNING_STYLE


def source_failed(status: JsonObject, now: datetime) -> StyledText | None:
    source = status["source"]
    if not source["error"]:
        return None
    since = "has never answered"
    if source["answeredAt"] is not None:
        since = f"last answered {answered_text(parse_time(source['answeredAt']), now)}"
    return (
        f"{_still_in_force_text(status, now)}, but the source {since}: {source['error']}",
        _WARNING_STYLE,
    )


def answered_text(at: datetime, now: datetime) -> str:
    """Return when the source answered; after a clock was set back nobody knows how long ago."""
    if at <= now:
        return age_text(at, now)
    return f"at {utc_time_text(at)}, which is in the future: the clock of this host was set back"


def pinned(status: JsonObject, now: datetime) -> StyledText | None:
    pin_text = _operation_summary(status, "pin", "PINNED", now)
    return (
        None
        if pin_text is None
        else (f"{pin_text}; {applied_text(status, now)} is in force", _WARNING_STYLE)
    )


def _commit_pending(status: JsonObject, now: datetime) -> StyledText | None:
    if not status["isApplied"]:
        return "nothing is applied yet", _WARNING_STYLE
    target = target_commit(status)
    if target is None or _is_target_applied(status):
        return None
    return (
        f"commit {commit_text(target, now)} comes next, {_still_in_force_text(status, now)}",
        _WARNING_STYLE,
    )


def _in_sync(status: JsonObject, now: datetime) -> StyledText | None:
    last = status["last"]
    if last is not None and last["failures"]:
        return (
            f"{_still_in_force_text(status, now)}, but: {_first_reason(last['failures'])}",
            _WARNING_STYLE,
        )
    if found := troubles(status):
        return f"in sync with {applied_text(status, now)}, but {found[0]}", _WARNING_STYLE
    return f"in sync with {applied_text(status, now)}", _GOOD_STYLE


def _operation_summary(status: JsonObject, kind: str, word: str, now: datetime) -> str | None:
    """Return `PAUSED by alice, 42m left: moving racks`; None without such an operation."""
    for operation in status["operations"]:
        if operation["kind"] == kind:
            subject = f" to {operation['subject'][:12]}" if kind == "pin" else ""
            until = operation["until"]
            end = (
                ""
                if until is None
                else f", {time_left_text((parse_time(until) - now).total_seconds())}"
            )
            why = f": {operation['why']}" if operation["why"] else ""
            return f"{word}{subject} by {operation['who']}{end}{why}"
    return None


def _first_reason(reasons: list[str]) -> str:
    """Return the first reason, and how many more there are; each line is one reason."""
    lines = [line for reason in reasons for line in reason.split("\n")]
    if not lines:
        return "no reason was recorded"
    more = len(lines) - 1
    return lines[0] + (f" (and {more} more)" if more else "")


_HEADLINE_RULES: tuple[Callable[[JsonObject, datetime], StyledText | None], ...] = (
    no_agent,
    stuck,
    paused,
    pass_failed,
    rolled_back,
    quarantined,
    being_judged,
    blocked,
    not_applied,
    unrepairable,
    on_standby,
    source_failed,
    pinned,
    _commit_pending,
    _in_sync,
)
