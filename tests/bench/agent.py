"""The agent as it runs on a director, in a network namespace of its own, and what it takes.

It is watched from outside: the end of a fetch is when its copy's branch was written, the end
of a change is its line in the log after the kernel was read back, processor time and memory
are the kernel's account of the process.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path

from gitvs.adapters.control import ask
from gitvs.adapters.git_copy import FOLDER_NAME, HEAD
from gitvs.adapters.locations import SOCKET_NAME
from tests.bench.load import DIRECTOR, Load, changed_path, manifests
from tests.repositories import Repository

NAMESPACE = "agent"
INSIDE = ("ip", "netns", "exec", NAMESPACE)
_VERIFIED = re.compile(r"^(\S+ \S+) INFO \S+ applied id=", re.MULTILINE)
_APPLIED = re.compile(r" pass result=applied ")
_DRIFT_PASS = re.compile(r" pass result=converged trigger='[^']*drift timer")
_PATIENCE_SECONDS = 1200.0
_POLL_SECONDS = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


class Agent:
    """One agent that follows a repository on this host; stop it."""

    def __init__(self, folder: Path, state_dir: Path, load: Load) -> None:
        """Make the repository and start the agent; it has applied the load when this returns."""
        self._state_dir = state_dir
        self._remote = Repository(folder / "remote")
        self._remote.commit({**manifests(load)})
        self._log = folder / "log"
        self._config = folder / "gitvs.toml"
        self._write_config("1h")
        self._process = self._start()
        self._await(_APPLIED, 0)

    def change(self, after: Load) -> float:
        """Commit another weight, and return how long it took from the fetch to verified."""
        path = changed_path(after)
        self._remote.commit({path: manifests(after)[path]})
        began_at = self._log.stat().st_size
        ask(self._state_dir / SOCKET_NAME, {"command": "sync"}, _PATIENCE_SECONDS)
        found = _VERIFIED.search(self._said(began_at))
        assert found is not None, self._said(began_at)[-2000:]
        fetched_at = (self._state_dir / FOLDER_NAME / HEAD).stat().st_mtime
        return timestamp(found[1]) - fetched_at

    def look_for_drift_all_the_time(self) -> None:
        """From now on, have a drift pass begin whenever one has ended."""
        began_at = self._log.stat().st_size
        self._write_config("1s")
        self._process.send_signal(signal.SIGHUP)
        self._await(_DRIFT_PASS, began_at)

    def drift_pass(self) -> tuple[float, float]:
        """Return the processor time of one pass, and the memory after it in MB."""
        self._await(_DRIFT_PASS, self._log.stat().st_size)
        before = self._processor_seconds()
        self._await(_DRIFT_PASS, self._log.stat().st_size)
        return self._processor_seconds() - before, self._megabytes("Pss")

    def peak_megabytes(self) -> float:
        """Return the most memory that it ever had."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return kilobytes(text, "VmHWM") / 1000

    def stop(self) -> None:
        """End it, however it is, and its namespace."""
        self._process.kill()
        self._process.wait()
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)

    def _start(self) -> subprocess.Popen[bytes]:
        subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
        subprocess.run([*INSIDE, "ip", "link", "set", "lo", "up"], check=True)
        gitvs = "from gitvs.cli import main; main()"
        command = ["python3", "-c", gitvs, "-vv", "agent", "--config", str(self._config)]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [*INSIDE, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _write_config(self, drift: str) -> None:
        self._config.write_text(
            f'director = "{DIRECTOR}"\nstate_dir = "{self._state_dir}"\n'
            f'[source]\nurl = "{self._remote.folder}"\nallow_local = true\n'
            f'poll = "10h"\ntimeout = "1h"\n[agent]\ndrift = "{drift}"\n'
        )

    def _await(self, pattern: re.Pattern[str], began_at: int) -> None:
        """Wait for a line in the log."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not pattern.search(self._said(began_at)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"the agent did not get there\n{self._said(0)[-3000:]}")
            time.sleep(_POLL_SECONDS)

    def _said(self, began_at: int) -> str:
        with self._log.open("rb") as log:
            log.seek(began_at)
            return log.read().decode(errors="replace")

    def _processor_seconds(self) -> float:
        """Source: proc(5), /proc/pid/stat, utime and stime."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text()
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / _TICKS

    def _megabytes(self, field: str) -> float:
        text = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        return kilobytes(text, field) / 1000


def kilobytes(text: str, field: str) -> float:
    """Return a field that the kernel tells in units of 1,024 bytes, in thousands of bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None, f"the kernel tells nothing of {field}"
    return int(found[1]) * 1.024


def timestamp(text: str) -> float:
    """Return when a line was logged."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").timestamp()
