"""What was measured, one value at a time, and which parts of the work took how long or failed."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Row(StrEnum):
    """What is measured: in the guest, beside the peers, and on the host what has no peer."""

    APPLY = "apply"
    TRANSACTION = "transaction"
    BOUND_VIPS = "bound-vips"
    CHANGE = "change"
    OBSERVE = "observe"
    OBSERVE_AGAIN = "observe-again"
    FOREIGN_ROUTES = "foreign-routes"
    BOOT = "boot"
    COMMIT = "commit"
    DRIFT = "drift"
    STATUS = "status"
    MEMORY = "memory"
    PEAK = "peak-memory"
    LOAD = "first-load"
    RELOAD = "next-load"
    PREVIEW = "first-preview"
    NEXT_PREVIEW = "next-preview"
    STATUS_HERE = "status-here"
    MEMORY_HERE = "memory-here"
    PEAK_HERE = "peak-memory-here"


class Who(StrEnum):
    """Whose work it is."""

    GITVS = "gitvs"
    IPVSADM = "ipvsadm"
    KEEPALIVED = "keepalived"


@dataclass(frozen=True, slots=True)
class Cost:
    """What some work took in the guest.

    `user` and `kernel` are 10^9 instructions where they are counted, or else processor seconds;
    `seconds` is the guest's clock. Bytes written and syncs are None where nobody counted them.
    """

    user: float
    kernel: float
    seconds: float
    written_bytes: int | None = None
    syncs: int | None = None

    @property
    def total(self) -> float:
        return self.user + self.kernel


@dataclass(frozen=True, slots=True)
class Sample:
    """One value: the total of a cost, or processor seconds or MB of the host."""

    row: Row
    who: Who
    services: int
    run: int
    value: float
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the work, how long it took, and why it failed if it did."""

    name: str
    services: int
    run: int
    seconds: float
    failure: str = ""


@dataclass(slots=True)
class Recorder:
    """Keeps samples in a folder as they come, so that none is lost, and says what goes on."""

    folder: Path
    services: int = 0
    run: int = 0

    def add(self, row: Row, who: Who, value: float) -> None:
        """Keep one value of this run."""
        self._add(Sample(row, who, self.services, self.run, value))

    def add_cost(self, row: Row, who: Who, cost: Cost) -> None:
        """Keep what some work took."""
        self._add(Sample(row, who, self.services, self.run, cost.total, cost))

    def _add(self, sample: Sample) -> None:
        self._keep("samples", sample)
        cost = sample.cost
        more = f" (user {cost.user:.4f}, kernel {cost.kernel:.4f})" if cost else ""
        self.say(f"{sample.row} {sample.who}: {sample.value:.4f}{more}")

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

    def count(self) -> Iterator[None]:
        """Yield for each run.

        No run begins that would end too late if it took as long as the longest until then.
        """
        began_at = run_began_at = time.monotonic()
        longest = 0.0
        for run in range(1, self.runs + 1):
            if run > 1 and run_began_at - began_at + longest > self.seconds:
                self.recorder.say(f"no time for runs {run} to {self.runs}")
                return
            self.recorder.run = run
            yield
            now = time.monotonic()
            longest = max(longest, now - run_began_at)
            run_began_at = now


def _sample(data: dict[str, Any]) -> Sample:
    cost = data["cost"] and Cost(**data["cost"])
    return Sample(**data | {"row": Row(data["row"]), "who": Who(data["who"]), "cost": cost})
