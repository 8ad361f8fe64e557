"""Where things are in the project."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SCHEMAS = ROOT / "schemas"

CASES = ROOT / "tests/cases"
DATA = ROOT / "tests/data"
GOLDEN = ROOT / "tests/golden"
