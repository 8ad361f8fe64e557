"""Damaged and older stores after a crash, on a real kernel: a sample of the sweep in memory."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.core.errors import StoreError, StoreOutdated
from gitvs.core.model.history import Outcome
from tests.kernel.test_transaction import _kill_9, fresh_world
from tests.support import scenario
from tests.support.faults import FaultyKernel, How
from tests.support.sweep import World, assert_state, check_target

pytestmark = pytest.mark.kernel(timeout_seconds=600)


def crashed(folder: Path, at: int) -> tuple[World, Path]:
    """A director on which gitvs was killed at a change, and a copy of its store before that."""
    world = fresh_world(folder / "state")
    world.kernel = LinuxKernel("gitvs:test", folder / "run")
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED
    shutil.copytree(world.state_dir, folder / "older")
    pid = os.fork()
    if pid == 0:
        world.bring(scenario.after(), FaultyKernel(world.kernel, at, How.CRASH_AFTER, _kill_9))
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "beyond the end of the plan"
    return world, folder / "older"


def put_files(folder: Path, files: dict[str, bytes]) -> None:
    """Let a folder have these files and no others."""
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("at", [2, 12, 20, 21])
def test_no_damaged_or_older_store_reaches_the_kernel(tmp_path: Path, at: int) -> None:
    world, older = crashed(tmp_path, at)
    found, right = world.state(), files_of(world.state_dir)
    journal = right["gitvs.db-wal"]
    flips = random.Random(at)
    variants = [files_of(older), right | {"gitvs.db-wal": journal[: len(journal) // 2]}]
    variants.append({name: data for name, data in right.items() if name != "gitvs.db-wal"})
    for name in ("gitvs.db", "gitvs.db-wal") * 10:
        flipped = bytearray(right[name])
        flipped[flips.randrange(len(flipped))] ^= 1 << flips.randrange(8)
        variants.append(right | {name: bytes(flipped)})
    refusals: list[type[StoreError]] = []
    for files in variants:
        put_files(world.state_dir, files)
        try:
            world.recover()
        except StoreError as error:
            refusals.append(type(error))
            assert_state(world, found)
        else:
            break  # what was flipped is in no record that matters
    else:
        put_files(world.state_dir, right)
        world.recover()
    assert refusals[0] is StoreOutdated
    assert len(refusals) > 2
    assert world.bring(scenario.after()).outcome in (Outcome.APPLIED, Outcome.CONVERGED)
    check_target(world)
