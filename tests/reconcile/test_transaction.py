"""Transactions on the kernel in memory: every fault at every place, alone and in pairs.

The same sweep runs on Linux in tests/kernel/test_transaction.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from errno import EPERM
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.errors import KernelUnreadable, StoreError
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import (
    DummyInterface,
    Endpoint,
    Key,
    Protocol,
    RealServer,
    Resource,
    Scheduler,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.overlay import with_fallback_flags
from gitvs.core.planning.plan import Change, Phase
from gitvs.ports import Applied, Kernel, TransactionStage, WriteResult, WriteStatus
from gitvs.reconcile.one_pass import reconcile
from gitvs.reconcile.transaction import Interrupted, recover
from tests.support import scenario
from tests.support.faults import Crashed, FaultyKernel, How, WrappedKernel
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import ALLOW, SCOPE, World, assert_state, check_fault, check_target


def add_uplink(kernel: MemoryKernel) -> None:
    """Give a host what the scenario's sync daemon needs."""
    kernel.add_link(scenario.UPLINK, "veth", addresses=["192.0.2.1/24"])


def world_in(folder: Path) -> World:
    """A director in memory."""
    kernel = MemoryKernel("gitvs:test")
    add_uplink(kernel)
    folder.mkdir(exist_ok=True)
    return World(kernel, folder)


def applied_world(folder: Path) -> World:
    """A director on which the scenario's first state is in force."""
    world = world_in(folder)
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED
    return world


@pytest.mark.parametrize("is_quick", [False, True], ids=["all read", "part read"])
@pytest.mark.parametrize("how", list(How))
def test_a_fault_at_any_change_leaves_the_snapshot_or_the_target(
    tmp_path: Path, how: How, is_quick: bool
) -> None:
    for at in count():
        world = replace(world_in(tmp_path / str(at)), has_memory=is_quick, is_quick=is_quick)
        if not check_fault(world, at, how):
            break
    assert at > (2 if how is How.UNREADABLE else 20), "a sweep over so few places is no sweep"


@pytest.mark.parametrize(
    ("how", "at", "is_transient"),
    [(How.REFUSED, 2, False), (How.LOST_UNWRITTEN, 2, True), (How.UNREADABLE, 1, True)],
)
def test_a_commit_is_blamed_for_a_refusal_and_for_nothing_else(
    tmp_path: Path, how: How, at: int, is_transient: bool
) -> None:
    world = applied_world(tmp_path)
    result = world.bring(scenario.after(), FaultyKernel(world.kernel, at, how))
    assert result.outcome is Outcome.ROLLED_BACK
    assert result.transaction is not None
    assert result.transaction.is_transient is is_transient


class TwiceFaulty(FaultyKernel):
    """A faulty kernel that fails once more, `later` changes after its first fault."""

    def __init__(self, kernel: MemoryKernel, at: int, how: How, later: int, then: How) -> None:
        super().__init__(FaultyKernel(kernel, at + later, then), at, how)


@pytest.mark.parametrize("then", [How.REFUSED, How.LOST_UNWRITTEN, How.CRASH_AFTER])
def test_a_second_fault_on_the_way_back_changes_nothing_of_that(tmp_path: Path, then: How) -> None:
    for at in range(0, 24, 3):
        for later in range(1, 24, 2):
            world = applied_world(tmp_path / f"{at}-{later}")
            snapshot = world.state()
            faulty = TwiceFaulty(world.kernel, at, How.REFUSED, later, then)
            try:
                result: Outcome | None = world.bring(scenario.after(), faulty).outcome
            except Crashed:
                result = world.recover()
            if result is Outcome.ROLLED_BACK:
                assert_state(world, snapshot)
            else:
                assert result is Outcome.APPLIED
                world.bring(scenario.after())  # a removal that is refused twice is left to it
                check_target(world)


class TroubledStore:
    """A store whose writes are counted down to the trouble that `_write` makes."""

    WRITES = ("begin", "commit", "finish", "record_conflicts")

    def __init__(self, store: SqliteStore, at: int) -> None:
        self._store, self._left = store, at

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)
        if name not in self.WRITES:
            return member

        def write(*arguments: object) -> object:
            self._left -= 1
            return self._write(member, *arguments)

        return write

    def _write(self, member: Callable[..., object], *arguments: object) -> object:
        return member(*arguments)


