"""When to fetch next: after a success, and after one failure or many."""

from __future__ import annotations

from collections.abc import Callable

LONGEST_SECONDS = 300.0
_JITTER = 0.1
_MOST_DOUBLINGS = 30


def delay_seconds(interval: float, failures: int, random: Callable[[], float]) -> float:
    """Return how long to wait; `random` gives numbers from 0 up to 1.

    After a success it is the interval, 10 % shorter or longer. After failures in a row it
    doubles with each, up to LONGEST_SECONDS or the interval, and lies anywhere in the upper
    half: many directors that lost one remote do not all come back at the same moment.
    """
    if failures <= 0:
        shortest, longest = interval * (1 - _JITTER), interval * (1 + _JITTER)
    else:
        ceiling = max(interval, LONGEST_SECONDS)
        longest = min(interval * 2.0 ** min(failures, _MOST_DOUBLINGS), ceiling)
        shortest = max(longest / 2, min(interval, longest * (1 - _JITTER)))
    return shortest + (longest - shortest) * random()
