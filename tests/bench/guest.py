"""All measurements that take a kernel, in the guest: `python -m tests.bench.guest FOLDER`.

Sizes in rising order; at each the peers and gitvs take turns, and the first turn is thrown
away. What was measured is in FOLDER/samples at once, so that a crash loses nothing.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from gitvs.cli import RARE_COLLECTIONS
from tests.bench.load import SEED, make_load
from tests.bench.rounds import Rounds
from tests.bench.samples import Recorder

MEMORY = Path("/run/bench")
DISK = Path("/run/disk")


def main(arguments: Sequence[str]) -> int:
    """Measure: a folder, the number of runs, and the sizes."""
    folder, runs = Path(arguments[0]), int(arguments[1])
    gc.set_threshold(*RARE_COLLECTIONS)  # as every gitvs command does
    MEMORY.mkdir(exist_ok=True)
    recorder = Recorder(folder / "samples")
    for size in map(int, arguments[2:]):
        recorder.services = size
        recorder.run = 0
        recorder.say("making the load")
        rounds = Rounds(make_load(size, SEED), MEMORY, DISK, recorder)
        for run in range(runs + 1):
            recorder.run = run
            rounds.take()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
