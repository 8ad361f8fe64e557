"""Failure at every change of a plan with every kind of object, on a real kernel."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NoReturn

import pytest

from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.core.model.history import Outcome
from gitvs.core.model.resources import RealServer
from gitvs.core.planning.plan import Change
from tests.harness.lab import run, run_batch
from tests.harness.namespace import enter_fresh_namespace
from tests.support import scenario
from tests.support.faults import FaultyKernel, How
from tests.support.sweep import World, assert_state, check_fault, check_target

pytestmark = pytest.mark.kernel(timeout_seconds=600)


def fresh_world(folder: Path) -> World:
    """A director in a network namespace of its own, with an uplink for its sync daemon."""
    enter_fresh_namespace()
    run_batch(scenario.UPLINK_COMMANDS)
    folder.mkdir()
    return World(LinuxKernel("gitvs:test"), folder, has_memory=True, is_quick=True)


@pytest.mark.parametrize("how", list(How))
def test_a_fault_at_any_change_leaves_the_snapshot_or_the_target(tmp_path: Path, how: How) -> None:
    for at in count():
        if not check_fault(fresh_world(tmp_path / str(at)), at, how):
            break
    places = 2 if how is How.UNREADABLE else 20
    assert at > places, "a sweep over so few places is no sweep"


def test_kill_9_at_any_change_leaves_the_snapshot_or_the_target(tmp_path: Path) -> None:
    outcomes = set()
    for at in range(len(plan_of_the_sweep(tmp_path / "probe"))):
        world = fresh_world(tmp_path / str(at))
        assert world.bring(scenario.before()).outcome is Outcome.APPLIED
        snapshot = world.state()
        pid = os.fork()
        if pid == 0:
            faulty = FaultyKernel(world.kernel, at, How.CRASH_AFTER, _kill_9)
            world.bring(scenario.after(), faulty)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        result = world.recover()
        outcomes.add((os.waitstatus_to_exitcode(status), result))
        if result is Outcome.ROLLED_BACK:
            assert_state(world, snapshot)
        else:
            check_target(world)
    killed = -signal.SIGKILL
    assert {(killed, Outcome.ROLLED_BACK), (killed, Outcome.APPLIED)} <= outcomes


def plan_of_the_sweep(folder: Path) -> tuple[Change, ...]:
    """The changes that are disturbed."""
    world = fresh_world(folder)
    world.bring(scenario.before())
    survey = world.bring(scenario.after()).planned
    assert survey is not None
    return survey.proposal.plan.changes


def _kill_9() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


def test_an_undo_whose_virtual_service_was_deleted_meanwhile_ends_and_is_repaired(
    tmp_path: Path,
) -> None:
    world = replace(fresh_world(tmp_path / "world"), has_memory=False, is_quick=False)
    before = scenario.before()
    assert world.bring(before).outcome is Outcome.APPLIED
    snapshot = world.state()
    servers = [s for s in snapshot.of_type(RealServer) if s.listener == scenario.WEB4]
    heavier = before.state.with_changes(replace(s, weight=7) for s in servers)
    pid = os.fork()
    if pid == 0:
        faulty = FaultyKernel(world.kernel, 0, How.CRASH_AFTER, _kill_9)
        world.bring(replace(before, state=heavier), faulty)
        os._exit(0)
    os.waitpid(pid, 0)
    run("ipvsadm", "-D", "-t", "203.0.113.10:80")
    assert world.recover() is Outcome.ROLLED_BACK
    with world.store() as store:
        message = store.history()[0].message
    assert "not undone: real server tcp 203.0.113.10:80" in message
    assert "there is no virtual service tcp 203.0.113.10:80" in message
    assert world.bring(before).outcome is Outcome.APPLIED
    assert_state(world, snapshot)
