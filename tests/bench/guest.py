"""All measurements that take a kernel, in the guest: `python -m tests.bench.guest FOLDER`.

Sizes in rising order; at each the peers and gitvs take turns, and the very first turn is thrown
away: after it, everything that runs is warm. What was measured is in FOLDER/samples at once, so
that a crash loses nothing.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from gitvs.cli import RARE_COLLECTIONS
from tests.bench import peers
from tests.bench.agent import INSIDE, Agent
from tests.bench.load import SEED, Load, ipvsadm_text, make_load
from tests.bench.peers import Keepalived
from tests.bench.profiles import spin
from tests.bench.rounds import Rounds
from tests.bench.samples import Recorder, Row, Who

MEMORY = Path("/run/bench")
DISK = Path("/run/disk")
FIRST_NEW_WEIGHT = 101
"""No real server of a load has it."""


def main(arguments: Sequence[str]) -> int:
    """Measure: a folder, the number of runs, seconds for each stage, and the sizes."""
    folder = Path(arguments[0])
    gc.set_threshold(*RARE_COLLECTIONS)  # as every gitvs command does
    MEMORY.mkdir(exist_ok=True)
    (folder / "spin").write_text(str(spin()))
    plan = Schedule(Recorder(folder / "samples"), int(arguments[1]), float(arguments[2]))
    sizes = [int(size) for size in arguments[3:]]
    for work in (_measure_rounds, _measure_agent):
        for size in sizes:
            plan.recorder.services = size
            work(make_load(size, SEED), plan, is_warm=size != sizes[0])
    return 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often things are measured: `runs` times, or for `seconds` and at least once."""

    recorder: Recorder
    runs: int
    seconds: float

    def count(self, is_warm: bool) -> Iterator[None]:
        """Yield for each run; what was never done before is done once more, to warm up."""
        first = 1 if is_warm else 0
        began_at = time.monotonic()
        for run in range(first, self.runs + 1):
            if run > 1 and time.monotonic() - began_at > self.seconds:
                self.recorder.say(f"no time for runs {run} to {self.runs}")
                return
            self.recorder.run = run
            yield


def _measure_rounds(load: Load, plan: Schedule, is_warm: bool) -> None:
    """Take what gitvs and its peers do in turn."""
    with TemporaryDirectory(dir=MEMORY) as memory, TemporaryDirectory(dir=DISK) as disk:
        rounds = Rounds(load, Path(memory), Path(disk), plan.recorder)
        for _ in plan.count(is_warm):
            rounds.take()
        if not is_warm:
            plan.recorder.say("profiling")
            rounds.profile(plan.recorder.file.parent)
    peers.renew()


def _measure_agent(load: Load, plan: Schedule, is_warm: bool) -> None:
    """Take what an agent does that runs all the time, beside a keepalived that does."""
    with TemporaryDirectory(dir=MEMORY) as memory, TemporaryDirectory(dir=DISK) as disk:
        plan.recorder.say("starting the agent")
        agent = Agent(Path(memory), Path(disk) / "agent", load)
        try:
            keepalived = Keepalived(Path(memory) / "keepalived")
            _measure_changes(agent, keepalived, load, plan, is_warm)
            _measure_idling(agent, plan, is_warm)
        finally:
            agent.stop()


def _measure_changes(
    agent: Agent, keepalived: Keepalived, load: Load, plan: Schedule, is_warm: bool
) -> None:
    """Give one real server another weight, run by run; each has a network namespace."""
    recorder = plan.recorder
    keepalived.start(load)
    after = load
    for _ in plan.count(is_warm):
        after = load.reweighed(FIRST_NEW_WEIGHT + recorder.run)
        recorder.add(Row.CHANGE, Who.KEEPALIVED, keepalived.reload(after))
        recorder.add(Row.CHANGE, Who.GITVS, agent.change(after))
    recorder.say("comparing the tables")
    lines = sorted(ipvsadm_text(after).splitlines())
    assert peers.saved_lines() == lines, "keepalived wrote another table"
    assert peers.saved_lines(*INSIDE) == lines, "the agent wrote another table"
    keepalived.kill()
    peers.renew()


def _measure_idling(agent: Agent, plan: Schedule, is_warm: bool) -> None:
    """Take what the agent costs while nothing changes."""
    recorder = plan.recorder
    agent.look_for_drift_all_the_time()
    for _ in plan.count(is_warm):
        seconds, megabytes = agent.drift_pass()
        recorder.add(Row.DRIFT, Who.GITVS, seconds)
        recorder.add(Row.MEMORY, Who.GITVS, megabytes)
    recorder.say(f"the most memory that the agent had: {agent.peak_megabytes():.0f} MB")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
