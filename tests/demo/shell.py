"""The shell of the story: runs commands, shows them and what they print."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.demo.narrator import Narrator


class Untrue(Exception):
    """Something that the story claims did not happen."""


def check(is_true: bool, claim: str) -> None:
    """Raises: Untrue."""
    if not is_true:
        raise Untrue(claim)


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left: its exit code, and what it printed without colours."""

    code: int
    output: str
    errors: str


class Shell:
    """Runs commands in one folder. gitvs is the installed command line, a process each time."""

    def __init__(self, narrator: Narrator, folder: Path, environment: Mapping[str, str]) -> None:
        self._narrator = narrator
        self.folder = folder
        self._environment = {**os.environ, **environment}

    def show(self, line: str, *, code: int = 0, keep: tuple[int, int] | None = None) -> Done:
        """Run a command, show it and what it printed; `keep` is how many lines of that.

        Raises:
            Untrue: it ended with another exit code.
        """
        self._narrator.command(line)
        done = self._run(line, is_terminal=self._narrator.is_coloured)
        self._narrator.output(done.output, keep=keep)
        self._narrator.output(done.errors, "red" if done.code else "green")
        if done.code:
            self._narrator.output(f"(exit code {done.code})", "dim")
        check(done.code == code, f"`{line}` ends with exit code {done.code}, not {code}")
        return done

    def read(self, line: str) -> str:
        """Run a command without showing it, and return what it printed.

        Raises:
            Untrue: it failed.
        """
        done = self._run(line, is_terminal=False)
        check(done.code == 0, f"`{line}` ends with exit code {done.code}: {done.errors}")
        return done.output

    @contextmanager
    def running(self, line: str) -> Iterator[None]:
        """Show a command and run it beside the others; it is ended afterwards."""
        self._narrator.command(line)
        with self.folder.with_name("log").open("wb") as log:
            process = subprocess.Popen(
                shlex.split(line),
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    def _run(self, line: str, *, is_terminal: bool) -> Done:
        """Run a command; its output goes to a terminal if wanted, so that it has its colours."""
        read_end, write_end = pty.openpty() if is_terminal else os.pipe()
        with tempfile.TemporaryFile("w+") as errors, open(read_end, "rb", buffering=0) as output:
            process = subprocess.Popen(
                shlex.split(line),
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=errors,
            )
            os.close(write_end)
            text = _read_all(output.fileno()).decode().replace("\r\n", "\n")
            code = process.wait()
            errors.seek(0)
            return Done(code, text, errors.read())


def _read_all(handle: int) -> bytes:
    """Read until the other side has closed. A terminal says so with an error."""
    text = b""
    while True:
        try:
            more = os.read(handle, 65536)
        except OSError:
            return text
        if not more:
            return text
        text += more
