"""What gitvs does within one process, each task in a process of its own in the guest.

`python -m tests.bench.tasks FOLDER SERVICES TASK STATE_FOLDER` keeps what it took in FOLDER.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path

from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.adapters.process.clock import SystemClock
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.cli import GC_THRESHOLDS
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX, scope_of
from gitvs.core.planning.plan import build_plan, diff
from gitvs.ports import Applied, Ports, WriteStatus
from gitvs.reconcile.one_pass import reconcile
from tests.bench.load import Load, make_load
from tests.bench.meter import read_own
from tests.bench.samples import Recorder, Row, Who


def apply(load: Load, recorder: Recorder, _: Path) -> None:
    """Write planned changes to a kernel that has none."""
    changes = build_plan(diff(State(), load.state())).changes
    kernel = LinuxKernel("")
    before = read_own()
    outcomes = kernel.execute(changes)
    recorder.add_cost(Row.APPLY, Who.GITVS, read_own().since(before))
    assert all(o.status is WriteStatus.DONE for o in outcomes), "the kernel refused"


def transaction(load: Load, recorder: Recorder, state_dir: Path) -> None:
    """Do a whole pass with a new state folder: recorded, read back twice, and undoable."""
    _transact(Row.TRANSACTION, load.desired(), recorder, state_dir)


def bound_vips(load: Load, recorder: Recorder, state_dir: Path) -> None:
    """Do the same, and bind the address of each service."""
    _transact(Row.BOUND_VIPS, load.desired(has_bound_vips=True), recorder, state_dir)


def _transact(row: Row, desired: Desired, recorder: Recorder, state_dir: Path) -> None:
    with SqliteStore(state_dir) as store:
        clock = SystemClock()
        ports = Ports(LinuxKernel(OWNER_ALIAS_PREFIX + store.id), store, clock)
        target = Applied(desired, None, clock.now())
        before = read_own()
        done = reconcile(ports, target)
        recorder.add_cost(row, Who.GITVS, read_own().since(before))
    assert done.outcome is Outcome.APPLIED, done


def observe(load: Load, recorder: Recorder, _: Path) -> None:
    """Read the whole kernel for the first time in this process, and again."""
    kernel = LinuxKernel("")
    for row in (Row.OBSERVE, Row.OBSERVE_AGAIN):
        _observe(row, kernel, load, recorder)


def foreign_routes(load: Load, recorder: Recorder, _: Path) -> None:
    """Read a kernel for the first time that has other people's routes as well."""
    _observe(Row.FOREIGN_ROUTES, LinuxKernel(""), load, recorder)


def _observe(row: Row, kernel: LinuxKernel, load: Load, recorder: Recorder) -> None:
    scope = scope_of(Ledger(), load.desired())
    before = read_own()
    seen = kernel.observe(scope)
    recorder.add_cost(row, Who.GITVS, read_own().since(before))
    assert all(seen.state.get(r.key) == r for r in load.state().values()), "read amiss"


TASKS: dict[str, Callable[[Load, Recorder, Path], None]] = {
    task.__name__: task for task in (apply, transaction, bound_vips, observe, foreign_routes)
}


def main(folder: str, services: str, task: str, state_dir: str) -> None:
    """Do one task and keep what it took."""
    gc.set_threshold(*GC_THRESHOLDS)  # as every gitvs command does
    recorder = Recorder(Path(folder), int(services), run=1)
    TASKS[task](make_load(int(services)), recorder, Path(state_dir))


if __name__ == "__main__":
    main(*sys.argv[1:])
