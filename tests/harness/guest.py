"""Runs a command on a kernel of its own: a User-Mode Linux guest over the host's files.

The guest sees the host's files, and what it writes stays in its memory, but for one folder
that both share. `python -m tests.harness.guest -- COMMAND…` runs a command in a guest and
ends with its exit status.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

INSTALL = "run tests/harness/install: it installs Debian's user-mode-linux and what goes with it"
_READY = b"guest: ready\n"
_DONE = b"guest: done\n"

_POLL_SECONDS = 0.02
_INIT = Path(__file__).with_name("init.sh")
_MODULES = Path("/usr/lib/uml/modules")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = ("CI", "HOME", "LANG", "NO_COLOR", "PATH", "TERM", "VIRTUAL_ENV")
_PASSED_ON_PREFIXES = ("GITVS_", "HYPOTHESIS_", "LC_", "PYTHON")


def find_tool(name: str) -> str | None:
    """Return the path of a program, looked for where only root's PATH leads too."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")


def obstacle() -> str | None:
    """Return why no guest can run here, or None if one can."""
    missing = [t for t in ("linux.uml", "insmod", "ip", "ipvsadm", "setpriv") if not find_tool(t)]
    if missing:
        return f"{', '.join(missing)} not found"
    if not _MODULES.is_dir():
        return f"{_MODULES} not found"
    return None


class Guest:
    """A guest that runs one command and then powers off. `folder` is shared with the host."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        shared: Path | None = None,
        init: Path = _INIT,
        memory: str = "1G",
        environment: Mapping[str, str] | None = None,
        kernel_arguments: Sequence[str] = (),
        console: int | None = None,
    ) -> None:
        """Boot. `folder`'s path has no space in it: it travels on the kernel's command line.

        `shared` is a folder above `folder` to share instead of it, for guests that meet there.
        `init` is the script that is the first process, by default one that runs the command.
        `console` is a file descriptor for what the guest prints; by default it goes to the
        file `console` in `folder`.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "init.sh").write_bytes(init.read_bytes())
        (folder / "init.sh").chmod(0o755)
        (folder / "job.sh").write_text(_job(command, environment or {}))
        with (folder / "console").open("wb") as file:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "linux.uml"),
                    *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
                    *(f"mem={memory}", "quiet", "selinux=0", "con=null", "con0=null,fd:1"),
                    *kernel_arguments,
                    *(f"GITVS_GUEST={folder}", f"GITVS_SHARED={shared or folder}"),
                    f"init={folder}/init.sh",
                ],
                stdin=subprocess.DEVNULL,
                stdout=file if console is None else console,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": _path(), "TMPDIR": _memory_folder()},
                start_new_session=True,
            )

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Wait for the end and return the command's exit status.

        Raises: TimeoutError, RuntimeError if the guest died before the command ended.
        """
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(
                f"the guest ran longer than {timeout_seconds} s\n{self.console_tail()}"
            ) from None
        try:
            return int((self.folder / "status").read_text())
        except (FileNotFoundError, ValueError):
            raise RuntimeError(f"the guest died\n{self.console_tail()}") from None

    def kill(self) -> None:
        """End the guest at once. A guest that has ended stays so."""
        if self.is_running():
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def console_tail(self, lines: int = 40) -> str:
        """Return the last lines that the guest printed."""
        text = (self.folder / "console").read_text(errors="replace").replace("\r", "")
        return "\n".join(text.splitlines()[-lines:])


def _job(command: Sequence[str], environment: Mapping[str, str]) -> str:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    variables = {**kept, "PATH": _path(), "GITVS_IN_GUEST": "1", **environment}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*exports, f"cd {shlex.quote(os.getcwd())}", f"exec {shlex.join(command)}\n"])


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}".lstrip(":")


def _memory_folder() -> str:
    """Return a folder for the guest's memory: a file that it maps, executable, 1 GB at most."""
    shm = Path("/dev/shm")
    if shm.is_dir():
        room = os.statvfs(shm)
        if room.f_bavail * room.f_frsize > 2 << 30 and not room.f_flag & os.ST_NOEXEC:
            return str(shm)
    return tempfile.gettempdir()


def main(arguments: Sequence[str]) -> int:
    command = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    if not command:
        print("usage: python -m tests.harness.guest -- COMMAND…", file=sys.stderr)
        return 64
    if problem := obstacle():
        print(f"no User-Mode Linux here: {problem}; {INSTALL}", file=sys.stderr)
        return 1
    return run_command(command)


def run_command(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command in a guest, show what it prints as it comes, and return its exit status."""
    with tempfile.TemporaryDirectory(prefix="gitvs-guest-") as folder:
        guest = Guest(command, Path(folder), environment=environment)
        try:
            _show_console(guest)
            return guest.wait()
        finally:
            guest.kill()


def _show_console(guest: Guest) -> None:
    """Copy what the command prints, as it comes, without what the kernel prints around it."""
    text, shown = b"", None
    with (guest.folder / "console").open("rb") as console:
        while True:
            is_last = not guest.is_running()
            text += console.read()
            if shown is None and _READY in text:
                shown = text.index(_READY) + len(_READY)
            if shown is not None:
                end = text.rfind(_DONE) if _DONE in text else len(text)
                sys.stdout.buffer.write(text[shown:end])
                sys.stdout.flush()
                shown = max(shown, end)
            if is_last:
                return
            time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
