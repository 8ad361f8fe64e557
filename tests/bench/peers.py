"""The programs that gitvs is measured against.

They run as they are packaged: ipvsadm reads its rules from a file, keepalived runs in the
foreground as its unit has it, without a detailed log. When keepalived is done is seen by
asking the kernel for one virtual service now and then, which costs it next to nothing.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from gitvs.adapters.linux.ipvs import Ipvs
from gitvs.core.model.resources import RealServer
from tests.bench.load import SERVERS, Load, keepalived_text
from tests.bench.meter import Group, Reading
from tests.bench.samples import Cost

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000  # Source: Linux include/uapi/linux/sched.h
_SETTLED_SECONDS = 0.5
_PATIENCE_SECONDS = 1000.0
_POLL_SECONDS = 0.02


def renew() -> None:
    """Go on in a new network namespace, with an empty table, once the old one is gone.

    Flushing would not do: the kernel keeps what was removed for two minutes, and compares each
    real server that is added with all of it, whoever adds it. Source: ip_vs_ctl.c, dest_trash.
    """
    if _LIBC.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no new network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    _settle()


def _settle() -> None:
    """Wait until the kernel has nothing left to tidy up."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        before = _idle_ticks()
        time.sleep(_SETTLED_SECONDS)
        if _idle_ticks() - before > 0.9 * _SETTLED_SECONDS * os.sysconf("SC_CLK_TCK"):
            return


def _idle_ticks() -> int:
    """Source: proc(5), /proc/stat."""
    return int(Path("/proc/stat").read_text().split(maxsplit=5)[4])


def restore(rules: Path) -> Cost:
    """Have ipvsadm read rules, and return what that took."""
    with Group("ipvsadm") as group:
        return group.run(["ipvsadm", "-R"], rules)


def save() -> Cost:
    """Have ipvsadm print the table to nowhere, and return what that took."""
    with Group("ipvsadm") as group:
        return group.run(["ipvsadm", "-Sn"])


def saved_lines() -> list[str]:
    """Return what ipvsadm prints of the table, sorted."""
    done = subprocess.run(["ipvsadm", "-Sn"], capture_output=True, check=True, text=True)
    return sorted(line.rstrip() for line in done.stdout.splitlines())


class Keepalived:
    """keepalived in the foreground, for as long as a block lasts; its table outlives it."""

    def __init__(self, folder: Path) -> None:
        """Prepare; `folder` is made anew: what a killed one leaves there keeps others away."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self._config = folder / "keepalived.conf"
        self._checker_file = folder / "checkers.pid"
        self._folder = folder
        self._parent: subprocess.Popen[bytes] | None = None
        self._group = Group("keepalived")

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it so that nobody removes the rules: one after the other, which takes long."""
        if self._parent is not None:
            self._parent.send_signal(signal.SIGSTOP)
            with suppress(FileNotFoundError, ProcessLookupError):  # it may have died of itself
                os.kill(int(self._checker_file.read_text()), signal.SIGKILL)
            self._parent.kill()
            self._parent.wait()
        self._group.__exit__()

    def start(self, load: Load) -> Cost:
        """Start it, and return what it took until the table was complete."""
        self._config.write_text(keepalived_text(load))
        last = load.rules[-1].servers[-1]
        command = [
            *("keepalived", "--dont-fork", "--no-syslog", f"--use-file={self._config}"),
            f"--pid={self._folder}/parent.pid",
            f"--checkers_pid={self._checker_file}",
        ]
        with (self._folder / "log").open("wb") as log, Ipvs() as ipvs:
            before = self._group.read("self")
            self._parent = subprocess.Popen(
                self._group.command(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            self._wait(lambda: len(ipvs.read_real_servers(last.listener)) == SERVERS)
            return self._used_since(before)

    def reload(self, load: Load) -> Cost:
        """Have it read a load with another weight; return what it took until the kernel had it."""
        wanted = load.changed_server()
        self._config.write_text(keepalived_text(load))
        assert self._parent is not None, "it was never started"
        with Ipvs() as ipvs:
            before = self._group.read("self")
            self._parent.send_signal(signal.SIGHUP)
            self._wait(lambda: _weight(ipvs, wanted) == wanted.weight)
            return self._used_since(before)

    def _used_since(self, before: Reading) -> Cost:
        """Return what it used; what it writes nobody counts, for it keeps no records."""
        return replace(self._group.read("self").since(before), written_bytes=None, syncs=None)

    def _wait(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not is_so():
            assert self._parent is not None, "it was never started"
            if self._parent.poll() is not None:
                log = (self._folder / "log").read_text(errors="replace")
                raise RuntimeError(f"keepalived died\n{log[-2000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"keepalived was not done within {_PATIENCE_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)


def _weight(ipvs: Ipvs, wanted: RealServer) -> int | None:
    for server, _, _ in ipvs.read_real_servers(wanted.listener):
        if isinstance(server, RealServer) and server.key == wanted.key:
            return server.weight
    return None
