"""Times as people read them: how long ago, how long left, and the time in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from gitvs.core.durations import duration_text

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def age_text(at: datetime, now: datetime) -> str:
    """Return `12 s ago`, `3 min ago`, `5 h ago` or `4 days ago`; a future time is `just now`."""
    seconds = (now - at).total_seconds()
    return "just now" if seconds < 1 else f"{rounded_duration_text(seconds)} ago"


def rounded_duration_text(seconds: float) -> str:
    """Return a time in its largest unit, rounded down."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return f"{whole // _HOUR} h"
    days = whole // _DAY
    return f"{days} day{'s' * (days > 1)}"


def time_left_text(seconds: float) -> str:
    """Return `42s left`, `1h30m left`."""
    return f"{duration_text(round(max(0.0, seconds)))} left"


def utc_time_text(at: datetime) -> str:
    """Return `2026-01-02 12:00:03 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def elapsed_text(seconds: float) -> str:
    """Return `0.312 s`, `42.1 s` or, from ten minutes on, `12 min`."""
    if seconds >= 10 * _MINUTE:
        return rounded_duration_text(seconds)
    return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:.1f} s"
