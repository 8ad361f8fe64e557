"""System tests are never skipped in silence: what happens where no guest can boot systemd."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import guest, system_guest
from tests.system.director import director


def test_a_system_test_fails_where_no_guest_can_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "obstacle", lambda: "linux.uml not found")
    with (
        pytest.raises(pytest.fail.Exception, match=r"linux.uml not found.*tests/harness/install"),
        director(tmp_path),
    ):
        pass


def test_a_guest_needs_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_guest, "_SYSTEMD", Path("/nowhere"))
    assert system_guest.obstacle() == "/nowhere not found"
