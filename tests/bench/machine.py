"""One guest of Debian's kernel under QEMU, whose clock counts instructions.

It shares one folder with the host and has one processor. QEMU's `-icount` makes its clock go on
by a fixed time with each instruction, so that figures don't depend on what else the host does:
runs differ by 0.3 %. While the processor waits, the clock is the host's.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MEMORY = "6G"
_LEFT_OUT = {"test", "idlelib", "ensurepip", "site-packages", "pip", "setuptools", "virtme"}
_POLL_SECONDS = 0.5
_BOOT_SECONDS = 60.0
_SHIFT = 3
"""An instruction takes 2^3 ns: eight times as many ticks as with 1 ns, for 0.5 % more work."""

_INIT = Path(__file__).with_name("init.sh")


@dataclass(frozen=True, slots=True)
class Machine:
    """How to boot a guest. `folder` is where `tests/bench/install` put things.

    With KVM its clock is real, and nothing counts instructions.
    """

    folder: Path
    is_accelerated: bool

    @property
    def release(self) -> str:
        return (self.folder / "kernel/release").read_text().strip()

    def run(self, arguments: Sequence[str], shared: Path, timeout_seconds: float) -> None:
        """Run a Python module in the guest, and show what it logs.

        Raises:
            TimeoutError: it took too long, RuntimeError: the module failed, or the guest died.
        """
        nanoseconds = 1 if self.is_accelerated else 1 << _SHIFT
        _prepare(self.folder, shared, arguments, nanoseconds)
        log, status = shared / "log", shared / "status"
        with (shared / "console").open("wb") as console:
            process = subprocess.Popen(
                self._command(shared),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, "PATH": f"{self.folder}/venv/bin:{os.environ['PATH']}"},
                start_new_session=True,
            )
        try:
            _follow(process, log, timeout_seconds)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
            (shared / "files.tar").unlink()
        if not status.exists():
            raise RuntimeError(f"the guest died\n{_tail(shared / 'console')}")
        if status.read_text().strip() != "0":
            raise RuntimeError(f"what ran in the guest failed\n{_tail(log)}")

    def _command(self, shared: Path) -> list[str]:
        counted = (
            *("--disable-kvm", f"--qemu-opts=-icount shift={_SHIFT},sleep=on"),
            *("--append", "tsc=reliable", "--append", "nokaslr", "--append", "norandmaps"),
        )
        return [
            str(self.folder / "venv/bin/vng"),
            *("--run", str(self.folder / f"kernel/boot/vmlinuz-{self.release}")),
            *(() if self.is_accelerated else counted),
            *("--cpus", "1", "--memory", MEMORY, "--user", "root", "--force-9p", "--verbose"),
            f"--rwdir={shared}",
            *("--exec", f"bash {shlex.quote(str(shared / 'init.sh'))} {shlex.quote(str(shared))}"),
        ]

    def boots(self) -> bool:
        """Return whether a guest really starts here: /dev/kvm alone doesn't say so."""
        if self.is_accelerated and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            return False
        try:
            self.run([], self.folder / "trial", _BOOT_SECONDS)
        except (TimeoutError, RuntimeError):
            return False
        return True


def _prepare(folder: Path, shared: Path, arguments: Sequence[str], nanoseconds: int) -> None:
    """Put into the shared folder what the guest needs: our files, and Python's packages."""
    shared.mkdir(parents=True, exist_ok=True)
    for name in ("log", "status"):
        (shared / name).unlink(missing_ok=True)
    (shared / "init.sh").write_bytes(_INIT.read_bytes())
    (shared / "arguments").write_text(shlex.join(arguments))
    (shared / "nanoseconds").write_text(str(nanoseconds))
    packages = next((folder / "venv/lib").glob("python*/site-packages"))
    library = Path(sysconfig.get_path("stdlib"))
    with tarfile.open(shared / "files.tar", "w") as files:
        files.add(Path(sys.executable).resolve(), "python/bin/python3")
        files.add(library, f"python/lib/{library.name}", filter=_is_needed)
        files.add(packages, "packages", filter=_is_needed)
        files.add("tests", filter=_is_needed)


def _is_needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _LEFT_OUT & set(Path(entry.name).parts) else entry


def _follow(process: subprocess.Popen[bytes], log: Path, timeout_seconds: float) -> None:
    """Show what is logged until the guest ends."""
    deadline = time.monotonic() + timeout_seconds
    shown = 0
    while True:
        is_last = process.poll() is not None
        if log.exists():
            text = log.read_bytes()
            sys.stderr.write(text[shown:].decode(errors="replace"))
            sys.stderr.flush()
            shown = len(text)
        if is_last:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the guest ran longer than {timeout_seconds:g} s")
        time.sleep(_POLL_SECONDS)


def _tail(path: Path, lines: int = 30) -> str:
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.replace("\r", "").splitlines()[-lines:])
