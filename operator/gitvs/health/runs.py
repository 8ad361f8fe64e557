"""The results of one probe in a row: what of them is reported, and when the probe is due again."""

from __future__ import annotations

import random

from gitvs.core.health.messages import WantedProbe
from gitvs.core.model.health import Failure, Run
from gitvs.health.checks.results import Result

FIRST_ROUND_SECONDS = 2.0
"""The first executions of all probes are spread over this time, or their interval."""

_JITTER = 0.05
_STALE_INTERVALS = 3


class ProbeRuns:
    """One probe that runs. Moments are seconds of CLOCK_MONOTONIC."""

    __slots__ = (
        *("wanted", "length", "failure", "text", "latency", "_full_failure", "_has_full"),
        *("_rise", "_fall", "_marked_length", "_last_result", "is_gone"),
    )

    def __init__(self, wanted: WantedProbe, now: float) -> None:
        self.length = 0
        self.failure: Failure | None = None
        self.text = ""
        self.latency = 0.0
        self.is_gone = False
        """Whether it is not wanted any more: its last result is dropped."""
        self._has_full = False
        self._full_failure: Failure | None = None
        self._marked_length = 0
        self._last_result = now
        self.wanted = wanted
        self._set_thresholds()

    def _set_thresholds(self) -> None:
        self._rise = _unbroken(self.wanted.passes)
        self._fall = _unbroken(self.wanted.failures)

    def update(self, wanted: WantedProbe) -> None:
        """Go on with other lengths to report; with another mark, they count from now as well."""
        if wanted.mark != self.wanted.mark:
            self._marked_length = self.length
        self.wanted = wanted
        self._set_thresholds()

    @property
    def run(self) -> Run:
        return Run(self.length, self.failure, self.text, self.latency)

    def first_start(self, identity: str, now: float) -> float:
        """Return when it starts first; a hash of its id spreads the probes."""
        share = int(identity[:8], 16) / 2**32
        return now + share * min(FIRST_ROUND_SECONDS, self.wanted.probe.times.interval_seconds)

    def take(self, result: Result, started: float, now: float) -> bool:
        """Count a result; return whether to report the run."""
        if result.is_void:
            self.text = result.text
            return False
        self._last_result = now
        self.text, self.latency = result.text, now - started
        goes_on = self.length > 0 and (self.failure is None) == (result.failure is None)
        is_other_class = goes_on and self.failure is not result.failure
        self.length = self.length + 1 if goes_on else 1
        self.failure = result.failure
        if not goes_on:
            self._marked_length = 0
        lengths = self.wanted.passes if result.failure is None else self.wanted.failures
        return (
            is_other_class
            or self.length == 1
            or self.length in lengths
            or self.length - self._marked_length in lengths
        )

    def next_start(self, started: float, now: float) -> float:
        """Return when it is due again, after an execution that began at `started`.

        While a run disagrees with the last full one, it is tried sooner.
        """
        times = self.wanted.probe.times
        gap = times.interval_seconds if self._agrees() else times.retry_seconds
        return max(now, started + gap * (1 + _JITTER * (2 * random.random() - 1)))

    def _agrees(self) -> bool:
        """Whether the run says the same as the last full one, or is full by now."""
        if self.length == 0:
            return True
        has_failed = self.failure is not None
        if self._has_full and has_failed == (self._full_failure is not None):
            return True
        needed = self._fall if has_failed else self._rise if self._has_full else 1
        if self.length < needed:
            return False
        self._has_full, self._full_failure = True, self.failure
        return True

    def is_stale(self, now: float) -> bool:
        """Whether nothing was learnt for three intervals."""
        interval_seconds = self.wanted.probe.times.interval_seconds
        return now - self._last_result > _STALE_INTERVALS * interval_seconds


def _unbroken(lengths: frozenset[int]) -> int:
    """Return the greatest number up to which every length is to be reported."""
    number = 1
    while number + 1 in lengths:
        number += 1
    return number
