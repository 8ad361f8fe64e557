"""What was measured, one value at a time, as it travels from the guest to the host."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Row(StrEnum):
    """What is measured. Seconds, but for memory, which is MB."""

    APPLY = "apply"
    TRANSACTION = "transaction"
    CHANGE = "change"
    OBSERVE = "observe"
    MEMORY = "memory"
    DRIFT = "drift"


class Who(StrEnum):
    """Whose work it is."""

    GITVS = "gitvs"
    IPVSADM = "ipvsadm"
    KEEPALIVED = "keepalived"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. Run 0 is the warm-up; samples of one run belong together."""

    row: Row
    who: Who
    services: int
    run: int
    value: float


@dataclass(slots=True)
class Recorder:
    """Keeps samples in a file as they come, so that none is lost, and says what goes on."""

    file: Path
    services: int = 0
    run: int = 0

    def add(self, row: Row, who: Who, value: float) -> None:
        """Keep one value of this run."""
        sample = Sample(row, who, self.services, self.run, value)
        with self.file.open("a") as file:
            file.write(json.dumps(asdict(sample)) + "\n")
        self.say(f"{row} {who}: {value:.3f}")

    def say(self, text: str) -> None:
        """Tell whoever waits."""
        print(f"bench: {time.strftime('%T')} {self.services} run {self.run}: {text}", flush=True)


def read_samples(lines: Iterable[str]) -> list[Sample]:
    """Return what a recorder kept."""
    return [_sample(json.loads(line)) for line in lines]


def _sample(data: dict[str, Any]) -> Sample:
    return Sample(Row(data["row"]), Who(data["who"]), data["services"], data["run"], data["value"])
