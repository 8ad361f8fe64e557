"""`make demo` tells nothing but the truth, on this kernel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.demo.narrator import Narrator
from tests.demo.story import tell


@pytest.mark.kernel(timeout_seconds=300)
def test_the_story_of_the_demo_is_true(tmp_path: Path) -> None:
    """Each scene checks what it shows, and raises where that is not so."""
    tell(Narrator(sys.stdout, is_coloured=False), tmp_path)
