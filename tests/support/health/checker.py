"""A checker that gives the results that a test says, in place of the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from gitvs.adapters.process.checker_process import CheckerProcess
from gitvs.core.health.messages import ProbeSet, Report
from gitvs.core.model.health import Failure, ProbeId, Run


class GivenResults(CheckerProcess):
    """Reports every result at once, more often than the process does."""

    def __init__(self, on_news: Callable[[], None]) -> None:
        super().__init__(on_news)
        self.probe_set = ProbeSet(0, {})
        self._runs: dict[ProbeId, Run] = {}

    def send(self, probe_set: ProbeSet) -> None:
        self.probe_set = probe_set
        self._runs = {i: run for i, run in self._runs.items() if i in probe_set.probes}

    def give(
        self, failing: Iterable[str] = (), failure: Failure = Failure.REFUSED, count: int = 1
    ) -> None:
        """Have every check run `count` times: those of these addresses fail, all others pass."""
        for _ in range(count):
            reported = {}
            for identity, wanted in self.probe_set.probes.items():
                result = failure if str(wanted.probe.address) in failing else None
                run = self._runs.get(identity, Run())
                goes_on = run.length and (run.failure is None) == (result is None)
                run = replace(run, length=run.length + 1 if goes_on else 1, failure=result)
                self._runs[identity] = reported[identity] = run
            with self._changed:
                self._reports.append(Report(self.probe_set.generation, reported))
        self._on_news()

    def has_news(self) -> bool:
        """Whether something was reported that the agent has not taken yet."""
        with self._changed:
            return bool(self._reports)

    def begin_anew(self) -> None:
        """Be another process, which knows of no run."""
        self._runs.clear()
        with self._changed:
            self._reports.append(None)
        self._on_news()
