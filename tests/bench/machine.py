"""One guest of Debian's kernel under QEMU, in which user code and kernel are slowed alike.

It shares one folder with the host, has a disk of its own, and one processor: nothing that is
measured can have more of it than something else.
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

from tests.harness.guest import find_tool

MEMORY = "6G"
_LEFT_OUT = {"test", "idlelib", "ensurepip", "site-packages", "pip", "setuptools", "virtme"}
_DISK_BYTES = 4 << 30
_POLL_SECONDS = 0.5
_BOOT_SECONDS = 60.0
_INIT = Path(__file__).with_name("init.sh")


@dataclass(frozen=True, slots=True)
class Machine:
    """How to boot a guest. `folder` is where `tests/bench/install` put things."""

    folder: Path
    accelerated: bool

    @property
    def release(self) -> str:
        return (self.folder / "kernel/release").read_text().strip()

    def run(self, arguments: Sequence[str], shared: Path, timeout_seconds: float) -> None:
        """Run a Python module in the guest, and show what it logs.

        Raises:
            TimeoutError: it took too long, RuntimeError: the module failed, or the guest died.
        """
        _prepare(self.folder, shared, arguments)
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
            for name in ("disk", "files.tar"):
                (shared / name).unlink()
        if not status.exists():
            raise RuntimeError(f"the guest died\n{_tail(shared / 'console')}")
        if status.read_text().strip() != "0":
            raise RuntimeError(f"what ran in the guest failed\n{_tail(log)}")

    def _command(self, shared: Path) -> list[str]:
        disk = f"-drive file={shared}/disk,format=raw,if=virtio,cache=writeback"
        return [
            str(self.folder / "venv/bin/vng"),
            *("--run", str(self.folder / f"kernel/boot/vmlinuz-{self.release}")),
            *(() if self.accelerated else ("--disable-kvm",)),
            *("--cpus", "1", "--memory", MEMORY, "--user", "root", "--force-9p", "--verbose"),
            *(f"--rwdir={shared}", f"--qemu-opts={disk}"),
            *("--exec", f"bash {shlex.quote(str(shared / 'init.sh'))} {shlex.quote(str(shared))}"),
        ]


def find_machine(folder: Path) -> Machine:
    """Return a machine that really boots: with KVM if that does, or else emulated."""
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        machine = Machine(folder, accelerated=True)
        try:
            machine.run([], folder / "trial", _BOOT_SECONDS)
        except (TimeoutError, RuntimeError):
            print("bench: KVM boots no guest here: emulating one", file=sys.stderr)
        else:
            return machine
    return Machine(folder, accelerated=False)


def _prepare(folder: Path, shared: Path, arguments: Sequence[str]) -> None:
    """Put into the shared folder what the guest needs: our files, Python's packages, a disk."""
    shared.mkdir(parents=True, exist_ok=True)
    for name in ("log", "status"):
        (shared / name).unlink(missing_ok=True)
    (shared / "init.sh").write_bytes(_INIT.read_bytes())
    (shared / "arguments").write_text(shlex.join(arguments))
    packages = next((folder / "venv/lib").glob("python*/site-packages"))
    library = Path(sysconfig.get_path("stdlib"))
    with tarfile.open(shared / "files.tar", "w") as files:
        files.add(Path(sys.executable).resolve(), "python/bin/python3")
        files.add(library, f"python/lib/{library.name}", filter=_is_needed)
        files.add(packages, "packages", filter=_is_needed)
        files.add("tests", filter=_is_needed)
    with (shared / "disk").open("wb") as disk:
        disk.truncate(_DISK_BYTES)
    mkfs = find_tool("mkfs.ext4")
    subprocess.run([str(mkfs), "-q", "-F", shared / "disk"], check=True)


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
