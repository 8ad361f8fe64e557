"""Where repairs, judging, rollbacks and pauses meet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from errno import EACCES
from pathlib import Path
from typing import Any

import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.agent.actions.single_cycle import run_single_cycle
from gitvs.agent.judge import Judge
from gitvs.core.errors import KernelUnreadable, LockHeld, LockUnusable
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import Key, RealServer
from gitvs.core.planning.plan import Change
from gitvs.core.settings import RemoteSettings
from gitvs.core.status.agent_status import LastPass
from gitvs.ports import Applied, Ports, WriteResult
from gitvs.reconcile.one_pass import PassOptions, reconcile
from gitvs.reconcile.repair_memory import FIRST_DELAY_SECONDS, RepairMemory
from gitvs.reconcile.store_age import refuse_older_store
from tests.support.agents import DIRECTOR, Site, eventually, service, site
from tests.support.builders import vip
from tests.support.faults import WrappedKernel
from tests.support.sweep import TestClock

SICK = vip("203.0.113.10")


@pytest.fixture(name="here")
def fixture_here(tmp_path: Path) -> Site:
    """A director that fetches only when it is asked to."""
    made = site(tmp_path)
    source = made.settings.source
    assert isinstance(source, RemoteSettings)
    made.settings = replace(made.settings, source=replace(source, poll_seconds=3600))
    return made


def make_foreign(here: Site) -> None:
    """Let the kernel refuse a VIP once, and then somebody else have it."""
    here.kernel.refused_keys.clear()
    here.kernel.put(SICK)


def test_an_order_after_a_refused_object_became_foreign_is_carried_out(here: Site) -> None:
    with here.running():
        eventually(lambda: here.weights() == [1, 1])
    here.kernel.reboot()
    here.kernel.refused_keys[SICK.key] = EACCES
    with here.running() as running:
        eventually(lambda: [u.key for u in running.status.unrepairable] == [SICK.key])
        make_foreign(here)
        here.push(service(weight=5))
        running.order("sync")
        assert here.weights() == [5, 5]
        assert "is not gitvs's" in running.status.unrepairable[0].reason
        assert running.agent.follower.seconds_to_next_repair() is None


def test_what_is_due_and_was_not_tried_waits_again() -> None:
    memory, clock = RepairMemory(), TestClock()
    memory.record({SICK.key: "refused"}, [SICK.key], clock)
    memory.retry_now()
    assert memory.seconds_to_next_try(clock.boottime()) == FIRST_DELAY_SECONDS
    found = memory.record({SICK.key: "somebody else's"}, [], clock)
    assert found[0].next_try_at is None
    assert memory.seconds_to_next_try(clock.boottime()) is None


def test_a_pause_does_not_forget_what_cannot_be_repaired(
    here: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.kernel.refuse_from_now_on(SICK, EACCES)
        running.order("sync")
        running.order("pause")
        running.order("drain", subject="s2")
        assert [u.key for u in running.status.unrepairable] == [SICK.key]
    assert not [r for r in caplog.records if "no longer unrepairable" in r.getMessage()]


def test_an_unreadable_applied_commit_is_a_problem_and_is_read_once(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with here.running():
        eventually(lambda: here.weights() == [1, 1])
    count: list[int] = []
    judge: Any = Judge._judge

    def counted(self: Judge, *arguments: Any) -> Any:
        count.append(1)
        return judge(self, *arguments)

    monkeypatch.setattr(Judge, "_judge", counted)
    source = here.settings.source
    assert isinstance(source, RemoteSettings)
    here.settings = replace(here.settings, source=replace(source, path="nowhere"))
    with here.running() as running:
        answer = running.order("sync")
        assert "nowhere" in answer["problems"][0]
        assert len(count) < 10
        assert here.weights() == [1, 1]


def test_a_second_rollback_is_refused_while_one_waits(here: Site) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def hang(known: Collection[str]) -> str:
        has_begun.set()
        may_end.wait()
        return "lb1"

    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        first = here.git("rev-parse", "HEAD")
        second = here.push(service(weight=2))
        running.order("sync")
        here.push(service(weight=3))
        running.order("sync")
        here.chooser = hang
        waiting = threading.Thread(
            target=lambda: running.order("rollback", subject=first, seconds=3600)
        )
        waiting.start()
        has_begun.wait()
        assert "another rollback waits" in running.refusal("rollback", subject=second)
        may_end.set()
        waiting.join()
        assert here.weights() == [1, 1]
        assert running.status.operations.pin is not None
        assert running.status.operations.pin.subject == first


@pytest.mark.parametrize(
    "refusal", [LockHeld("another gitvs is the writer"), LockUnusable("the folder is missing")]
)
def test_a_rollback_without_the_writer_lock_leaves_no_pin(here: Site, refusal: Exception) -> None:
    held: list[int] = []

    @contextmanager
    def lock() -> Iterator[Callable[[], None]]:
        if held:
            raise refusal
        yield lambda: None

    here.lock = lock
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        first = here.git("rev-parse", "HEAD")
        here.push(service(weight=5))
        running.order("sync")
        running.order("pause")
        held.append(1)
        assert str(refusal) in running.refusal("rollback", subject=first)
        assert running.status.operations.pin is None
        assert not running.status.quarantined
        held.clear()


def test_a_rollback_that_is_stuck_past_the_point_of_no_return_is_in_force_and_pinned(
    here: Site,
) -> None:
    class UnreadableAfterRemoval(WrappedKernel):
        has_removed, is_readable = False, False

        def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
            self.has_removed = self.has_removed or any(c.after is None for c in changes)
            return super().execute(changes)

        def observe(self, scope: Scope) -> Observation:
            if self.has_removed and not self.is_readable:
                raise KernelUnreadable("the kernel cannot be read")
            return super().observe(scope)

    here.push(service(drain="0s"))
    kernel = UnreadableAfterRemoval(here.kernel)
    with here.running(kernel) as running:
        eventually(lambda: here.weights() == [1, 1])
        first = here.git("rev-parse", "HEAD")
        here.push(service(servers=3, drain="0s"))
        running.order("sync")
        answer = running.order("rollback", subject=first, seconds=3600)
        assert answer["exitCode"] == 7
        assert "is in force, and pinned until" in answer["text"]
        assert "; the agent has not yet removed everything" in answer["text"]
        assert running.status.operations.pin is not None
        assert running.status.quarantined, "what was left does not come back by itself"
        kernel.is_readable = True
        eventually(lambda: not running.status.is_transaction_open)
        assert getattr(running.status.applied_commit, "id", None) == first


def test_a_commit_that_a_failed_rollback_kept_from_being_judged_is_judged_after_it(
    here: Site,
) -> None:
    slow = replace(here.settings.source, poll_seconds=3600)  # type: ignore[type-var]
    here.settings = replace(here.settings, source=slow, drift_seconds=3600)
    here.push(service(servers=1), "Gitvs-Allow: capacity-drop")
    has_begun, may_end = threading.Event(), threading.Event()

    def hang(known: Collection[str]) -> str:
        has_begun.set()
        may_end.wait()
        return "lb1"

    with here.running() as running, ThreadPoolExecutor() as orders:
        eventually(lambda: here.weights() == [1])
        first = here.git("rev-parse", "HEAD")
        here.push(service(servers=4))
        running.order("sync")
        here.chooser = hang
        here.push(service(servers=4, weight=9))
        orders.submit(running.order, "sync")
        has_begun.wait()
        rollback = orders.submit(running.order, "rollback", subject=first, seconds=3600)
        eventually(lambda: running.status.operations.pin is not None)
        may_end.set()
        assert rollback.result()["exitCode"] == 3
        eventually(lambda: here.weights() == [9, 9, 9, 9])


def test_repairs_of_one_commit_do_not_displace_what_a_rollback_goes_back_to(here: Site) -> None:
    here.settings = replace(here.settings, kept_transactions=5)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(weight=5))
        running.order("sync")
        here.kernel.refuse_from_now_on(SICK, EACCES)
        for _ in range(6):
            running.order("sync")
        running.order("rollback", seconds=3600)
        assert here.weights() == [1, 1]


def test_the_store_is_not_called_old_when_an_agent_writes_meanwhile(here: Site) -> None:
    with here.running():
        eventually(lambda: here.weights() == [1, 1])
    with SqliteStore(here.state_dir) as agents, SqliteStore(here.state_dir) as other:
        agents.set_witness(here.kernel.write_witness)

        class Writing:
            def __getattr__(self, name: str) -> Any:
                return getattr(here.kernel, name)

            def read_witness(self) -> int | None:
                agents.accept_head("f" * 40)
                return here.kernel.read_witness()

        kernel: Any = Writing()
        refuse_older_store(Ports(kernel, other, here.clock))


def test_a_single_cycle_reads_the_applied_commit_anew(here: Site) -> None:
    other = DIRECTOR.replace("lb1", "lb2").replace("spec: {}", "spec: {interface: gitvs7}")
    (here.remote / "lb2.yaml").write_text(other)
    here.push(service())
    settings = RemoteSettings(str(here.remote), allow_local=True)

    def director(name: str) -> str:
        with SqliteStore(here.state_dir) as store:
            ports = Ports(here.kernel, store, here.clock)
            remote = GitRemote(here.state_dir, settings)
            done = run_single_cycle(ports, remote, lambda _known: name)
        assert done.target is not None
        return done.target.desired.director

    assert (director("lb1"), director("lb2")) == ("lb1", "lb2")


class Shy:
    """A kernel that cannot be read right after a try of one key."""

    def __init__(self, kernel: Any, key: Key) -> None:
        self._kernel, self._key = kernel, key
        self.is_shy, self._was_tried, self.tries = False, False, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def execute(self, changes: Sequence[Change]) -> Any:
        if any(change.key == self._key for change in changes):
            self.tries += 1
            self._was_tried = self.is_shy
        return self._kernel.execute(changes)

    def observe(self, scope: Any) -> Any:
        if self._was_tried:
            self._was_tried = False
            raise KernelUnreadable("not now")
        return self._kernel.observe(scope)


def test_a_repair_that_cannot_be_read_back_is_not_tried_without_a_pause(here: Site) -> None:
    kernel: Any = Shy(here.kernel, SICK.key)
    with here.running(kernel) as running:
        eventually(lambda: here.weights() == [1, 1])
        here.kernel.refuse_from_now_on(SICK, EACCES)
        running.order("sync")
        kernel.is_shy = True
        here.clock.ahead_seconds += 20
        running.agent.work_queue.add_trigger("drift timer")
        eventually(lambda: kernel.tries > 1)
        left = running.agent.follower.seconds_to_next_repair()
        assert left is None or left > 0


def test_lines_are_counted_from_what_is_applied_now(here: Site) -> None:
    """Two states were applied by hand, both without a commit."""

    def apply_by_hand(weight: int) -> None:
        with SqliteStore(here.state_dir) as store:
            applied = store.applied()
            assert applied is not None
            state = applied.desired.state
            servers = [replace(s, weight=weight) for s in state.of_type(RealServer)]
            desired = replace(applied.desired, state=state.with_changes(servers))
            options = PassOptions(frozenset({"last-real-server", "capacity-drop"}))
            target = Applied(desired, None, here.clock.now())
            reconcile(Ports(here.kernel, store, here.clock), target, options)

    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.order("pause")
        lines = "off\n\nGitvs-Allow: last-real-server\nGitvs-Allow: capacity-drop"
        here.push(service(weight=0), lines)
        apply_by_hand(0)
        running.order("sync")
        apply_by_hand(7)
        running.order("resume")
        eventually(lambda: here.weights() == [0, 0])


def test_a_folder_that_fails_is_tried_once_until_it_changes_or_somebody_asks(here: Site) -> None:
    here.settings = replace(here.settings, source=here.remote, drift_seconds=0.1)
    sick = vip("203.0.113.99")

    def outcomes() -> list[Outcome]:
        with SqliteStore.open_readonly(here.state_dir) as store:
            return [entry.outcome for entry in store.history()]

    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.kernel.refused_keys[sick.key] = EACCES
        failing = service(weight=7).replace("203.0.113.10", "203.0.113.99")
        (here.remote / "web.yaml").write_text(failing)
        passes: set[LastPass] = set()

        def is_held() -> bool:
            last = running.status.last_pass
            if last is not None and "folder of manifests is not tried again" in str(last.problems):
                passes.add(last)
            return len(passes) > 3

        eventually(is_held)
        assert outcomes() == [Outcome.ROLLED_BACK, Outcome.APPLIED]
        assert here.weights() == [1, 1]
        assert running.order("sync")["result"] == "rolled-back"
        assert outcomes() == [Outcome.ROLLED_BACK, Outcome.ROLLED_BACK, Outcome.APPLIED]
        (here.remote / "web.yaml").write_text(service(weight=5))
        eventually(lambda: here.weights() == [5, 5])
