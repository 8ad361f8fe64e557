"""Times as people read them, written one way everywhere.

A time span is `42s`, `3m`, `5h` or `4d`, spelled as in manifests; a moment is in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def span_text(seconds: float, units: int = 1) -> str:
    """Return a time span in its largest units, rounded down: `3h`, or with two units `3h59m`."""
    rest = max(0, int(seconds))
    numbers: list[tuple[int, str]] = []
    for size, name in _UNITS:
        number, rest = divmod(rest, size)
        if number or numbers:
            numbers.append((number, name))
    return "".join(f"{number}{name}" for number, name in numbers[:units] if number) or "0s"


def age_text(at: datetime, now: datetime) -> str:
    """Return `12s ago`, `3m ago`, `5h ago` or `4d ago`; a future time is `just now`."""
    seconds = (now - at).total_seconds()
    return "just now" if seconds < 1 else f"{span_text(seconds)} ago"


def time_left_text(seconds: float) -> str:
    """Return `42s left`, `1h30m left`."""
    return f"{span_text(round(seconds), 2)} left"


def time_until_text(seconds: float) -> str:
    """Return `in 18s`, or `now`."""
    return f"in {span_text(round(seconds))}" if seconds >= 1 else "now"


def utc_time_text(at: datetime) -> str:
    """Return `2026-01-02 12:00:03 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def elapsed_text(seconds: float) -> str:
    """Return how long something took: `0.312s`, `42.1s` or, from ten minutes on, `12m`."""
    if seconds >= 600:
        return span_text(seconds)
    return f"{seconds:.3f}s" if seconds < 10 else f"{seconds:.1f}s"
