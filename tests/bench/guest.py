"""All measurements that take a kernel, in the guest: `python -m tests.bench.guest FOLDER`.

Sizes in rising order; at each the peers and gitvs take turns, and the very first turn is thrown
away: after it, everything that runs is warm. What was measured is in FOLDER at once, so that a
crash loses nothing. Profiles come last: they are what can be missed most easily.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from gitvs.cli import GC_THRESHOLDS
from tests.bench import peers
from tests.bench.agent import Agent
from tests.bench.load import Load, ipvsadm_text, make_load
from tests.bench.peers import Keepalived
from tests.bench.profiles import spin
from tests.bench.rounds import Rounds
from tests.bench.samples import Recorder, Row, Schedule, Who

MEMORY = Path("/run/bench")
DISK = Path("/run/disk")
NAMESPACE = "agent"
INSIDE = ("ip", "netns", "exec", NAMESPACE)
FIRST_NEW_WEIGHT = 101
"""No real server of a load has it."""


def main(arguments: Sequence[str]) -> int:
    """Measure: a folder, the number of runs, seconds for each stage, and the sizes."""
    folder = Path(arguments[0])
    gc.set_threshold(*GC_THRESHOLDS)  # as every gitvs command does
    MEMORY.mkdir(exist_ok=True)
    (folder / "spin").write_text(str(spin()))
    plan = Schedule(Recorder(folder), int(arguments[1]), float(arguments[2]))
    sizes = [int(size) for size in arguments[3:]]
    for name, work in (("rounds", _measure_rounds), ("the agent's work", _measure_agent)):
        for size in sizes:
            plan.recorder.services, plan.recorder.run = size, 0
            with plan.recorder.part(name):
                work(make_load(size), plan, is_warm=size != sizes[0])
    with plan.recorder.part("profiles"), _rounds(make_load(sizes[0]), plan) as rounds:
        rounds.profile(folder)
    return 0


def _measure_rounds(load: Load, plan: Schedule, is_warm: bool) -> None:
    """Take what gitvs and its peers do in turn."""
    with _rounds(load, plan) as rounds:
        for _ in plan.count(is_warm):
            rounds.take()


@contextmanager
def _rounds(load: Load, plan: Schedule) -> Iterator[Rounds]:
    with TemporaryDirectory(dir=MEMORY) as memory, TemporaryDirectory(dir=DISK) as disk:
        yield Rounds(load, Path(memory), Path(disk), plan.recorder)


def _measure_agent(load: Load, plan: Schedule, is_warm: bool) -> None:
    """Take what an agent does that runs all the time, beside a keepalived that does."""
    peers.renew()
    with (
        TemporaryDirectory(dir=MEMORY) as memory,
        TemporaryDirectory(dir=DISK) as disk,
        _namespace(),
    ):
        plan.recorder.say("starting the agent")
        agent = Agent(Path(memory), Path(disk) / "agent", load, inside=INSIDE)
        try:
            with Keepalived(Path(memory) / "keepalived") as keepalived:
                _measure_changes(agent, keepalived, load, plan, is_warm)
        finally:
            agent.stop()


@contextmanager
def _namespace() -> Iterator[None]:
    """Have a network namespace for the agent."""
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        subprocess.run([*INSIDE, "ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)


def _measure_changes(
    agent: Agent, keepalived: Keepalived, load: Load, plan: Schedule, is_warm: bool
) -> None:
    """Give one real server another weight, and look for drift, run by run.

    The agent and keepalived have a network namespace each.
    """
    recorder, after = plan.recorder, load
    with recorder.part("keepalived's start"):
        keepalived.start(load)
    for _ in plan.count(is_warm):
        after = load.reweighed(FIRST_NEW_WEIGHT + recorder.run)
        with recorder.part("keepalived's reload"):
            recorder.take(Row.CHANGE, Who.KEEPALIVED, partial(keepalived.reload, after))
        with recorder.part("gitvs's change"):
            recorder.add(Row.CHANGE, Who.GITVS, agent.change(after))
        with recorder.part("drift pass"):
            recorder.add(Row.DRIFT, Who.GITVS, agent.drift_pass())
        for row, value in zip((Row.MEMORY, Row.PEAK), agent.megabytes(), strict=True):
            recorder.add(row, Who.GITVS, value)
    recorder.say("comparing the tables")
    lines = sorted(ipvsadm_text(after).splitlines())
    assert peers.saved_lines(*INSIDE) == lines, "the agent wrote another table"
    assert peers.saved_lines() == lines, "keepalived wrote another table"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
