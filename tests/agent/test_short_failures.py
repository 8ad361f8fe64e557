"""What fails once, or for a while, and is over at the next try: store, kernel, disk, memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.errors import KernelUnreadable, StoreError
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.settings import RemoteSettings, Settings
from tests.support.agents import Site, eventually, service, site
from tests.support.faults import WrappedKernel


@pytest.fixture(name="here")
def fixture_here(tmp_path: Path) -> Site:
    """A director that fetches only when it is asked to."""
    made = site(tmp_path)
    source = made.settings.source
    assert isinstance(source, RemoteSettings)
    made.settings = replace(made.settings, source=replace(source, poll_seconds=3600))
    return made


class Unreadable(WrappedKernel):
    """A kernel that cannot be read while there is a reason."""

    reason = ""

    def observe(self, scope: Scope) -> Observation:
        if self.reason:
            raise KernelUnreadable(self.reason)
        return self._kernel.observe(scope)


def test_a_sync_that_fails_is_answered_with_the_reasons_of_its_own_pass(here: Site) -> None:
    kernel = Unreadable(here.kernel)
    with here.running(kernel) as running:
        eventually(lambda: here.weights() == [1, 1])
        for reason in ("not now", "nor later"):
            kernel.reason = reason
            assert running.refusal("sync") == reason
            assert reason in str(running.status.last_pass)


# The store


def test_a_store_that_fails_once_at_any_moment_of_a_reload_does_not_end_the_agent(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[int] = []
    """The number of the reading or writing that fails, once the settings are loaded again."""
    left: list[int] = []
    real = SqliteStore._transaction

    def load_settings() -> Settings:
        left[:], wanted[:] = wanted, []
        return here.settings

    def transaction(store: SqliteStore, begin_statement: str) -> Any:
        if left and left[0] == 0:
            left.clear()
            raise StoreError("database: disk I/O error")
        left[:] = [number - 1 for number in left]
        return real(store, begin_statement)

    monkeypatch.setattr(SqliteStore, "_transaction", transaction)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        running.agent._load_settings = load_settings
        for weight in range(2, 8):
            wanted.append(weight - 2)
            running.agent.reload()
            eventually(lambda: not wanted and not left)
            here.push(service(weight=weight))
            running.agent.reload()
            eventually(lambda weight=weight: here.weights() == [weight, weight])  # type: ignore[misc]  # bound now
