"""What fails once, or for a while, and is over at the next try: store, kernel, disk, memory."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import replace
from errno import EAGAIN, EMFILE, ENOSPC
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gitvs.adapters.git.manifests import GitManifests
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.errors import KernelUnreadable, StoreError
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.settings import RemoteSettings, Settings
from tests.support.agents import Site, eventually, service, site
from tests.support.faults import WrappedKernel

TEMPORARY = [OSError(EAGAIN, "busy"), OSError(EMFILE, "too many files"), MemoryError()]


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


# Judging


def fail_once(monkeypatch: pytest.MonkeyPatch, failures: list[Exception]) -> None:
    """Let the reading of a commit's files fail, once for each of these failures."""
    real = GitManifests.open_snapshot

    def open_snapshot(manifests: GitManifests) -> Any:
        if failures:
            raise failures.pop()
        return real(manifests)

    monkeypatch.setattr(GitManifests, "open_snapshot", open_snapshot)


@pytest.mark.parametrize("failure", TEMPORARY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("is_in_rendering", [False, True])
def test_a_commit_that_could_not_be_judged_for_a_moment_is_judged_again_by_the_next_cycle(
    here: Site, monkeypatch: pytest.MonkeyPatch, failure: Exception, is_in_rendering: bool
) -> None:
    failures: list[Exception] = []

    def choose(known: Collection[str]) -> str:
        if is_in_rendering and failures:
            raise failures.pop()
        return "lb1"

    here.chooser = choose
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        if not is_in_rendering:
            fail_once(monkeypatch, failures)
        failures.append(failure)
        here.push(service(weight=5))
        assert "was not read" in running.order("sync")["problems"][0]
        running.agent.work_queue.add_trigger("drift timer")
        eventually(lambda: here.weights() == [5, 5])


def test_a_lack_that_lasts_is_judged_once_a_cycle_and_logged_once(
    here: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The name of a temporary file differs each time."""
    numbers, is_full = count(1), threading.Event()

    def choose(known: Collection[str]) -> str:
        if is_full.is_set():
            raise OSError(ENOSPC, "disk full", f"/tmp/{next(numbers)}")
        return "lb1"

    here.chooser = choose
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        is_full.set()
        here.push(service(weight=5))
        for _ in range(3):
            running.order("sync")
        assert next(numbers) <= 1 + 2 * 3 + 1
        is_full.clear()
        assert running.order("sync", retry=True)["problems"] == []
        assert here.weights() == [5, 5]
    assert "Traceback" not in caplog.text


def test_a_retry_judges_again_what_a_bug_kept_from_being_judged(here: Site) -> None:
    bugs: list[Exception] = []

    def choose(known: Collection[str]) -> str:
        if bugs:
            raise bugs.pop()
        return "lb1"

    here.chooser = choose
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        bugs.append(ZeroDivisionError())
        here.push(service(weight=5))
        for _ in range(2):
            assert "met a bug" in running.order("sync")["problems"][0]
        assert running.order("sync", retry=True)["problems"] == []
        assert here.weights() == [5, 5]
