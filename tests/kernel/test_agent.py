"""The agent as a process on a real kernel: drift, signals, crashes, and a second one beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gitvs.adapters.process.writer_lock import prepare_lock_folder
from gitvs.core.settings import LOCK_FOLDER
from tests.harness.lab import run
from tests.kernel.agent_process import PATIENCE_SECONDS, Host, eventually
from tests.support.agents import DIRECTOR, service

pytestmark = pytest.mark.kernel

VIP = "203.0.113.10"
NOBODY = 65534


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, {"lb1.yaml": DIRECTOR, "web.yaml": service()})


def rules() -> str:
    return run("ipvsadm", "-Sn")


def is_bound() -> bool:
    return VIP in run("ip", "address", "show")


def test_drift_of_addresses_is_repaired_within_a_second_of_work(host: Host) -> None:
    host.config.write_text(host.config.read_text().replace('drift = "2s"', 'drift = "1h"'))
    with host.agent():
        for deed in (
            ["ip", "address", "delete", f"{VIP}/32", "dev", "gitvs0"],
            ["ip", "route", "delete", "local", VIP, "dev", "gitvs0", "table", "local"],
            ["ip", "link", "delete", "gitvs0"],
        ):
            run(*deed)
            eventually(lambda: is_bound() and VIP in run("ip", "route", "show", "table", "local"))


def test_drift_of_rules_is_repaired_within_the_drift_interval(host: Host) -> None:
    with host.agent():
        before = rules()
        run("ipvsadm", "-e", "-t", f"{VIP}:80", "-r", "10.0.0.1:80", "-m", "-w", "77")
        run("ipvsadm", "-d", "-t", f"{VIP}:80", "-r", "10.0.0.2:80")
        eventually(lambda: rules() == before)


def test_a_commit_is_followed_and_stopping_changes_nothing(host: Host) -> None:
    with host.agent():
        host.remote.commit({"web.yaml": service(weight=5)})
        eventually(lambda: "-w 5" in rules())
        before = rules(), run("ip", "address", "show", "gitvs0")
    assert (rules(), run("ip", "address", "show", "gitvs0")) == before
    assert b"stopped" in host.log.read_bytes()


def test_a_killed_agent_changes_nothing_and_the_next_one_goes_on(host: Host) -> None:
    with host.agent() as process:
        before = rules()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert rules() == before
    host.remote.commit({"web.yaml": service(weight=5)})
    with host.agent():
        eventually(lambda: "-w 5" in rules())


def test_a_second_agent_and_apply_are_refused_with_who_is_there(host: Host) -> None:
    with host.agent() as process:
        second = subprocess.run(
            host.command("agent", "--config", str(host.config)), capture_output=True, text=True
        )
        assert second.returncode == 1
        assert "one agent at a time" in second.stderr
        assert f"process {process.pid}" in second.stderr
        apply = host.command("apply", str(host.remote.folder), "--director", "lb1")
        state = ["--state-dir", str(host.state_dir)]
        refused = subprocess.run([*apply, *state], capture_output=True, text=True)
        assert refused.returncode == 1
        assert "one writer at a time" in refused.stderr
        host.order("pause", seconds=600)
        # A cycle that a timer starts holds the lock for a moment, even during a pause.
        eventually(
            lambda: subprocess.run([*apply, *state], capture_output=True).returncode == 0, host.log
        )


def test_children_that_fetch_hold_no_capability(host: Host, tmp_path: Path) -> None:
    """A remote over ssh, whose ssh is a program of ours that notes what it may do."""
    noted = tmp_path / "noted"
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(f"#!/bin/sh\ngrep CapEff /proc/self/status >>{noted}\nexit 1\n")
    (programs / "ssh").chmod(0o755)
    text = host.config.read_text().replace(str(host.remote.folder), "ssh://git@192.0.2.1/x")
    host.config.write_text(text)
    os.chown(tmp_path, NOBODY, NOBODY)
    host.state_dir.mkdir()
    os.chown(host.state_dir, NOBODY, NOBODY)
    noted.touch()
    noted.chmod(0o666)
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    prepare_lock_folder()
    # In this test's mount namespace alone, NOBODY's group may hold the locks.
    options = f"mode=0770,gid={NOBODY}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(LOCK_FOLDER)], check=True)
    with host.log.open("ab") as log:
        process = subprocess.Popen(
            host.command("agent", "--config", str(host.config)),
            stdout=log,
            stderr=log,
            env=environment,
        )
    try:
        eventually(lambda: noted.read_text() != "", host.log)
        effective = json.loads(f'"{noted.read_text().split()[1]}"')
        assert int(effective, 16) == 0
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "CapEff:\t0000000000001000" in status
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def test_the_agents_own_user_is_refused(tmp_path: Path) -> None:
    """A child that becomes nobody serves, and asks itself: Git and ssh run as that user, too."""
    code = f"""
import os, sys
from pathlib import Path
from gitvs.adapters.service.control_socket import ControlServer, make_socket, send_request
from gitvs.core.errors import ControlFailed
listener = make_socket(Path({str(tmp_path / "s")!r}))
os.chmod({str(tmp_path / "s")!r}, 0o666)
import concurrent.futures.thread, pwd
server = ControlServer(listener, lambda request, peer: {{}})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
server.start()
try:
    send_request(Path({str(tmp_path / "s")!r}), {{}})
except ControlFailed as error:
    print(error)
"""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "runs the agent and may not control it" in done.stdout, done.stderr
