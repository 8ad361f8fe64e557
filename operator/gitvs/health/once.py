"""Runs probes once, as `gitvs check` does: the very checks of the checker process."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from functools import partial

from gitvs.core.model.health import Probe
from gitvs.health.checks.all_types import check_of
from gitvs.health.checks.results import Result
from gitvs.health.loop import Loop

_MAX_IN_FLIGHT = 500


def run_once(probes: Collection[Probe]) -> dict[Probe, tuple[Result, float]]:
    """Return the result of each probe, and how many seconds it took."""
    loop, waiting = Loop(), deque(probes)
    found: dict[Probe, tuple[Result, float]] = {}

    def take(probe: Probe, started: float, result: Result) -> None:
        found[probe] = result, loop.now - started

    while waiting or loop.in_flight:
        while waiting and loop.in_flight < _MAX_IN_FLIGHT:
            probe = waiting.popleft()
            done = partial(take, probe, loop.now)
            loop.start(check_of(probe), probe.times.timeout_seconds, done)
        if loop.in_flight:
            loop.run_once()
    return found
