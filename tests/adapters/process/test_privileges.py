"""Becoming the owner of a folder, for good, with one capability left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

NOBODY = 65534
BECOME = """
import json, os, subprocess, sys
from pathlib import Path
from gitvs.adapters.process.privileges import become_owner_of
from gitvs.adapters.store.sqlite_store import SqliteStore
state = Path(sys.argv[1])
become_owner_of(state)
SqliteStore(state).accept_head("a" * 40)
def rights(text):
    return {l.split(":")[0]: l.split()[1] for l in text.splitlines() if l.startswith("Cap")}
child = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
print(json.dumps([os.getresuid(), os.getresgid(), os.getgroups(),
    rights(open("/proc/self/status").read()), rights(child)]))
"""


@pytest.fixture
def state() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder, "state")


def become_and_write(state: Path) -> str:
    command = [sys.executable, "-c", BECOME, str(state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_root_becomes_the_owner_and_keeps_the_right_to_manage_the_network(state: Path) -> None:
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    told = become_and_write(state)
    assert told.startswith("[[65534, 65534, 65534], [65534, 65534, 65534], [65534],")
    assert '"CapPrm": "0000000000001000", "CapEff": "0000000000001000"' in told
    assert '"CapPrm": "0000000000000000", "CapEff": "0000000000000000"' in told
    assert {path.stat().st_uid for path in state.iterdir()} == {NOBODY}


def test_a_folder_of_root_or_none_changes_nothing(state: Path) -> None:
    assert become_and_write(state).startswith("[[0, 0, 0], [0, 0, 0]")
    assert become_and_write(state).startswith("[[0, 0, 0], [0, 0, 0]")
    assert state.stat().st_uid == 0
