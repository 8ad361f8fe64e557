"""What starts cycles: threads, each started again when it has ended, and the delays."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.adapters.git.remote import GitRemote
from gitvs.agent.fetcher import Fetcher, FetchResult
from gitvs.agent.triggers import (
    MAX_POLL_DELAY_SECONDS,
    Triggers,
    next_poll_seconds,
    retry_poll_seconds,
)
from gitvs.agent.work_queue import WorkQueue
from gitvs.core.settings import RemoteSettings, Settings
from tests.support.agents import eventually
from tests.support.git.repositories import Repository

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"  # that is how the threads die
)


@contextmanager
def started(
    source: Path | RemoteSettings, fetcher: Fetcher | None = None, drift_seconds: float = 3600.0
) -> Iterator[tuple[Triggers, WorkQueue]]:
    queue = WorkQueue()
    triggers = Triggers(Settings(source, drift_seconds=drift_seconds), fetcher, queue)
    triggers.start(None)
    try:
        triggers.check()
        yield triggers, queue
    finally:
        triggers.stop()


def kill(thread: threading.Thread | None, wake: Callable[[], object]) -> None:
    """End a thread as an unexpected error does; `wake` makes it run on until then."""
    assert thread is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
    )
    while thread.is_alive():
        wake()
        thread.join(0.05)


def trigger_of(queue: WorkQueue, wanted: str) -> bool:
    """Wait for a trigger."""
    while True:
        triggers, _ = queue.wait_for_work(20)
        assert triggers, f"{wanted} never came"
        if wanted in triggers:
            return True


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


def test_timers_that_died_are_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with started(tmp_path, drift_seconds=0.2) as (triggers, queue):
        kill(triggers._scheduler._thread, triggers._scheduler.wakeup)
        queue.wait_for_work(0)
        triggers.check()
        assert trigger_of(queue, "drift timer")
        triggers.check()
    assert errors(caplog) == ["timers ended unexpectedly, started again"]


def test_a_fetch_thread_that_died_is_started_again_and_serves_what_was_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = RemoteSettings(str(tmp_path / "remote"), allow_local=True)
    Repository(tmp_path / "remote").commit({"web.yaml": ""})
    reported: Queue[FetchResult] = Queue()
    fetcher = Fetcher(GitRemote(tmp_path / "state", settings), reported.put)
    with started(settings, fetcher) as (triggers, _):
        numbers = []
        kill(fetcher._thread, lambda: numbers.append(fetcher.request_fetch()))
        triggers.check()
        while reported.get(timeout=120).request_number < numbers[-1]:
            pass
        triggers.check()
    assert errors(caplog) == ["fetch thread ended unexpectedly, started again"]


def test_a_watch_of_the_kernel_that_ended_is_started_again_and_all_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with started(tmp_path) as (triggers, queue):
        triggers.watch_interface("gitvs0")
        ended = triggers._kernel_events
        assert ended is not None
        os.write(ended._stop_write_descriptor, b"x")
        eventually(lambda: not ended.is_alive())
        triggers.check()
        assert trigger_of(queue, "events lost")
        again = triggers._kernel_events
        assert again is not None
        assert again is not ended
        assert again.is_alive()
        assert again.interfaces == {"gitvs0"}
    assert errors(caplog) == ["watch of the kernel ended unexpectedly, started again"]


def test_a_folder_that_another_replaced_is_watched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with started(folder) as (triggers, queue):
        assert trigger_of(queue, "folder changed")
        folder.rename(tmp_path / "former")
        folder.mkdir()
        triggers.check()
        assert trigger_of(queue, "folder changed"), "what changed meanwhile was not seen"
        (folder / "web.yaml").write_text("a: 1")
        assert trigger_of(queue, "folder changed")
    assert errors(caplog) == ["watch of the folder ended unexpectedly, started again"]


def test_a_folder_that_was_away_is_watched_again_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with started(folder) as (triggers, queue):
        assert trigger_of(queue, "folder changed")
        folder.rmdir()
        for _ in range(3):
            triggers.check()
        folder.mkdir()
        triggers.check()
        assert trigger_of(queue, "folder changed")
        (folder / "web.yaml").write_text("a: 1")
        assert trigger_of(queue, "folder changed")
        triggers.check()
    assert errors(caplog) == ["watch of the folder ended unexpectedly, started again"]


def test_threads_of_a_folder_s_watch_that_died_are_started_again(tmp_path: Path) -> None:
    with started(tmp_path) as (triggers, queue):
        assert trigger_of(queue, "folder changed")
        watch = triggers._folder_watch
        assert watch is not None
        kill(watch._thread, lambda: None)
        triggers.check()
        assert triggers._folder_watch is not watch
        assert trigger_of(queue, "folder changed")


def test_what_lives_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with started(tmp_path) as (triggers, _):
        triggers.watch_interface("gitvs0")
        before = [triggers._folder_watch, triggers._kernel_events, triggers._scheduler]
        for _ in range(3):
            triggers.check()
        assert [triggers._folder_watch, triggers._kernel_events, triggers._scheduler] == before
    assert errors(caplog) == []


INTERVALS = st.floats(1, 7 * 24 * 3600)
FAILURES = st.integers(1, 10**9)
RANDOMS = st.floats(0, 1, exclude_max=True)
NAMES = st.text(min_size=1)
TIMESTAMPS = st.floats(0, 4e9)


@given(INTERVALS, NAMES, TIMESTAMPS)
def test_polls_are_an_interval_apart_but_for_one_that_comes_too_soon(
    interval: float, director: str, now: float
) -> None:
    delay = next_poll_seconds(interval, director, now)
    assert interval * 0.1 * (1 - 1e-9) <= delay <= interval * 1.1 * (1 + 1e-9)
    poll_at = now + delay
    after_it = next_poll_seconds(interval, director, poll_at + interval / 100)
    assert after_it == pytest.approx(interval * 0.99, abs=1e-5)


@given(INTERVALS, NAMES, TIMESTAMPS, st.floats(0, 0.89))
def test_a_director_polls_at_the_same_moments_whenever_it_fetched(
    interval: float, director: str, now: float, share: float
) -> None:
    """A fetch for a push or an operator does not move the polls."""
    first = now + next_poll_seconds(interval, director, now)
    asked_at = first - interval * (1 - share) if share else first - interval * 0.99
    again = asked_at + next_poll_seconds(interval, director, asked_at)
    assert again == pytest.approx(first, abs=1e-4)


def test_directors_that_started_together_do_not_poll_together() -> None:
    seconds = [next_poll_seconds(30, f"lb{n}", 1_800_000_000.0) % 30 for n in range(100)]
    in_one_second = max(sum(int(s) == second for s in seconds) for second in range(30))
    assert in_one_second <= 12
    assert len({int(s) for s in seconds}) >= 25


def test_the_moment_of_a_director_is_its_own_on_every_host_and_version() -> None:
    assert next_poll_seconds(30, "lb1", 0.0) == pytest.approx(17.409014)


def range_of(interval: float, failures: int) -> tuple[float, float]:
    """The shortest and the longest delay."""
    shortest = retry_poll_seconds(interval, failures, lambda: 0.0)
    return shortest, retry_poll_seconds(interval, failures, lambda: 1.0)


def test_it_doubles_with_every_failure_and_stops_at_five_minutes() -> None:
    ranges = [range_of(30, failures) for failures in (1, 2, 3, 4, 5, 1000)]
    expected = [(30, 60), (60, 120), (120, 240), (150, 300), (150, 300), (150, 300)]
    assert ranges == [pytest.approx(one) for one in expected]


def test_an_interval_over_five_minutes_is_its_own_limit_and_still_varies() -> None:
    assert range_of(3600, 5) == pytest.approx((3240, 3600))


@given(INTERVALS, FAILURES, RANDOMS)
def test_it_is_never_much_sooner_than_the_interval_nor_over_the_limit(
    interval: float, failures: int, random: float
) -> None:
    delay = retry_poll_seconds(interval, failures, lambda: random)
    assert delay >= interval * 0.9 * (1 - 1e-9)
    assert delay <= max(interval, MAX_POLL_DELAY_SECONDS) * (1 + 1e-9)


@given(INTERVALS, st.integers(1, 1000), RANDOMS)
def test_one_more_failure_never_shortens_it(interval: float, failures: int, random: float) -> None:
    now = retry_poll_seconds(interval, failures, lambda: random)
    assert retry_poll_seconds(interval, failures + 1, lambda: random) >= now * (1 - 1e-9)
