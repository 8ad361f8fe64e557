"""`gitvs agent` as a process in the network namespace under us, and the remote it follows."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitvs.adapters.service.control_socket import send_request
from gitvs.core.errors import AgentUnreachable
from gitvs.core.settings import SOCKET_FILE_NAME
from tests.support.git.repositories import Repository

PATIENCE_SECONDS = 120.0


def eventually(check: Callable[[], bool], log: Path | None = None) -> None:
    """Wait until something holds.

    Raises: AssertionError, with what was logged, if it does not come about.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < deadline, "" if log is None else log.read_text()[-2000:]
        time.sleep(0.05)


class Host:
    """A remote, settings, and the agent's process in this namespace."""

    def __init__(self, folder: Path, manifests: dict[str, str | bytes]) -> None:
        """Prepare; `manifests` are the first commit."""
        self.state_dir = folder / "state"
        self.remote = Repository(folder / "remote")
        self.log = folder / "log"
        self.config = folder / "gitvs.toml"
        self.config.write_text(
            f'director = "lb1"\nstate_dir = "{self.state_dir}"\n'
            f'[source]\nurl = "{self.remote.folder}"\nallow_local = true\npoll = "1s"\n'
            '[agent]\ndrift = "2s"\n[metrics]\nlisten = ""\n'
        )
        self.remote.commit(manifests)

    def command(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).with_name("gitvs")), *words]

    @contextmanager
    def agent(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the agent; it is ready when it answers, and stopped at the end."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command("agent", "--config", str(self.config)), stdout=log, stderr=log
            )
        try:
            eventually(self._answers)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)

    def _answers(self) -> bool:
        try:
            return self.order("status")["applied"] is not None
        except AgentUnreachable:
            return False

    def order(self, command: str, **fields: Any) -> Any:
        return send_request(self.state_dir / SOCKET_FILE_NAME, {"command": command, **fields})
