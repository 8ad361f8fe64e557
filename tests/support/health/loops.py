"""A loop whose time passes as fast as it has work: nobody waits for its timers."""

from __future__ import annotations

from collections.abc import Callable

from gitvs.health.checks.results import Check, Result
from gitvs.health.loop import Loop


class QuickLoop(Loop):
    """`starts` are the moments at which checks began."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.starts: list[float] = []
        super().__init__(lambda: self.seconds)

    def run_for(self, seconds: float) -> None:
        """Do all work of so many seconds."""
        end = self.seconds + seconds
        while self.seconds < end:
            self.run_once()

    def start(self, check: Check, timeout_seconds: float, done: Callable[[Result], None]) -> None:
        self.starts.append(self.seconds)
        super().start(check, timeout_seconds, done)

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        events = super()._wait(0)
        if not events:
            self.seconds += seconds
        return events
