"""Every moment of a transaction: the store's files and the kernel, as a crash would leave them.

A test puts damaged or older files in place of those of a moment, and lets the next run of gitvs
begin: it must reach what it reaches with the right files, or refuse with the kernel unchanged.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.errors import StoreError
from gitvs.core.model.desired import Desired
from gitvs.core.model.state import State
from gitvs.core.planning.plan import Change
from gitvs.ports import Applied, WriteResult
from gitvs.reconcile.one_pass import reconcile
from gitvs.reconcile.transaction import recover
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import ALLOW, SCOPE, World

FILE_NAMES = ("gitvs.db", "gitvs.db-wal", "gitvs.db-shm")
Files = dict[str, bytes]
"""The content of the store's files that are there."""


@dataclass(frozen=True)
class Moment:
    """One moment: what the files hold, the number of that store, and what the kernel has."""

    name: str
    store_number: int
    files: Files
    kernel: MemoryKernel


@dataclass
class Recorder:
    """Records a moment before and after each write of the store and of the kernel."""

    kernel: MemoryKernel
    state_dir: Path
    moments: list[Moment] = field(default_factory=list)
    store_number: int = 0

    def record(self, name: str) -> None:
        files = {
            name: (self.state_dir / name).read_bytes()
            for name in FILE_NAMES
            if (self.state_dir / name).exists()
        }
        name = f"{len(self.moments)} {name}"
        self.moments.append(Moment(name, self.store_number, files, copy.deepcopy(self.kernel)))


class RecordedKernel(MemoryKernel):
    """A kernel whose writes are recorded one by one."""

    recorder: Recorder | None = None

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        results: list[WriteResult] = []
        for change in changes:
            results += super().execute([change])
            self._record(f"wrote {change.key}")
        return results

    def write_witness(self, number: int, adopted_interface: str | None = None) -> None:
        if self.recorder is not None:
            self.recorder.store_number = number
        self._record(f"store at {number}")
        super().write_witness(number, adopted_interface)
        self._record(f"witness at {number}")

    def _record(self, name: str) -> None:
        if self.recorder is not None:
            self.recorder.record(name)

    def __deepcopy__(self, memo: dict[int, object]) -> RecordedKernel:
        other = RecordedKernel.__new__(RecordedKernel)
        memo[id(self)] = other
        for name, value in self.__dict__.items():
            if name != "recorder":
                setattr(other, name, copy.deepcopy(value, memo))
        return other


def record_moments(
    desireds: Sequence[Desired], prepare: Callable[[MemoryKernel], None]
) -> list[Moment]:
    """Bring one desired state after another into force, and return every moment of the last."""
    with tempfile.TemporaryDirectory() as folder:
        state_dir = Path(folder)
        with SqliteStore(state_dir) as store:
            kernel = RecordedKernel(f"gitvs:{store.id}")
        prepare(kernel)
        world = World(kernel, state_dir)
        recorder = Recorder(kernel, state_dir)
        kernel.recorder = recorder
        for desired in desireds:
            recorder.record("begins")
            with world.store() as store:
                reconcile(world.ports(store), Applied(desired, None, world.clock.now()), ALLOW)
                recorder.record("ended")
        return recorder.moments


def state_after(moment: Moment, files: Files, desired: Desired) -> State | StoreError:
    """Start gitvs with these files: recover, and one pass.

    Returns the state of the kernel, or the error with which gitvs refused; then the kernel is as
    it was, which is checked.
    """
    kernel = copy.deepcopy(moment.kernel)
    before = kernel.observe(SCOPE)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        world = World(kernel, Path(folder))
        try:
            with world.store() as store:
                recover(world.ports(store))
            world.bring(desired)
        except StoreError as error:
            refusal: StoreError | None = error
        else:
            refusal = None
    after = kernel.observe(SCOPE)
    assert refusal is None or after.state == before.state, (moment.name, refusal)
    return refusal or after.state
