"""A guest with a real systemd, on a disk that outlives it: for boots, reboots and power cuts.

Its files are the host's; what is written lands on the disk. The host gives it scripts to
run as root, one at a time, through a folder that both share.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness import guest
from tests.harness.guest import INSTALL, Guest, find_tool

SHARED = Path("/mnt/shared")
"""Where the guest sees the folder that it shares with the host."""
PYTHON_PREFIX = Path("/opt/python")
PACKAGES = Path("/opt/packages")
"""Where the guest sees the packages that the tests' own Python uses."""

DEFAULT_TIMEOUT_SECONDS = 60.0
_BOOT_SECONDS = 120.0
_SPARE_SECONDS = 15.0
_POLL_SECONDS = 0.05
_DISK_SIZE = "4G"  # sparse: it takes what is written
_SYSTEMD = Path("/lib/systemd/systemd")
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Ran:
    """How a script ended, and what it said."""

    code: int
    out: str
    err: str


def obstacle() -> str | None:
    """Return why no guest with systemd can run here, or None if one can."""
    if not _SYSTEMD.exists():
        return f"{_SYSTEMD} not found"
    if find_tool("mkfs.ext4") is None:
        return "mkfs.ext4 not found"
    return guest.obstacle()


class SystemGuest:
    """A machine that can be booted, shut down, and cut from its power, again and again."""

    def __init__(self, folder: Path) -> None:
        """Make its disk in `folder`, the one that it shares with the host.

        Raises:
            RuntimeError: no such guest can run here, and what to install.
        """
        if problem := obstacle():
            raise RuntimeError(f"no guest with systemd: {problem}. To have one, {INSTALL}")
        self.folder = folder
        self._disk = folder / "disk"
        self._boots = 0
        self._steps = 0
        self._guest: Guest | None = None
        subprocess.run(["truncate", "-s", _DISK_SIZE, self._disk], check=True)
        mkfs = find_tool("mkfs.ext4")
        subprocess.run([str(mkfs), "-q", "-F", self._disk], check=True)

    def boot(self) -> None:
        """Boot, and wait until it has started all that it starts by itself.

        Raises:
            RuntimeError: it died, TimeoutError: it did not come up; with what it printed.
        """
        assert self._guest is None or not self._guest.is_running(), "it runs already"
        self._boots += 1
        self._steps = 0
        folder = self.folder / f"boot{self._boots}"
        folder.mkdir()
        (folder / "steps.sh").write_bytes((_HERE / "system_steps.sh").read_bytes())
        self._guest = Guest(
            (),
            folder,
            shared=self.folder,
            init=_HERE / "system_init.sh",
            kernel_arguments=(
                f"ubd0={self._disk}",
                f"GITVS_PYTHON={sys.base_prefix}",
                f"GITVS_PACKAGES={sysconfig.get_path('purelib')}",
            ),
        )
        self.run("systemctl is-system-running --wait", timeout_seconds=_BOOT_SECONDS)

    def run(self, script: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Ran:
        """Run a shell script as root.

        Raises:
            RuntimeError: the guest died, TimeoutError: no end in time; with what was printed.
        """
        status = self._give(script, timeout_seconds)
        deadline = time.monotonic() + timeout_seconds + _SPARE_SECONDS
        while not status.exists():
            if not self._running().is_running():
                raise RuntimeError(self._report("the guest died"))
            if time.monotonic() > deadline:
                raise TimeoutError(self._report(f"did not end within {timeout_seconds:g} s"))
            time.sleep(_POLL_SECONDS)
        out, err = (status.with_suffix(suffix) for suffix in (".out", ".err"))
        return Ran(
            int(status.read_text()),
            out.read_text(errors="replace"),
            err.read_text(errors="replace"),
        )

    def check(self, script: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> str:
        """Run a shell script that has to end well, and return what it wrote."""
        ran = self.run(f"set -eu -o pipefail\n{script}", timeout_seconds)
        if ran.code != 0:
            raise AssertionError(f"exit code {ran.code} of:\n{script}\n{ran.out}\n{ran.err}")
        return ran.out

    def wait_until(self, condition: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        """Wait until a shell condition holds, and fail if it does not in time."""
        script = f"until {{ {condition}\n}} >/dev/null 2>&1; do sleep 0.2; done"
        ran = self.run(script, timeout_seconds)
        if ran.code != 0:
            raise AssertionError(f"not within {timeout_seconds:g} s: {condition}")

    def shut_down(self) -> None:
        """Shut down as systemd does it."""
        self._give("systemctl --no-block poweroff", DEFAULT_TIMEOUT_SECONDS)
        deadline = time.monotonic() + _BOOT_SECONDS
        while self._running().is_running():
            if time.monotonic() > deadline:
                raise TimeoutError(self._report("no shutdown"))
            time.sleep(_POLL_SECONDS)

    def cut_power(self) -> None:
        """End it at once: what was not on the disk is lost."""
        if self._guest is not None:
            self._guest.kill()

    def _give(self, script: str, timeout_seconds: float) -> Path:
        """Hand over a script, and return the file that will hold its exit status."""
        self._steps += 1
        folder = self._running().folder
        body, given = folder / f"{self._steps}.body", folder / f"{self._steps}.new"
        body.write_text(script)
        given.write_text(f"timeout -k 5 {timeout_seconds:g} bash {_seen(self.folder, body)}\n")
        os.rename(given, given.with_suffix(".sh"))
        return given.with_suffix(".status")

    def _running(self) -> Guest:
        assert self._guest is not None, "it was never booted"
        return self._guest

    def _report(self, problem: str) -> str:
        step = self._running().folder / f"{self._steps}.body"
        said = [step.with_suffix(suffix) for suffix in (".out", ".err")]
        texts = [path.read_text(errors="replace") for path in [step, *said] if path.exists()]
        return "\n".join([problem, *texts, self._running().console_tail()])


def _seen(shared: Path, path: Path) -> Path:
    """Return where the guest sees a file of the shared folder."""
    return SHARED / path.relative_to(shared)


@contextmanager
def system_guest(folder: Path) -> Iterator[SystemGuest]:
    """Boot a guest, and end it whatever happens."""
    machine = SystemGuest(folder)
    try:
        machine.boot()
        yield machine
    finally:
        machine.cut_power()