class CrashingStore(TroubledStore):
    """A store whose process dies before, or after, its `at`-th write."""

    def __init__(self, store: SqliteStore, at: int, after: bool) -> None:
        super().__init__(store, at)
        self._after = after

    def _write(self, member: Callable[..., object], *arguments: object) -> object:
        if self._left == -1 and not self._after:
            raise Crashed
        answer = member(*arguments)
        if self._left == -1:
            raise Crashed
        return answer


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(3))
def test_a_crash_around_any_record_leaves_the_snapshot_or_the_target(
    tmp_path: Path, at: int, after: bool
) -> None:
    world = applied_world(tmp_path)
    snapshot = world.state()
    with pytest.raises(Crashed):
        bring_after(world, lambda store: CrashingStore(store, at, after))
    result = world.recover()
    if at == 2 or (at == 1 and after):
        assert result is (None if at == 2 and after else Outcome.APPLIED)
        check_target(world)
    else:
        assert result is (None if at == 0 and not after else Outcome.ROLLED_BACK)
        assert_state(world, snapshot)


def bring_after(world: World, wrap: Callable[[SqliteStore], Any]) -> None:
    """One pass with a store that is not as it should be."""
    with world.store() as store:
        reconcile(world.ports(wrap(store)), target_of(world, scenario.after()), ALLOW)


def target_of(world: World, desired: Desired) -> Applied:
    """What a pass is to bring about."""
    return Applied(desired, None, world.clock.now())


class FullDisk(TroubledStore):
    """A store that can be read, but not written from its `at`-th write on."""

    def _write(self, member: Callable[..., object], *arguments: object) -> object:
        if self._left < 0:
            raise StoreError("the disk is full")
        return member(*arguments)


@pytest.mark.parametrize("at", [0, 1])
def test_a_full_disk_before_the_point_of_no_return_changes_nothing(tmp_path: Path, at: int) -> None:
    world = applied_world(tmp_path)
    snapshot = world.state()
    with pytest.raises(StoreError, match="disk is full"):
        bring_after(world, lambda store: FullDisk(store, at))
    assert_state(world, snapshot)
    assert world.recover() is (None if at == 0 else Outcome.ROLLED_BACK)
    assert_state(world, snapshot)


