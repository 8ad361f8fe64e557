"""Passes of which only the health checks differ: nothing in the kernel, and yet a change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gitvs.cli.shared.pass_output import report_pass
from gitvs.core.model.desired import Desired
from gitvs.core.model.health import Health, TcpCheck
from gitvs.core.model.history import Outcome
from gitvs.core.model.state import State
from gitvs.reconcile.restore import restore
from tests.support.builders import dummy, real_server, virtual_service
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import World

BARE = Desired("lb1", "gitvs0", State([dummy(), virtual_service(), real_server()]))
CHECKED = replace(BARE, health={virtual_service().key: Health((TcpCheck(8080),))})


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A director on which a state without checks was applied."""
    made = World(MemoryKernel("gitvs:test"), tmp_path)
    assert made.bring(BARE).outcome is Outcome.APPLIED
    return made


def in_force(world: World) -> Desired | None:
    with world.store() as store:
        applied = store.applied()
    return None if applied is None else applied.desired


def test_other_checks_are_in_force_without_a_transaction(world: World) -> None:
    done = world.bring(CHECKED)
    assert (done.outcome, done.transaction) == (Outcome.CONVERGED, None)
    assert in_force(world) == CHECKED
    assert world.bring(BARE).outcome is Outcome.CONVERGED
    assert in_force(world) == BARE


def test_no_gate_sees_checks_come_or_go(world: World) -> None:
    for wanted in (CHECKED, BARE):
        planned = world.bring(wanted).planned
        assert planned is not None
        assert planned.proposal.gates == ()


def test_checks_are_in_force_again_after_a_reboot(world: World) -> None:
    world.bring(CHECKED)
    world.kernel.reboot()
    with world.store() as store:
        restore(world.ports(store))
    assert in_force(world) == CHECKED


def test_apply_says_that_only_checks_changed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    report_pass(world.bring(CHECKED))
    said = "nothing to do in the kernel; the new health checks are in force\n"
    assert capsys.readouterr().err.endswith(said)
    report_pass(world.bring(CHECKED))
    assert capsys.readouterr().err.endswith("nothing to do\n")
