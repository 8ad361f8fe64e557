"""Measurements within one process: applying, transactions and observations, beside the peers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.adapters.process.clock import SystemClock
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.model.history import Outcome
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX, scope_of
from gitvs.core.planning.plan import Change, build_plan, diff
from gitvs.ports import Applied, Ports, WriteStatus
from gitvs.reconcile.one_pass import PassResult, reconcile
from tests.bench import peers
from tests.bench.load import Load, ipvsadm_text
from tests.bench.peers import Keepalived, Table
from tests.bench.profiles import profile
from tests.bench.samples import Recorder, Row, Who


class Rounds:
    """Everybody applies one load, in turn; each table must be the same."""

    def __init__(self, load: Load, folder: Path, disk: Path, recorder: Recorder) -> None:
        """`folder` is in memory, `disk` is where a state folder would be."""
        self._load = load
        self._folder = folder
        self._disk = disk
        self._recorder = recorder
        self._rules = folder / "rules"
        self._rules.write_text(ipvsadm_text(load))
        self._changes = build_plan(diff(State(), load.state())).changes
        self._lines = sorted(self._rules.read_text().splitlines())
        self._wanted: Table = {}

    def take(self) -> None:
        """Measure everything once; what fails keeps nobody else from his turn."""
        part = self._recorder.part
        with part("ipvsadm's apply"):
            self._take_apply(Who.IPVSADM, lambda: peers.restore(self._rules))
        with part("keepalived's start"), Keepalived(self._folder / "keepalived") as keepalived:
            self._take_apply(Who.KEEPALIVED, lambda: keepalived.start(self._load))
        with part("gitvs's apply"):
            self._take_apply(Who.GITVS, lambda: execute(self._changes))
        with part("observations"):
            self._take_observations()
        with part("transaction"):
            peers.renew()
            self._transact(self._recorded)
            self._check(Who.GITVS)

    def _take_apply(self, who: Who, work: Callable[[], float]) -> None:
        peers.renew()
        self._recorder.take(Row.APPLY, who, work)
        self._check(who)

    def _take_observations(self) -> None:
        """Read the table that is there."""
        self._recorder.take(Row.OBSERVE, Who.IPVSADM, peers.save)
        kernel = LinuxKernel("")
        self._recorder.add(Row.OBSERVE, Who.GITVS, self._observe(kernel))
        self._recorder.add(Row.OBSERVE_AGAIN, Who.GITVS, self._observe(kernel))
        if self._recorder.run == 0:
            assert peers.saved_lines() == self._lines, "ipvsadm prints another table"

    def _observe(self, kernel: LinuxKernel) -> float:
        scope = scope_of(Ledger(), self._load.desired())
        began_at = time.perf_counter()
        seen = kernel.observe(scope)
        seconds = time.perf_counter() - began_at
        assert all(seen.state.get(c.key) == c.after for c in self._changes), "read amiss"
        return seconds

    def _recorded(self, work: Callable[[], PassResult]) -> None:
        began_at = time.perf_counter()
        done = work()
        self._recorder.add(Row.TRANSACTION, Who.GITVS, time.perf_counter() - began_at)
        assert done.outcome is Outcome.APPLIED, done

    def _transact(self, run: Callable[[Callable[[], PassResult]], object]) -> None:
        """Have a whole pass run, with a state folder that is new."""
        state_dir = self._disk / "state"
        shutil.rmtree(state_dir, ignore_errors=True)
        with SqliteStore(state_dir) as store:
            clock = SystemClock()
            ports = Ports(LinuxKernel(OWNER_ALIAS_PREFIX + store.id), store, clock)
            target = Applied(self._load.desired(), None, clock.now())
            run(lambda: reconcile(ports, target))

    def profile(self, folder: Path) -> None:
        """Write where the time goes in each of these rows."""
        what = f"{len(self._load.rules):,} services, in the guest"
        peers.renew()
        profile(folder, Row.APPLY, what, lambda: execute(self._changes))
        profile(folder, Row.OBSERVE, what, lambda: self._observe(LinuxKernel("")))
        peers.renew()
        self._transact(lambda work: profile(folder, Row.TRANSACTION, what, work))

    def _check(self, who: Who) -> None:
        """Compare the table with the first one that was complete."""
        table = peers.read_table()
        assert len(table) == len(self._load.rules), f"{who} left out rules"
        self._wanted = self._wanted or table
        assert table == self._wanted, f"{who} wrote another table than the others"


def execute(changes: tuple[Change, ...]) -> float:
    """Write changes, and return how long it took."""
    kernel = LinuxKernel("")
    began_at = time.perf_counter()
    outcomes = kernel.execute(changes)
    seconds = time.perf_counter() - began_at
    assert all(o.status is WriteStatus.DONE for o in outcomes), "the kernel refused"
    return seconds