class Unreadable(TroubledStore):
    """A store whose open transaction cannot be read once there is one."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store, 99)

    def __getattr__(self, name: str) -> Any:
        if name == "open_transaction" and self._left < 99:
            raise StoreError("the disk is gone")
        return super().__getattr__(name)


def test_an_undo_does_not_wait_for_a_store_that_cannot_be_read(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    snapshot = world.state()
    faulty = FaultyKernel(world.kernel, 15, How.REFUSED)
    with world.store() as store:
        broken: Any = Unreadable(store)
        done = reconcile(world.ports(broken, faulty), target_of(world, scenario.after()), ALLOW)
    assert done.outcome is Outcome.ROLLED_BACK
    assert_state(world, snapshot)


def test_a_full_disk_at_the_end_is_finished_at_the_next_start(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    with pytest.raises(StoreError):
        bring_after(world, lambda store: FullDisk(store, 2))
    assert world.recover() is Outcome.APPLIED
    check_target(world)


class LostAnswer:
    """A store that passes the point of no return, and fails before it can say so."""

    def __init__(self, store: SqliteStore, error: type[BaseException]) -> None:
        self._store, self._error = store, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, *arguments: Any) -> None:
        self._store.commit(*arguments)
        raise self._error("after the point of no return")


@pytest.mark.parametrize("error", [StoreError, KeyboardInterrupt])
def test_what_is_past_the_point_of_no_return_is_finished_whatever_the_store_said(
    tmp_path: Path, error: type[BaseException]
) -> None:
    world = applied_world(tmp_path)
    with suppress(KeyboardInterrupt):
        bring_after(world, lambda store: LostAnswer(store, error))
    assert world.recover() is None
    check_target(world)


class Ordered(FaultyKernel):
    """A kernel that is looked at whenever a VIP is bound."""

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        if any(isinstance(c.after, Vip) and c.before is None for c in changes):
            now = super().observe(SCOPE).state
            assert scenario.server(scenario.NEW, 1).key in now
        return super().execute(changes)


def test_no_vip_is_bound_while_an_answer_is_missing(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    keys = [c.key for c in plan_for_after(applied_world(tmp_path / "probe"))]
    at = keys.index(scenario.server(scenario.NEW, 1).key)
    done = world.bring(scenario.after(), Ordered(world.kernel, at, How.LOST_UNWRITTEN))
    assert done.outcome is Outcome.ROLLED_BACK
    done = world.bring(scenario.after(), Ordered(world.kernel, at, How.LOST))
    assert done.outcome is Outcome.APPLIED


class Meddling(WrappedKernel):
    """A kernel in which somebody does something right before a change is first made."""

    def __init__(self, kernel: Kernel, key: str, meddle: Callable[[Any], None]):
        super().__init__(kernel)
        self._key, self._meddle = key, meddle
        self._has_meddled = False

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        outcomes = []
        for change in changes:
            if change.key == self._key and not self._has_meddled:
                self._meddle(self._kernel)
                self._has_meddled = True
            outcomes += self._kernel.execute([change])
        return outcomes


def put(*resources: Resource) -> Any:
    """Somebody makes something."""
    return lambda kernel: kernel.put(*resources)


class Watched(Meddling):
    """A kernel that notes which virtual services were read."""

    def __init__(self, kernel: Kernel):
        super().__init__(kernel, "", lambda _: None)
        self.read: list[frozenset[str] | None] = []

    def observe(self, scope: Scope) -> Observation:
        listeners = scope.listeners
        self.read.append(None if listeners is None else frozenset(x.key for x in listeners))
        return super().observe(scope)


def test_what_a_plan_does_not_touch_is_read_once(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    web = scenario.before().state.of_type(RealServer)[0]
    reweighted = replace(web, weight=web.weight + 1)
    state = scenario.before().state.with_changes([reweighted])
    watched = Watched(world.kernel)
    done = world.bring(replace(scenario.before(), state=state), watched)
    assert done.outcome is Outcome.APPLIED
    assert watched.read == [None, frozenset({web.service_key})]
    assert done.transaction is not None
    seen, now = done.transaction.observation, world.kernel.observe(SCOPE)
    assert seen is not None
    for kind in (VirtualService, RealServer, Vip):
        assert set(seen.state.of_type(kind)) == set(now.state.of_type(kind))
    assert seen.connections == now.connections


FIRST = "net.ipv4.ip_forward"
"""The key of the plan's first change, and of its last but one VIP, and its last."""
MIDDLE = "203.0.113.12/32 dev gitvs1"
LAST_VIP = "2001:db8::10/128 dev gitvs1"


@pytest.mark.parametrize("key", [FIRST, "dummy gitvs1", str(scenario.NEW)])
def test_what_somebody_made_meanwhile_on_a_wanted_key_is_a_conflict_and_stays(
    tmp_path: Path, key: str
) -> None:
    world = applied_world(tmp_path)
    snapshot = world.state()
    theirs = VirtualService(scenario.NEW, Scheduler.SED)
    server = RealServer(scenario.NEW, ip_address("10.9.9.9"), 80)
    twin = replace(scenario.server(scenario.NEW, 2), weight=9)
    meddling = Meddling(world.kernel, key, put(theirs, server, twin))
    done = world.bring(scenario.after(), meddling)
    assert done.outcome is Outcome.ROLLED_BACK
    assert done.transaction is not None
    assert "exists" in done.transaction.failures[0]
    assert_state(world, snapshot.with_changes([theirs, server, twin]))


