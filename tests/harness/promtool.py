"""Prometheus's own judge of metrics and rules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROMTOOL = Path(sys.executable).parent / "promtool"


def promtool(*arguments: str, text: str = "") -> str:
    """Run promtool, and return what it says on standard error.

    Raises: AssertionError if it finds anything wrong.
    """
    assert _PROMTOOL.exists(), f"{_PROMTOOL} is missing: `make .venv/bin/promtool` fetches it"
    done = subprocess.run([_PROMTOOL, *arguments], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr
