"""Kernel tests are never skipped in silence: what happens where no kernel can run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import guest, namespace, plugin
from tests.support.paths import ROOT

# A pytest that believes that User-Mode Linux is installed; the programs come from PATH.
PYTEST = """
import pathlib, sys, pytest
from tests.harness import guest
guest._MODULES = pathlib.Path("/")
sys.exit(pytest.main(sys.argv[1:]))
"""

TWO_TESTS = """
import pytest

@pytest.mark.kernel
def test_on_a_kernel():
    raise SystemError("this must not run on the host")

def test_anywhere():
    pass
"""


def run_pytest_with_guest(folder: Path, what_a_guest_does: str) -> subprocess.CompletedProcess[str]:
    """Run a pytest whose guests are a shell script that gets the kernel's arguments."""
    programs = {
        "linux.uml": what_a_guest_does,
        "setpriv": 'shift 2; exec "$@"',
        **dict.fromkeys(("insmod", "ip", "ipvsadm"), "exit 1"),
    }
    (folder / "bin").mkdir()
    for name, script in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = kernel\n")
    (folder / "test_two.py").write_text(TWO_TESTS)
    return subprocess.run(
        [sys.executable, "-c", PYTEST, "-p", "tests.harness.plugin", "-p", "no:cacheprovider"],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITVS_TEST_KERNEL": "uml",
        },
        capture_output=True,
        text=True,
    )


def test_a_kernel_test_fails_where_no_kernel_can_run_it(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace, "obstacle", lambda: "not root")
    monkeypatch.setattr(guest, "obstacle", lambda: "linux.uml not found")
    item = request.node
    runner, line = plugin.choose_runner(request.config, [item])
    (report,) = runner.run(item)
    assert report.failed
    assert "not root" in line
    assert "linux.uml not found" in report.longreprtext
    assert "tests/harness/install" in report.longreprtext


def test_a_kernel_test_fails_with_the_console_of_a_guest_that_died(tmp_path: Path) -> None:
    done = run_pytest_with_guest(tmp_path, "echo 'Kernel panic - not syncing'; exit 1")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "the test did not report" in done.stdout
    assert "Kernel panic - not syncing" in done.stdout


def test_a_kernel_test_fails_if_the_guest_ends_well_without_running_it(tmp_path: Path) -> None:
    done = run_pytest_with_guest(tmp_path, "exit 0")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout


def test_a_guest_that_died_during_a_test_fails_that_test(tmp_path: Path) -> None:
    claim = '{"test": "test_two.py::test_on_a_kernel"}'
    script = f"""
for argument in "$@"; do case $argument in GITVS_GUEST=*) folder=${{argument#*=}};; esac; done
echo '{claim}' >"$folder/reports"
echo 'Oops: 0000'
"""
    done = run_pytest_with_guest(tmp_path, script)
    assert "1 failed, 1 passed" in done.stdout
    assert "Oops: 0000" in done.stdout
