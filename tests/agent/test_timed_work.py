"""When the agent looks again by itself, and that nothing is tried without pauses."""

from __future__ import annotations

from datetime import timedelta
from errno import EBUSY
from math import inf
from pathlib import Path

import pytest

from gitvs.agent.cycle_result import CycleResult
from gitvs.agent.timed_work import DRAIN_POLL_SECONDS, TimedWork, retry_delay_seconds
from gitvs.agent.work_queue import Trigger, WorkQueue
from gitvs.core.model.history import Outcome
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.resources import Key, RealServer
from gitvs.core.planning.operations import Operation, OperationKind
from gitvs.core.planning.repairs import Unrepairable
from gitvs.ports import Applied
from gitvs.reconcile.one_pass import PassResult
from tests.support import scenario
from tests.support.agents import MovingClock, eventually, service, site
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import World

WEB1, WEB2 = Key("tcp 203.0.113.10:80 -> 10.0.0.1:80"), Key("tcp 203.0.113.10:80 -> 10.0.0.2:80")


class UntiredClock(MovingClock):
    """Does not wait, and the time that it should have waited is over."""

    def sleep(self, seconds: float) -> None:
        self.ahead_seconds += seconds


@pytest.mark.parametrize(
    ("ends_in_seconds", "unrepairable", "seconds_left"),
    [
        pytest.param(600.0, (), DRAIN_POLL_SECONDS, id="no deadline is near"),
        pytest.param(3.0, (), 3.0, id="a deadline is near"),
        pytest.param(-0.1, (), 1.0, id="a deadline passed during the cycle"),
        pytest.param(-0.3, (), DRAIN_POLL_SECONDS, id="a deadline had its cycle in vain"),
        pytest.param(-0.3, (WEB1,), inf, id="the removal failed, and is tried at its own times"),
        pytest.param(-0.3, (WEB2,), DRAIN_POLL_SECONDS, id="the removal of another one failed"),
    ],
)
def test_the_next_reading_is_soon_only_where_it_may_find_something(
    tmp_path: Path, ends_in_seconds: float, unrepairable: tuple[Key, ...], seconds_left: float
) -> None:
    world = World(MemoryKernel("gitvs:test"), tmp_path)
    now = world.clock.boottime()
    drains = {WEB1: Drain(WEB1, 60.0, now + ends_in_seconds)}
    target = Applied(scenario.before(), None, world.clock.now())
    with world.store() as store:
        store.record_converged(world.kernel.incarnation(), Ledger(drains=drains), target)
        left = tuple(Unrepairable(key, "") for key in unrepairable)
        pass_result = PassResult(Outcome.CONVERGED, None, unrepairable=left)
        timed_work = TimedWork(world.ports(store), WorkQueue())
        timed_work.cycle_ended(CycleResult(pass_result, target), 0.2, None)
        assert timed_work.seconds_left() == pytest.approx(seconds_left, abs=0.01)


def test_an_operation_that_could_not_be_ended_waits_for_the_next_try(tmp_path: Path) -> None:
    """It was tried at each wakening of the worker, which a status request is, too."""
    world = World(MemoryKernel("gitvs:test"), tmp_path)
    hour_ago = world.clock.now() - timedelta(hours=1)
    pause = Operation(OperationKind.PAUSE, "root", "", hour_ago, world.clock.now())
    with world.store() as store:
        timed_work = TimedWork(world.ports(store), WorkQueue())
        assert list(timed_work.due([pause])) == [Trigger.OPERATION_EXPIRED]
        for failures in (1, 2, 3):
            timed_work.cycle_failed()
            world.clock.seconds += retry_delay_seconds(failures) - 0.5
            assert list(timed_work.due([pause])) == []
            world.clock.seconds += 0.5
            assert list(timed_work.due([pause])) == [Trigger.OPERATION_EXPIRED]
        timed_work.cycle_failed()
        target = Applied(scenario.before(), None, world.clock.now())
        result = CycleResult(PassResult(Outcome.CONVERGED, None), target)
        timed_work.cycle_ended(result, 0.2, None)
        assert list(timed_work.due([pause])) == [Trigger.OPERATION_EXPIRED]


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_drained_server_that_the_kernel_keeps_is_tried_less_and_less_often(
    tmp_path: Path, is_paused: bool
) -> None:
    here = site(tmp_path)
    here.clock = UntiredClock()
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        idle = here.state().of_type(RealServer)[1]
        here.kernel.set_connections(idle, active=3)
        here.push(service(servers=1), "one less\n\nGitvs-Allow: capacity-drop")
        eventually(lambda: here.weights() == [1, 0])
        if is_paused:
            running.order("pause")
        here.kernel.refused_keys[idle.key] = EBUSY
        here.clock.ahead_seconds += 61
        follower = running.agent.follower
        eventually(lambda: follower.seconds_to_next_repair() is not None)
        eventually(lambda: running.agent._timed_work.seconds_left() == inf)
        first_wait = follower.seconds_to_next_repair()
        here.clock.ahead_seconds += 16
        running.agent.work_queue.add_trigger("drift timer")
        eventually(lambda: (follower.seconds_to_next_repair() or 0.0) > 20)
        assert first_wait is not None
        assert first_wait <= 15
        here.kernel.refused_keys.clear()
        here.clock.ahead_seconds += 31
        running.agent.work_queue.add_trigger("drift timer")
        eventually(lambda: here.weights() == [1])


def test_the_first_retry_is_after_a_second_and_each_further_one_takes_twice_as_long() -> None:
    delays = [retry_delay_seconds(failures) for failures in (1, 2, 3, 6, 7, 10**9)]
    assert delays == [1.0, 2.0, 4.0, 32.0, 60.0, 60.0]
