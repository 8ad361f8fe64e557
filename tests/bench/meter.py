"""Reads in the guest what work took: instructions, bytes written, and syncs.

The guest's clock goes on by some nanoseconds with each instruction (machine.py), and by nothing
else while a processor works: the kernel's account of processor time counts instructions. Totals
are exact; which part of them is the kernel's is sampled, at every tick of 500,000 instructions.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.bench.samples import Cost

INSTRUCTION_NANOSECONDS = float(os.environ.get("BENCH_INSTRUCTION_NANOSECONDS", "1"))
"""How many nanoseconds each instruction takes; 1 where time is real, and costs are seconds."""

_GROUPS = Path("/run/cgroup")
_SYNCS = Path("/sys/kernel/tracing/kprobe_profile")
"""init.sh sets probes on the system calls that sync, and on nothing else."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was used until a moment: seconds by the guest's clock, bytes written, syncs."""

    user: float
    kernel: float
    at: float
    written_bytes: int
    syncs: int

    def since(self, before: Reading) -> Cost:
        """Return what was used since an earlier reading."""
        return Cost(
            (self.user - before.user) / INSTRUCTION_NANOSECONDS,
            (self.kernel - before.kernel) / INSTRUCTION_NANOSECONDS,
            self.at - before.at,
            self.written_bytes - before.written_bytes,
            self.syncs - before.syncs,
        )


def read_own() -> Reading:
    """Read what this process and its children that ended have used."""
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return Reading(
        own.ru_utime + children.ru_utime,
        own.ru_stime + children.ru_stime,
        time.monotonic(),
        _written_bytes("self"),
        _syncs(),
    )


class Group:
    """A control group in which one program runs with its children; remove it at the end."""

    def __init__(self, name: str) -> None:
        self._folder = _GROUPS / name
        self._folder.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it once the processes in it are gone."""
        for _attempt in range(100):
            if not (self._folder / "cgroup.procs").read_text():
                break
            time.sleep(0.1)
        self._folder.rmdir()

    def command(self, command: Sequence[str]) -> list[str]:
        """Return a command that enters the group and then does what another one does."""
        enter = f'echo $$ >{self._folder}/cgroup.procs; exec "$@"'
        return ["sh", "-c", enter, "sh", *command]

    def run(self, command: Sequence[str], stdin: Path = Path(os.devnull)) -> Cost:
        """Run a program to its end, and return what all of it took."""
        before = self.read("self")
        with stdin.open("rb") as file:
            subprocess.run(self.command(command), stdin=file, stdout=subprocess.DEVNULL, check=True)
        return self.read("self").since(before)

    def read(self, process: int | str) -> Reading:
        """Read what the group has used; bytes are those of a process and its ended children."""
        lines = (self._folder / "cpu.stat").read_text().splitlines()
        used = {line.split()[0]: int(line.split()[1]) / 1e6 for line in lines}
        return Reading(
            used["user_usec"],
            used["system_usec"],
            time.monotonic(),
            _written_bytes(process),
            _syncs(),
        )


def _written_bytes(process: int | str) -> int:
    """Return how many bytes write(2) and its kin were given. Source: proc(5), /proc/pid/io."""
    lines = Path(f"/proc/{process}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def _syncs() -> int:
    """Return how often anybody synced."""
    return sum(int(line.split()[1]) for line in _SYNCS.read_text().splitlines())
