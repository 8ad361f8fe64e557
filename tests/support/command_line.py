"""Runs gitvs for tests: in this process, where it is fast, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from gitvs.cli import run


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Gitvs = Callable[..., Ran]


def in_process(capsys: pytest.CaptureFixture[str]) -> Gitvs:
    """Return a function that runs `gitvs ARGUMENTS…` in this process."""

    def gitvs(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return gitvs


def in_child(*arguments: object, **environment: str) -> Ran:
    """Run `gitvs ARGUMENTS…` as people do."""
    done = subprocess.run(
        [sys.executable, "-c", "from gitvs.cli import main; main()", *map(str, arguments)],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
