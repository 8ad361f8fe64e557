"""A director for tests: a guest with systemd, and gitvs installed from its wheel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import guest, system_guest
from tests.harness.system_guest import PACKAGES, PYTHON_PREFIX, SHARED, SystemGuest
from tests.support.paths import ROOT

PROGRAM = "/opt/gitvs/bin/gitvs"


@contextmanager
def director(folder: Path) -> Iterator[SystemGuest]:
    """Boot a guest that has gitvs as `pip install` leaves it; `gitvs install` has yet to be run.

    Where no guest can run, the test fails: it is never skipped.
    """
    if problem := system_guest.obstacle():
        pytest.fail(f"no guest with systemd: {problem}. To have one, {guest.INSTALL}")
    wheel = _build_wheel(folder)
    with system_guest.system_guest(folder) as machine:
        machine.check(_installation(wheel))
        yield machine


def put(machine: SystemGuest, path: str, text: str) -> None:
    """Write a file in the guest."""
    machine.check(f"mkdir -p $(dirname {path})\ncat >{path} <<'END OF FILE'\n{text}\nEND OF FILE")


def _build_wheel(folder: Path) -> Path:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True)
    [wheel] = folder.glob("gitvs-*.whl")
    return wheel


def _installation(wheel: Path) -> str:
    """Install the wheel into a virtual environment, beside the packages that we use ourselves."""
    python = _python()
    pip = f"PYTHONPATH={PACKAGES} {python} -m pip --python /opt/gitvs/bin/python"
    return f"""
        if [ {python} != {Path(sys.executable).resolve()} ]; then
            # It may look for its library where it was built, which the units hide.
            echo {PYTHON_PREFIX}/lib >/etc/ld.so.conf.d/00-python.conf
            ldconfig
        fi
        {python} -m venv --without-pip /opt/gitvs
        echo {PACKAGES} >$(echo /opt/gitvs/lib/python3.*/site-packages)/packages.pth
        {pip} install --quiet --no-deps --no-index --no-compile --ignore-installed \
            --disable-pip-version-check {SHARED / wheel.name}
    """


def _python() -> Path:
    """Return our interpreter, where the guest's users find it."""
    interpreter = Path(sys.executable).resolve()
    if interpreter.is_relative_to("/usr"):
        return interpreter
    return PYTHON_PREFIX / interpreter.relative_to(Path(sys.base_prefix).resolve())
