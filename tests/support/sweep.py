"""The fault sweep: one failure at one place of a transaction, recovery, and what must hold.

Runs on any kernel. The scenario's plan has every kind of object and every action; a fault is
a change refused, an answer lost, or a crash; the places are every change, on the way forward
and on the way back, and every write of the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.errors import KernelUnreadable
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Scope
from gitvs.core.model.resources import RealServer, Sysctl, Timeout
from gitvs.core.model.state import State
from gitvs.core.planning.overlay import with_fallback_flags
from gitvs.ports import Applied, Kernel, Ports, Store
from gitvs.reconcile.one_pass import PassOptions, PassResult, reconcile
from gitvs.reconcile.transaction import recover
from tests.support import scenario
from tests.support.faults import Crashed, FaultyKernel, How

ALLOW = PassOptions(allowed_gates=frozenset({"capacity-drop", "last-real-server", "mass-removal"}))
SCOPE = Scope(
    frozenset({"gitvs0", "gitvs1"}),
    frozenset(
        r.name for d in (scenario.before(), scenario.after()) for r in d.state.of_type(Sysctl)
    ),
)


@dataclass
class TestClock:
    """A clock that stands still but for sleeping."""

    __test__ = False

    seconds: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def boottime(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


@dataclass
class World:
    """One director: a kernel, a state folder, a clock."""

    kernel: Any
    """A `Kernel`; tests also use what only theirs can do."""
    state_dir: Path
    clock: TestClock = field(default_factory=TestClock)
    has_memory: bool = False
    """Whether passes build upon the pass before, as an agent's do."""
    is_quick: bool = False
    """Whether they read only what may have to change, where they can."""
    last: PassResult | None = None

    def store(self) -> SqliteStore:
        store = SqliteStore(self.state_dir)
        store.set_witness(self.kernel.write_witness)
        return store

    def ports(self, store: Store, kernel: Kernel | None = None) -> Ports:
        return Ports(kernel or self.kernel, store, self.clock)

    def bring(self, desired: Desired, kernel: Kernel | None = None) -> PassResult:
        """One pass with a store of its own, as one run of gitvs is."""
        with self.store() as store:
            target = Applied(desired, None, self.clock.now())
            last, self.last = self.last, None
            options = replace(ALLOW, is_full_reading=not self.is_quick)
            done = reconcile(self.ports(store, kernel), target, options, last)
            if self.has_memory and done.outcome in (Outcome.APPLIED, Outcome.CONVERGED):
                self.last = done
            return done

    def recover(self) -> Outcome | None:
        """What the next start does first."""
        with self.store() as store:
            finished = recover(self.ports(store))
            assert store.open_transaction(self.kernel.incarnation()) is None
            return None if finished is None else finished.outcome

    def state(self) -> State:
        """Everything in the kernel that the scenario speaks of."""
        return self.kernel.observe(SCOPE).state


def check_fault(world: World, at: int, how: How) -> bool:
    """Bring `after` over `before` with one fault; check what must hold. False: beyond the end."""
    first = world.bring(scenario.before())
    assert first.outcome is Outcome.APPLIED, first.transaction
    snapshot = world.state()
    with world.store() as store:
        ledger = store.ledger(world.kernel.incarnation())
    faulty = FaultyKernel(world.kernel, at, how)
    try:
        result: Outcome | None = world.bring(scenario.after(), faulty).outcome
    except Crashed:
        result = world.recover()
    except KernelUnreadable:
        result = None  # before anything was planned
    if result is Outcome.ROLLED_BACK or result is None:
        assert_state(world, snapshot)
        with world.store() as store:
            assert store.ledger(world.kernel.incarnation()) == ledger
            applied = store.applied()
            assert applied is not None
            assert applied.desired == scenario.before()
    else:
        assert result is Outcome.APPLIED
        check_target(world)
    check_convergence(world)
    return faulty.has_struck


def check_convergence(world: World) -> None:
    """The next passes reach `after`, end the drains, which are idle here, and rest."""
    results = [world.bring(scenario.after()).outcome for _ in range(3)]
    assert results[-1] is Outcome.CONVERGED
    assert set(results) <= {Outcome.APPLIED, Outcome.CONVERGED}
    wanted = with_fallback_flags(scenario.after().state)
    now = {k: r for k, r in world.state().items() if k in wanted or not is_setting(r)}
    assert now == dict(wanted)


def is_setting(resource: object) -> bool:
    """Whether this is there whoever set it."""
    return isinstance(resource, Sysctl | Timeout)


def assert_state(world: World, snapshot: State) -> None:
    """Compare the kernel with a snapshot, naming what differs."""
    now = world.state()
    differing = {k for k in {*now, *snapshot} if now.get(k) != snapshot.get(k)}
    assert not differing, {k: (snapshot.get(k), now.get(k)) for k in differing}


def check_target(world: World) -> None:
    """The kernel has all of `after`, drains what left, and owns up to it."""
    now = world.state()
    wanted = with_fallback_flags(scenario.after().state)
    missing = {k for k, r in wanted.items() if now.get(k) != r and k != str(scenario.WEB6)}
    assert not missing, {k: now.get(k) for k in missing}
    with world.store() as store:
        drains = store.ledger(world.kernel.incarnation()).drains
    assert {s.key for s in now.of_type(RealServer) if s.key in drains and s.weight == 0} == set(
        drains
    )
    extra = {k for k in now if k not in wanted and k not in drains}
    held = {k for k, r in now.items() if k in extra and not is_setting(r)}
    assert held <= HELD, held


HELD = {
    "fwmark 7 ipv4",
    "dummy gitvs0",
    "203.0.113.10/32 dev gitvs0",
    "203.0.113.11/32 dev gitvs0",
    "2001:db8::10/128 dev gitvs0",
    "local 198.51.100.0/24",
}
"""What stays for the firewall-mark service that drains: its traffic may need any of it."""
