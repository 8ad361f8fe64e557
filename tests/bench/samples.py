"""What was measured, one value at a time, and which parts of the work took how long or failed."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Row(StrEnum):
    """What is measured. Seconds, but for memory, which is MB.

    Most is measured in the guest, beside the peers; what has no peer, or is told in seconds, here.
    """

    APPLY = "apply"
    TRANSACTION = "transaction"
    CHANGE = "change"
    OBSERVE = "observe"
    OBSERVE_AGAIN = "observe-again"
    LOAD = "first-load"
    RELOAD = "next-load"
    PREVIEW = "first-preview"
    NEXT_PREVIEW = "next-preview"
    MEMORY_HERE = "memory-here"
    PEAK_HERE = "peak-memory-here"
    MEMORY = "memory"
    PEAK = "peak-memory"
    DRIFT_HERE = "drift-here"
    DRIFT = "drift"


class Who(StrEnum):
    """Whose work it is."""

    GITVS = "gitvs"
    IPVSADM = "ipvsadm"
    KEEPALIVED = "keepalived"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. Run 0 is the warm-up; samples of one run belong together.

    What was not done within so many seconds was given up then.
    """

    row: Row
    who: Who
    services: int
    run: int
    value: float
    is_done: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the work, how long it took, and why it failed if it did."""

    name: str
    services: int
    run: int
    seconds: float
    failure: str = ""


class GivenUp(Exception):
    """Somebody took longer than anybody waits."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long that was."""
        super().__init__(f"not done within {seconds:.0f} s")
        self.seconds = seconds


@dataclass(slots=True)
class Recorder:
    """Keeps samples in a folder as they come, so that none is lost, and says what goes on."""

    folder: Path
    services: int = 0
    run: int = 0

    def take(self, row: Row, who: Who, work: Callable[[], float]) -> None:
        """Keep what some work returns, or that it was not done in time.

        Raises:
            GivenUp: that.
        """
        try:
            self.add(row, who, work())
        except GivenUp as error:
            self._keep("samples", Sample(row, who, self.services, self.run, error.seconds, False))
            raise

    def add(self, row: Row, who: Who, value: float) -> None:
        """Keep one value of this run."""
        self._keep("samples", Sample(row, who, self.services, self.run, value))
        self.say(f"{row} {who}: {value:.3f}")

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Do one part of the work; if it fails, that is noted, and the others go on."""
        began_at = time.monotonic()
        failure = ""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # whatever it is, the rest can be measured
            failure = f"{type(error).__name__}: {error}"
            traceback.print_exc()
        seconds = time.monotonic() - began_at
        self._keep("parts", Part(name, self.services, self.run, seconds, failure))
        self.say(f"{name} {'took' if not failure else 'FAILED after'} {seconds:.0f} s")

    def say(self, text: str) -> None:
        """Tell whoever waits."""
        where = f"{self.services} run {self.run}: " if self.services else ""
        print(f"bench: {time.strftime('%T')} {where}{text}", file=sys.stderr, flush=True)

    def samples(self) -> list[Sample]:
        """Return what was kept."""
        return [_sample(data) for data in self._kept("samples")]

    def parts(self) -> list[Part]:
        """Return which parts there were."""
        return [Part(**data) for data in self._kept("parts")]

    def _keep(self, name: str, what: Sample | Part) -> None:
        with (self.folder / name).open("a") as file:
            file.write(json.dumps(asdict(what)) + "\n")

    def _kept(self, name: str) -> list[dict[str, Any]]:
        file = self.folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often things are measured: `runs` times, or what `seconds` have room for, but once."""

    recorder: Recorder
    runs: int
    seconds: float

    def count(self, is_warm: bool = True) -> Iterator[None]:
        """Yield for each run; what was never done before is done once more, to warm up.

        No run begins that would end too late if it took as long as the longest until then.
        """
        began_at = run_began_at = time.monotonic()
        longest = 0.0
        for run in range(1 if is_warm else 0, self.runs + 1):
            if run > 1 and run_began_at - began_at + longest > self.seconds:
                self.recorder.say(f"no time for runs {run} to {self.runs}")
                return
            self.recorder.run = run
            yield
            now = time.monotonic()
            longest = max(longest, now - run_began_at)
            run_began_at = now


def _sample(data: dict[str, Any]) -> Sample:
    return Sample(**data | {"row": Row(data["row"]), "who": Who(data["who"])})
