"""One capability, CAP_NET_ADMIN, is all that a director's gitvs needs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.cli.shared.host import become_writer
from gitvs.core.model.history import Outcome
from tests.harness.lab import run_batch
from tests.support import scenario
from tests.support.sweep import World

NOBODY = 65534


@pytest.mark.kernel
def test_a_user_with_one_capability_applies_every_kind_of_change() -> None:
    run_batch(scenario.UPLINK_COMMANDS)
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    os.chown(folder, NOBODY, NOBODY)
    become_writer(folder)
    assert os.getresuid() == (NOBODY, NOBODY, NOBODY)
    world = World(LinuxKernel("gitvs:test"), folder)
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED
    done = world.bring(scenario.after())
    assert done.outcome is Outcome.APPLIED, done.transaction
