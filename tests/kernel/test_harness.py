"""The harness itself: a kernel test has real IPVS, and a namespace that nobody else has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.lab import run
from tests.support.paths import ROOT

pytestmark = pytest.mark.kernel

MISBEHAVING = """
import os, threading, time
import pytest

pytestmark = pytest.mark.kernel

def test_fails():
    print("words")
    assert [1] == [2]

def test_dies():
    os.abort()

@pytest.mark.kernel(timeout_seconds=1)
def test_hangs():
    time.sleep(3600)

def test_leaves_a_process_and_a_thread_behind():
    if os.fork() == 0:
        time.sleep(3600)
    threading.Thread(target=time.sleep, args=[3600]).start()

@pytest.fixture
def clumsy():
    yield
    raise OSError("not removed")

def test_is_followed_by_trouble(clumsy):
    pass
"""


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_an_ipvs_table_of_its_own(turn: str) -> None:
    assert run("ipvsadm", "-Sn") == ""
    run("ipvsadm", "-A", "-t", "192.0.2.1:80", "-s", "rr")
    assert run("ipvsadm", "-Sn") == "-A -t 192.0.2.1:80 -s rr\n"


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_links_and_names_of_its_own(turn: str) -> None:
    run("ip", "link", "add", "gitvs0", "type", "dummy")
    run("ip", "netns", "add", "lb1")
    assert run("ip", "netns", "list").split() == ["lb1"]
    assert Path("/sys/class/net/gitvs0").exists()


def test_a_test_that_misbehaves_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "test_misbehaving.py").write_text(MISBEHAVING)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = kernel\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.harness.plugin", "-rA", "--tb=short"),
            *("-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)),
        ],
        env={name: v for name, v in os.environ.items() if not name.startswith("GITVS_TEST_")}
        | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    said = done.stdout
    assert "3 failed, 2 passed, 1 error" in said, said + done.stderr
    assert "assert [1] == [2]" in said
    assert "words" in said
    assert "killed by SIGABRT" in said
    assert "time-out: longer than 1 s" in said
    assert "in test_hangs" in said
    assert "OSError: not removed" in said
