"""One check of one real server: equal results in a row, and the standing that they lead to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from gitvs.core.model.health import Run


class Standing(StrEnum):
    """What is known of a real server, or of one check of it."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


NO_RUN = Run()


@dataclass(frozen=True, slots=True)
class CheckState:
    """The standing of one check, and the newest run of its results.

    `uncounted` is how many results of that run do not count here: they came while the check was on
    trial. It is negative where a run of an earlier checker process goes on: these count too.
    """

    standing: Standing = Standing.UNKNOWN
    run: Run = NO_RUN
    uncounted: int = 0

    @property
    def has_failed(self) -> bool:
        """Whether the newest result is a failure."""
        return self.run.failure is not None

    @property
    def counted(self) -> int:
        """How many results in a row count."""
        return max(0, self.run.length - self.uncounted)

    def with_run(self, run: Run) -> CheckState:
        """Return the state after a newer report of the run; `settled` draws the conclusions."""
        goes_on = (run.failure is None) == (self.run.failure is None)
        return replace(self, run=run, uncounted=self.uncounted if goes_on else 0)

    def with_new_process(self) -> CheckState:
        """Return the state for a checker process that counts from 0: what was counted stays."""
        return replace(self, run=replace(self.run, length=0), uncounted=-self.counted)

    def begun(self, standing: Standing) -> CheckState:
        """Return a check that begins to count, from the standing of its real server.

        A newest pass is counted, since it may be what ended the trial; failures are not. What is
        known already, from another virtual service, stays.
        """
        if self.standing is not Standing.UNKNOWN:
            return self
        counted = 0 if self.has_failed or not self.run.length else 1
        return CheckState(standing, self.run, self.run.length - counted)

    def settled(self, rise: int, fall: int) -> CheckState:
        """Return the state with the standing that its run leads to.

        `rise` passes bring a check back that is down, `fall` failures take it down; one pass is
        enough where nothing is known.
        """
        if self.has_failed:
            is_down = self.counted >= fall
            return replace(self, standing=Standing.DOWN) if is_down else self
        needed = rise if self.standing is Standing.DOWN else 1
        is_up = self.counted >= needed
        return replace(self, standing=Standing.UP) if is_up else self
