"""The agent as it runs on a director, or with its kernel in memory, and what it takes.

It is watched from outside: what it takes is the kernel's account of its group of processes,
and the log says that what was measured is what was meant.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from gitvs.adapters.service.control_socket import send_request
from gitvs.core.settings import SOCKET_FILE_NAME
from tests.bench.load import DIRECTOR, Load, changed_path, manifests
from tests.bench.meter import Group
from tests.bench.samples import Cost
from tests.support.git.repositories import Repository

IN_KERNEL = """
import gitvs.adapters.process.deadline
from gitvs.cli import main
gitvs.adapters.process.deadline.MAX_JUDGING_SECONDS = 1e9
main()
"""
"""In the guest a clock that counts instructions goes so fast that every large commit is late."""

IN_MEMORY = f"""
import gitvs.cli.shared.host
from tests.support.memory.kernel import MemoryKernel
gitvs.cli.shared.host.LinuxKernel = lambda owner_alias, witness_folder: MemoryKernel(owner_alias)
{IN_KERNEL}
"""
"""Where there is no IPVS. Of 10,000 services with five real servers, that kernel takes 16 MB."""

_VERIFIED = re.compile(r"^(\S+ \S+) INFO \S+ applied id=", re.MULTILINE)
_APPLIED = re.compile(r" pass result=applied ")
_LOOKED = re.compile(r" pass result=converged trigger='sync'")
_PATIENCE_SECONDS = 2000.0
_POLL_SECONDS = 0.1
_LAST_BYTES = 4096
"""What is read of a log again and again; all of it would take longer than what is measured."""


class Agent:
    """One agent that follows a repository on this host; stop it."""

    def __init__(
        self,
        folder: Path,
        state_dir: Path,
        load: Load,
        program: str = IN_KERNEL,
        group: Group | None = None,
    ) -> None:
        """Make the repository and start the agent; it has applied the load when this returns.

        In a group, what it takes is counted: `start_cost` is what it took until then.
        """
        self._state_dir = state_dir
        self._group = group
        self._remote = Repository(folder / "remote")
        self._remote.commit({**manifests(load)})
        self._log = folder / "log"
        self._config = folder / "gitvs.toml"
        self._config.write_text(self._settings())
        command = [sys.executable, "-c", program, "-vv", *self._arguments("agent")]
        self.start_cost: Cost | None = None
        before = None if group is None else group.read("self")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                group.command(command) if group else command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._await_applied()
            if group and before:
                before = replace(before, written_bytes=0)  # of another process
                self.start_cost = group.read(self._process.pid).since(before)
        except BaseException:
            self.stop()
            raise

    def command(self, name: str) -> list[str]:
        """Return another command of gitvs, for the same host."""
        return [sys.executable, "-c", IN_KERNEL, *self._arguments(name)]

    def _arguments(self, name: str) -> list[str]:
        if name == "status":
            return [name, "--state-dir", str(self._state_dir)]
        return [name, "--config", str(self._config)]

    def change(self, after: Load) -> Cost:
        """Commit another weight, and return what it took from the fetch to verified."""
        path = changed_path(after)
        self._remote.commit({path: manifests(after)[path]})
        return self._sync(_VERIFIED)

    def drift_pass(self) -> Cost:
        """Have it compare all of the kernel with what was applied.

        It is asked to, lest anybody wait for its timer; that it fetches, too, is part of it.
        The pass before finds what a change has left: what counts is one of an idle agent.
        """
        self._sync(_LOOKED)
        return self._sync(_LOOKED)

    def megabytes(self) -> tuple[float, float]:
        """Return how much memory it has, and the most that it ever had."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return kilobytes(text, "VmRSS") / 1000, kilobytes(text, "VmHWM") / 1000

    def stop(self) -> None:
        """End it, however it is."""
        self._process.kill()
        self._process.wait()

    def _settings(self) -> str:
        """Return settings under which it does nothing unless it is asked to."""
        return (
            f'director = "{DIRECTOR}"\nstate_dir = "{self._state_dir}"\n'
            f'[source]\nurl = "{self._remote.folder}"\nallow_local = true\n'
            'poll = "10h"\ntimeout = "1h"\n[agent]\ndrift = "10h"\n'
            f'[metrics]\nlisten = "127.0.0.1:{_free_port()}"\n'
        )

    def _sync(self, wanted: re.Pattern[str]) -> Cost:
        """Have it fetch and make a pass; return what that took, children included."""
        began_at = self._log.stat().st_size
        assert self._group is not None, "what it takes is not counted"
        before = self._group.read(self._process.pid)
        send_request(self._state_dir / SOCKET_FILE_NAME, {"command": "sync"}, _PATIENCE_SECONDS)
        cost = self._group.read(self._process.pid).since(before)
        assert wanted.search(self._said(began_at)), self._said(began_at)[-2000:]
        return cost

    def _await_applied(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _APPLIED.search(self._said(self._log.stat().st_size - _LAST_BYTES)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"the agent did not get there\n{self._said(0)[-3000:]}")
            time.sleep(_POLL_SECONDS)

    def _said(self, began_at: int) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, began_at))
            return log.read().decode(errors="replace")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def kilobytes(text: str, field: str) -> float:
    """Return a field that the kernel tells in units of 1,024 bytes, in thousands of bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None, f"the kernel tells nothing of {field}"
    return int(found[1]) * 1.024
