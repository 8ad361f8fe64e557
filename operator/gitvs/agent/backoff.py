"""How long to wait for the next fetch, after a success or after failures in a row."""

from __future__ import annotations

from collections.abc import Callable

MAX_DELAY_SECONDS = 300.0
_JITTER = 0.1
_MAX_DOUBLINGS = 30


def delay_seconds(
    interval_seconds: float, failure_count: int, random: Callable[[], float]
) -> float:
    """Return how long to wait; `random` returns numbers from 0 up to 1.

    After a success it is the interval, 10 % shorter or longer. It doubles with each failure in
    a row, up to MAX_DELAY_SECONDS or the interval if that is longer, and is a random time in the
    upper half: many directors that lost one remote do not all come back at the same moment.
    """
    if failure_count <= 0:
        shortest, longest = interval_seconds * (1 - _JITTER), interval_seconds * (1 + _JITTER)
    else:
        ceiling = max(interval_seconds, MAX_DELAY_SECONDS)
        longest = min(interval_seconds * 2.0 ** min(failure_count, _MAX_DOUBLINGS), ceiling)
        shortest = max(longest / 2, min(interval_seconds, longest * (1 - _JITTER)))
    return shortest + (longest - shortest) * random()
