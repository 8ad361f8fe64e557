"""keepalived as it is in the wild, started and ended in the ways that an operator has."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.05


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Return once it is so.

    Raises: TimeoutError that names `what`.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"longer than {PATIENCE_SECONDS:g} s: {what}")
        time.sleep(_POLL_SECONDS)


class Keepalived:
    """keepalived in the network namespace that we are in. End it, or use `with`.

    It is a parent, a child that serves VRRP if the configuration has any, and a child that
    checks real servers and writes IPVS, likewise.
    """

    def __init__(self, folder: Path, config: str, *options: str) -> None:
        """Start. `folder` gets its files, the log among them; `options` are the command's."""
        folder.mkdir(exist_ok=True)
        self._checker_file, self._vrrp_file = folder / "checkers.pid", folder / "vrrp.pid"
        self._log_file = folder / "log"
        config_file = folder / "keepalived.conf"
        config_file.write_text(config)
        with self._log_file.open("wb") as log:
            self._parent = subprocess.Popen(
                [
                    *("keepalived", "--dont-fork", "--no-syslog", "--log-console", "--log-detail"),
                    f"--use-file={config_file}",
                    f"--pid={folder}/parent.pid",
                    f"--vrrp_pid={self._vrrp_file}",
                    f"--checkers_pid={self._checker_file}",
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._parent.poll() is None:
            self._parent.kill()  # its children go with it
        self._parent.wait()

    def is_master(self) -> bool:
        """Whether it has become the master, and binds its VIPs."""
        return "Entering MASTER STATE" in self._log_file.read_text()

    def stop(self) -> None:
        """Stop it as `systemctl stop` does: it gives up its VIPs and removes its IPVS rules."""
        self._parent.terminate()
        self._parent.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """End all of it at once: its VIPs and its IPVS rules stay.

        The parent would start a killed child anew, and a child whose parent has died would
        clean up: so the parent is halted first, and killed last.
        """
        self._kill(self._checker_file, self._vrrp_file)

    def kill_the_checker_first(self) -> None:
        """End it so that nobody removes the IPVS rules; it still gives up its VIPs."""
        self._kill(self._checker_file)

    def _kill(self, *children: Path) -> None:
        self._parent.send_signal(signal.SIGSTOP)
        for child in children:
            os.kill(int(child.read_text()), signal.SIGKILL)
        self._parent.kill()
        self._parent.wait(PATIENCE_SECONDS)