def test_what_somebody_changed_meanwhile_is_read_back_and_told(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    theirs = VirtualService(scenario.WEB4, Scheduler.SED)
    done = world.bring(scenario.after(), Meddling(world.kernel, LAST_VIP, put(theirs)))
    assert done.transaction is not None
    assert "scheduler is sed, not wrr" in done.transaction.failures[0]


def test_a_real_server_that_somebody_added_meanwhile_is_set_right(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    twin = RealServer(scenario.WEB4, ip_address("10.0.0.3"), 8080, 77)
    done = world.bring(scenario.after(), Meddling(world.kernel, FIRST, put(twin)))
    assert done.outcome is Outcome.APPLIED
    check_target(world)


def test_what_somebody_made_meanwhile_stays_even_if_the_undo_crashes(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    snapshot = world.state()
    key = Key(str(scenario.NEW))
    theirs = scenario.after().state[key]
    changes = plan_for_after(applied_world(tmp_path / "probe"))
    forward = sum(c.phase in (Phase.PREPARE, Phase.MAKE) for c in changes)
    faulty = FaultyKernel(world.kernel, forward, How.CRASH_AFTER)
    with pytest.raises(Crashed):
        world.bring(scenario.after(), Meddling(faulty, key, lambda _: world.kernel.put(theirs)))
    assert world.recover() is Outcome.ROLLED_BACK
    assert_state(world, snapshot.with_changes([theirs]))


def test_what_somebody_changes_during_the_break_is_told(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    last = plan_for_after(applied_world(tmp_path / "probe"))[-1].key
    theirs = replace(scenario.server(scenario.WEB4, 1), weight=77)
    done = world.bring(scenario.after(), Meddling(world.kernel, last, put(theirs)))
    assert done.outcome is Outcome.APPLIED
    assert done.transaction is not None
    [told] = done.transaction.failures
    assert told.startswith(f"{theirs.key}: something else changed it")


def test_a_drain_that_somebody_ended_is_forgotten_though_nothing_is_to_be_done(
    tmp_path: Path,
) -> None:
    world = applied_world(tmp_path)
    leaving = scenario.server(scenario.WEB4, 2, 3)
    wanted = scenario.before()
    wanted = replace(wanted, state=wanted.state.with_changes(drop=[leaving.key]))
    world.bring(wanted)
    world.kernel.remove(leaving)
    assert world.bring(wanted).outcome is Outcome.CONVERGED
    with world.store() as store:
        assert not store.ledger(world.kernel.incarnation()).drains


def busy(*servers: RealServer) -> Any:
    """Real servers get connections."""

    def connect(kernel: MemoryKernel) -> None:
        for server in servers:
            kernel.set_connections(server, active=1)

    return connect


def fail_at_the_last_vip(world: World, connected: RealServer) -> None:
    """Apply, with everything done but the last VIP, and a connection to a new server."""
    keys = [c.key for c in plan_for_after(applied_world(world.state_dir / "probe"))]
    meddling = Meddling(world.kernel, MIDDLE, busy(connected))
    done = world.bring(
        scenario.after(), FaultyKernel(meddling, keys.index(Key(LAST_VIP)), How.REFUSED)
    )
    assert done.outcome is Outcome.ROLLED_BACK


def test_a_new_server_with_connections_drains_instead_of_being_undone(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    snapshot = world.state()
    new = scenario.server(scenario.WEB4, 3)
    fail_at_the_last_vip(world, new)
    assert_state(world, snapshot.with_changes([replace(new, weight=0)]))
    with world.store() as store:
        [drain] = store.ledger(world.kernel.incarnation()).drains.values()
    assert (drain.key, drain.timeout_seconds) == (new.key, 60)
    world.kernel.set_connections(new)
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED
    assert_state(world, snapshot)


def test_a_new_service_with_connections_keeps_its_vip_while_it_drains(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    snapshot = world.state()
    new = replace(scenario.server(scenario.NEW, 1), weight=0)
    fail_at_the_last_vip(world, new)
    service = scenario.after().state[new.service_key]
    kept = [with_fallback_flags(State([service, new]))[new.service_key], new]
    vip = scenario.after().state[Key(MIDDLE)]
    assert_state(world, snapshot.with_changes([*kept, vip, DummyInterface("gitvs1")]))
    world.kernel.set_connections(new)
    world.bring(scenario.before())
    assert_state(world, snapshot)


def test_a_reboot_voids_an_open_transaction(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    with pytest.raises(Crashed):
        world.bring(scenario.after(), FaultyKernel(world.kernel, 10, How.CRASH_AFTER))
    world.kernel.reboot()
    add_uplink(world.kernel)
    assert world.recover() is None
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED


def press_ctrl_c() -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize("is_after", [False, True])
def test_an_interrupt_says_how_the_transaction_ended(tmp_path: Path, is_after: bool) -> None:
    world = applied_world(tmp_path)
    snapshot = world.state()
    at = len(plan_for_after(applied_world(tmp_path / "probe"))) - 1 if is_after else 10
    kernel = FaultyKernel(world.kernel, at, How.CRASH_BEFORE, press_ctrl_c)
    with pytest.raises(Interrupted) as interrupt:
        world.bring(scenario.after(), kernel)
    if is_after:
        assert interrupt.value.transaction_result.outcome is Outcome.APPLIED
        check_target(world)
    else:
        assert interrupt.value.transaction_result.outcome is Outcome.ROLLED_BACK
        assert_state(world, snapshot)
    assert world.recover() is None


class Refusing(FaultyKernel):
    """A kernel that, from its `at`-th change on, refuses everything."""

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        if not self.has_struck:
            return super().execute(changes)
        return [WriteResult(c, WriteStatus.REFUSED, EPERM, f"{c.key}: EPERM") for c in changes]


def first_modify(folder: Path) -> int:
    """Where in the plan for `after` the changes in place begin."""
    return [c.phase for c in plan_for_after(applied_world(folder / "probe"))].index(Phase.MODIFY)


def test_stuck_is_said_even_when_interrupted(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    at = first_modify(tmp_path)
    kernel = Silent(world.kernel, at, How.CRASH_BEFORE, press_ctrl_c)
    with pytest.raises(Interrupted) as raised:
        world.bring(scenario.after(), kernel)
    assert raised.value.transaction_result.outcome is Outcome.STUCK


def test_an_undo_that_cannot_be_read_back_is_stuck_and_tried_again_by_later_passes(
    tmp_path: Path,
) -> None:
    world = applied_world(tmp_path)
    snapshot = world.state()
    done = world.bring(scenario.after(), Silent(world.kernel, 15, How.REFUSED))
    assert done.outcome is Outcome.STUCK
    assert world.clock.slept == [0.4, 0.8, 1.6, 3.2]
    silent = Silent(world.kernel, 0, How.REFUSED)
    silent.has_struck = True
    again = world.bring(scenario.after(), silent)
    assert (again.outcome, again.planned) == (Outcome.STUCK, None)
    assert world.clock.slept[4:] == [0.4], "later passes do not keep the worker waiting"
    with world.store() as store:
        opened = store.open_transaction(world.kernel.incarnation())
        assert opened is not None
        assert opened.stage is TransactionStage.OPEN
    assert world.recover() is Outcome.ROLLED_BACK
    assert_state(world, snapshot)


def test_the_history_tells_the_first_of_a_thousand_failures(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    new = [
        VirtualService(Endpoint(Protocol.TCP, ip_address("203.0.113.99"), 1 + n))
        for n in range(1000)
    ]
    wanted = scenario.before()
    wanted = replace(wanted, state=wanted.state.with_changes(new))
    for service in new:
        world.kernel.put(replace(service, scheduler=Scheduler.SED))
    meddling = NoSight(world.kernel, frozenset(s.key for s in new))
    done = world.bring(wanted, meddling)
    assert done.outcome is Outcome.ROLLED_BACK
    assert done.transaction is not None
    assert len(done.transaction.failures) == 1000
    with world.store() as store:
        message = store.history()[0].message
    assert message.count("exists already") == 10
    assert message.endswith("; and 990 more")


class NoSight(Meddling):
    """A kernel whose first reading came before somebody else made some objects."""

    def __init__(self, kernel: MemoryKernel, keys: frozenset[Key]) -> None:
        super().__init__(kernel, "", put())
        self._unseen = keys

    def observe(self, scope: Scope) -> Observation:
        seen = super().observe(scope)
        hidden, self._unseen = self._unseen, frozenset()
        return replace(seen, state=seen.state.with_changes(drop=hidden))


def test_removals_that_the_kernel_refuses_are_left_to_the_repairs(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    done = world.bring(scenario.after(), Refusing(world.kernel, first_break(tmp_path), How.REFUSED))
    assert done.outcome is Outcome.APPLIED
    assert done.transaction is not None
    assert f"{scenario.server(scenario.DNS, 2).key}: EPERM; left as it is" in (
        done.transaction.failures
    )
    assert world.recover() is None
    assert world.bring(scenario.after()).outcome is Outcome.APPLIED
    check_target(world)


class Silent(Refusing):
    """A kernel that, from its `at`-th change on, refuses everything and cannot be read."""

    def observe(self, scope: Scope) -> Observation:
        if self.has_struck:
            raise KernelUnreadable("the kernel changed while it was read: try again")
        return super().observe(scope)


def test_a_break_that_cannot_be_read_back_is_stuck_and_finished_at_the_next_start(
    tmp_path: Path,
) -> None:
    world = applied_world(tmp_path)
    kernel = Silent(world.kernel, first_break(tmp_path), How.REFUSED)
    assert world.bring(scenario.after(), kernel).outcome is Outcome.STUCK
    assert world.recover() is Outcome.APPLIED
    check_target(world)


def test_a_former_setting_that_the_kernel_does_not_take_back_is_given_up(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    last = len(plan_for_after(applied_world(tmp_path / "probe"))) - 1
    done = world.bring(scenario.after(), Refusing(world.kernel, last, How.REFUSED))
    assert done.outcome is Outcome.APPLIED
    assert done.transaction is not None
    assert done.transaction.failures == ("net.ipv4.vs.conntrack: EPERM; left as it is",)
    assert world.recover() is None
    with world.store() as store:
        assert (
            Key("net.ipv4.vs.conntrack")
            not in store.ledger(world.kernel.incarnation()).saved_settings
        )


def first_break(folder: Path) -> int:
    """Where in the plan for `after` the break begins."""
    changes = plan_for_after(applied_world(folder / "break"))
    return next(n for n, c in enumerate(changes) if c.phase is Phase.BREAK)


def plan_for_after(world: World) -> Sequence[Change]:
    """The plan that the sweep disturbs."""
    done = world.bring(scenario.after())
    assert done.planned is not None
    return done.planned.proposal.plan.changes


def without_dns() -> Desired:
    """The scenario's first state without a service that leaves at once."""
    wanted = scenario.before()
    dropped = [key for key in wanted.state if str(scenario.DNS) in key]
    daemon = SyncDaemon(SyncRole.PRIMARY, scenario.UPLINK, 1, max_length=1472)
    return replace(wanted, state=wanted.state.with_changes(drop=[*dropped, daemon.key]))


def crashed_in_break(folder: Path) -> World:
    """A director on which gitvs died past the point of no return, before it removed anything."""
    world = applied_world(folder)
    kernel = FaultyKernel(world.kernel, 0, How.CRASH_BEFORE)
    with pytest.raises(Crashed):
        world.bring(without_dns(), kernel)
    return world


THEIR_SERVICE = (
    VirtualService(scenario.DNS, Scheduler.SED),
    scenario.server(scenario.DNS, 1),
    scenario.server(scenario.DNS, 9),
)
THEIR_DAEMON = (SyncDaemon(SyncRole.PRIMARY, scenario.UPLINK, 77, max_length=1472),)


@pytest.mark.parametrize("theirs", [THEIR_SERVICE, THEIR_DAEMON])
def test_a_recovered_break_keeps_what_somebody_else_made_on_a_key_meanwhile(
    tmp_path: Path, theirs: tuple[Resource, ...]
) -> None:
    world = crashed_in_break(tmp_path)
    world.kernel.remove(world.state()[theirs[0].key])
    world.kernel.put(*theirs)
    assert world.recover() is Outcome.APPLIED
    assert [r for r in theirs if world.state().get(r.key) != r] == []
    with world.store() as store:
        assert theirs[0].key not in store.ledger(world.kernel.incarnation()).owned
        assert (
            f"{theirs[0].key}: it is foreign now, and left as it is" in store.history()[0].message
        )


def test_a_recovered_break_removes_all_that_is_still_as_it_was(tmp_path: Path) -> None:
    world = crashed_in_break(tmp_path)
    assert world.recover() is Outcome.APPLIED
    assert [key for key in world.state() if str(scenario.DNS) in key or "daemon" in key] == []


def test_a_recovered_break_reads_before_it_removes(tmp_path: Path) -> None:
    world = crashed_in_break(tmp_path)
    faulty = FaultyKernel(world.kernel, 0, How.UNREADABLE)
    before = len(world.state())
    with world.store() as store:
        assert recover(world.ports(store, faulty)).outcome is Outcome.APPLIED
    assert faulty.has_struck
    assert len(world.state()) < before


def test_a_former_setting_that_somebody_set_meanwhile_stays_as_they_set_it(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    with pytest.raises(Crashed):
        world.bring(
            scenario.after(), FaultyKernel(world.kernel, first_break(tmp_path), How.CRASH_BEFORE)
        )
    theirs = Sysctl("net.ipv4.vs.conntrack", "0")
    assert world.state()[theirs.key] != theirs
    world.kernel.put(theirs)
    assert world.recover() is Outcome.APPLIED
    assert world.state()[theirs.key] == theirs
