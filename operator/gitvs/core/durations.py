"""Durations as people write them: a whole number and a unit, such as `500ms`, `90s`, `5m`, `2h`.

The schemas of manifests and settings take no days; options do."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(?P<number>0|[1-9][0-9]{0,9})(?P<unit>ms|s|m|h|d)")
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_milliseconds(text: str) -> int:
    """Return a duration in milliseconds.

    Raises:
        ValueError: `text` is not a duration.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a duration: write a whole number and a unit, such as 90s,"
            " 5m, 2h or 1d"
        )
    return int(match["number"]) * _MILLISECONDS[match["unit"]]


def parse_seconds(text: str) -> float:
    """Return a duration in seconds.

    Raises:
        ValueError: `text` is not a duration.
    """
    return parse_milliseconds(text) / 1000


def duration_text(seconds: float) -> str:
    """Return `2m`, `1h30m` or `500ms`, as manifests spell it."""
    if seconds != int(seconds):
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
