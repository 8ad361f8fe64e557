"""`gitvs status --check`: one line for a monitoring system, as its plugins write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from gitvs.core.problems import printable
from gitvs.report.status import headline
from gitvs.report.status.health_text import is_service_lost, troubles
from gitvs.report.text.counts import count_text

JsonObject = Mapping[str, Any]

OLD_SOURCE_SECONDS = 300.0
DEAD_SOURCE_SECONDS = 1800.0
"""How long a source may go without an answer; `GitvsSourceDown` of the alert rules waits as long.

A failure counts from the third in a row on, since a source may be polled once an hour. A commit
may be judged for as long, and a time may be as far ahead of the clock.
"""
_MIN_SOURCE_FAILURES = 3


class CheckLevel(IntEnum):
    """How bad it is. The value is the exit code, the name the first word of the line."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class _Finding:
    level: CheckLevel
    name: str
    """What it is in a word or two, for where it is not the worst."""
    text: str


def check_line(status: JsonObject, now: datetime) -> tuple[CheckLevel, str]:
    """Return a status in one line, the worst first, and how bad it is."""
    director = status["director"] or "this director"
    findings = sorted(_findings(status, now), key=lambda f: -f.level)
    if not findings:
        applied = headline.applied_text(status, now)
        return CheckLevel.OK, f"OK: {director}: in sync with {applied}"
    worst, *others = findings
    names = ", ".join(dict.fromkeys(f.name for f in others))
    also = f" (also: {names})" if names else ""
    return worst.level, f"{worst.level.name}: {director}: {worst.text}{also}"


def plugin_line(text: str) -> str:
    """Return a text as the one line that a monitoring system reads.

    Source: Monitoring Plugins, "Plugin Output": what follows a `|` is performance data.
    """
    return printable(text).replace("|", "\\u007c") + "\n"


def unanswered_line(reason: str) -> tuple[CheckLevel, str]:
    """Return the line for when the status cannot be read."""
    return CheckLevel.CRITICAL, f"CRITICAL: {reason}"


def _findings(status: JsonObject, now: datetime) -> Iterator[_Finding]:
    status = _without_source_error(status)
    for rule, level, name in (
        (headline.no_agent, CheckLevel.CRITICAL, "no agent"),
        (headline.stuck, CheckLevel.CRITICAL, "stuck"),
        (headline.pass_failed, CheckLevel.CRITICAL, "the last pass failed"),
        (headline.rolled_back, CheckLevel.CRITICAL, "rolled back"),
        (headline.quarantined, CheckLevel.CRITICAL, "commit in quarantine"),
        (headline.blocked, CheckLevel.CRITICAL, "blocked"),
        (headline.not_applied, CheckLevel.CRITICAL, "newest commit not applied"),
        (headline.unrepairable, CheckLevel.WARNING, "cannot be repaired"),
        (headline.paused, CheckLevel.WARNING, "paused"),
        (headline.pinned, CheckLevel.WARNING, "pinned"),
    ):
        if (styled_text := rule(status, now)) is not None:
            yield _Finding(level, name, styled_text[0])
    level = _level_after(_unanswered_seconds(status, now))
    styled_text = headline.source_failed(status, now)
    if styled_text is not None and level is not CheckLevel.OK:
        yield _Finding(level, "source does not answer", styled_text[0])
    if (styled_text := headline.being_judged(status, now)) is not None:
        since = headline.parse_time(status["source"]["judgingSince"])
        if (level := _level_after((now - since).total_seconds())) is not CheckLevel.OK:
            yield _Finding(level, "newest commit not yet judged", styled_text[0])
    yield from _smaller_findings(status, now)


def _level_after(seconds: float) -> CheckLevel:
    """Return how bad it is that something has gone on for so long.

    A time that lies ahead says nothing about how long, and is worth a look.
    """
    if seconds >= DEAD_SOURCE_SECONDS:
        return CheckLevel.CRITICAL
    is_old = seconds >= OLD_SOURCE_SECONDS or seconds <= -OLD_SOURCE_SECONDS
    return CheckLevel.WARNING if is_old else CheckLevel.OK


def _smaller_findings(status: JsonObject, now: datetime) -> Iterator[_Finding]:
    """Yield what the headline of `gitvs status` does not say, or only where nothing else is."""
    answered_at = status["source"]["answeredAt"]
    if answered_at is not None and not status["source"]["error"]:
        answered = headline.parse_time(answered_at)
        if (answered - now).total_seconds() >= OLD_SOURCE_SECONDS:
            text = f"the source answered {headline.answered_text(answered, now)}"
            yield _Finding(CheckLevel.WARNING, "clock", text)
    kinds = [operation["kind"] for operation in status["operations"]]
    if "standby" in kinds and (styled_text := headline.on_standby(status, now)) is not None:
        yield _Finding(CheckLevel.WARNING, "standby by hand", styled_text[0])
    drained = [o["name"] or o["subject"] for o in status["operations"] if o["kind"] == "drain"]
    if drained:
        yield _Finding(CheckLevel.WARNING, "drained by hand", f"drained by hand: {_few(drained)}")
    if drift := headline.repairable_drift(status):
        objects = count_text(len(drift), "object")
        text = f"{objects} changed by something other than gitvs: {_few(drift)}"
        yield _Finding(CheckLevel.WARNING, "drift", text)
    hook = status.get("hook")
    if hook is not None and hook["error"]:
        yield _Finding(CheckLevel.WARNING, "hook", f"no push is received: {hook['error']}")
    if status["startedAt"] is not None and not status["isApplied"]:
        yield _Finding(CheckLevel.WARNING, "nothing applied", "nothing is applied yet")
    last = status["last"]
    if last is not None and last["result"] == "applied" and last["failures"]:
        yield _Finding(CheckLevel.WARNING, "not all removed", last["failures"][0])
    if found := troubles(status):
        text = ", ".join(found)
        level = CheckLevel.CRITICAL if is_service_lost(status) else CheckLevel.WARNING
        yield _Finding(level, "health", text)


def _without_source_error(status: JsonObject) -> JsonObject:
    """Return a status whose newest pass does not repeat the error of the source."""
    last = status["last"]
    if last is None:
        return status
    return {**status, "last": {**last, "problems": headline.problems_beside_source(status)}}


def _unanswered_seconds(status: JsonObject, now: datetime) -> float:
    """Return for how long the source fails; a time without end if it has never answered."""
    source = status["source"]
    if source["failures"] < _MIN_SOURCE_FAILURES:
        return 0.0
    if source["answeredAt"] is None:
        return float("inf")
    return (now - headline.parse_time(source["answeredAt"])).total_seconds()


def _few(names: list[str]) -> str:
    """Return a name, and how many more there are."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
