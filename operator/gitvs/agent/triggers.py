"""What starts a cycle: timers, the fetcher, a changed folder, and kernel events.

Everything here only adds a trigger to the work queue or asks for a fetch; `daemon` runs the
cycle.
"""

from __future__ import annotations

import logging
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from gitvs.adapters.files.directory_watch import DirectoryWatch
from gitvs.adapters.linux.kernel_events import KernelEvents
from gitvs.agent.fetcher import Fetcher
from gitvs.agent.work_queue import Trigger, WorkQueue
from gitvs.core.errors import GitvsError
from gitvs.core.settings import RemoteSettings, Settings

log = logging.getLogger(__name__)

EVENT_DELAY_SECONDS = 0.2
"""How long kernel events are collected: a thousand of them make one cycle."""

MAINTENANCE_SECONDS = 24 * 3600.0
MIN_CLOCK_STEP_SECONDS = 2.0
_JITTER_FACTOR = 0.1

MAX_POLL_DELAY_SECONDS = 300.0
_MAX_DOUBLINGS = 30


def _make_scheduler() -> BackgroundScheduler:
    return BackgroundScheduler(
        timezone=UTC,
        executors={"default": DebugExecutor()},  # jobs only add triggers: no thread pool needed
        job_defaults={"coalesce": True, "misfire_grace_time": None},
    )


class Triggers:
    """The timers and watchers of one agent, for one version of its settings."""

    def __init__(
        self,
        settings: Settings,
        fetcher: Fetcher | None,
        work_queue: WorkQueue,
    ) -> None:
        """Prepare; `start` starts everything. `fetcher` is None for a folder."""
        self.fetcher = fetcher
        self._settings = settings
        self._work_queue = work_queue
        self._kernel_events: KernelEvents | None = None
        self._folder_watch: DirectoryWatch | None = None
        self._clock_offset_seconds = _wall_clock_offset_seconds()
        self._failures = 0
        self._director = settings.director or socket.gethostname()
        self._scheduler = _make_scheduler()
        self._unreported: set[str] = set()
        """What was alive when last checked, so its end has not been reported yet."""

    def start(self, accepted_head: str | None) -> None:
        """Start everything. `accepted_head` is the newest accepted commit.

        Raises:
            SourceError: the folder of manifests cannot be watched.
        """
        if self.fetcher is not None:
            self.fetcher.accepted_head = accepted_head
            self.fetcher.start()
        elif not isinstance(self._settings.source, RemoteSettings):
            self._folder_watch = self._make_folder_watch(self._settings.source)
        self._scheduler.start()
        self._schedule_timers()

    def stop(self) -> None:
        """Stop everything."""
        self._scheduler.shutdown(wait=False)
        for watcher in (self.fetcher, self._folder_watch, self._kernel_events):
            if watcher is not None:
                watcher.stop()
        self._kernel_events = None

    def watch_interface(self, interface: str) -> None:
        """Watch the dummy interface for changes; its name may change with a commit."""
        if self._kernel_events is not None:
            if self._kernel_events.interfaces == {interface}:
                return
            self._kernel_events.stop()
            self._kernel_events = None
        try:
            self._kernel_events = KernelEvents(
                {interface}, lambda what: self._work_queue.add_trigger(what, EVENT_DELAY_SECONDS)
            )
            self._kernel_events.start()
        except GitvsError as error:
            log.warning("not watching the kernel reason=%s", error)

    def is_folder_at_rest(self) -> bool:
        """Whether nobody is writing to the folder of manifests now, as far as is known."""
        return self._folder_watch is None or self._folder_watch.is_quiet()

    @property
    def folder_problem(self) -> str:
        """Why the folder of manifests is not read now; empty if it is."""
        return "" if self._folder_watch is None else self._folder_watch.problem()

    def announce_push(self) -> None:
        """Have a push fetched that somebody has announced. Any thread may call it."""
        if self.fetcher is not None:
            self.fetcher.announce_push()

    def schedule_poll(self, failures: int) -> datetime | None:
        """Schedule the next fetch, later after each failure; return when, or None for a folder."""
        source_settings = self._settings.source
        if self.fetcher is None or not isinstance(source_settings, RemoteSettings):
            return None
        self._failures = failures
        interval_seconds, now = source_settings.poll_seconds, datetime.now(UTC)
        delay = (
            retry_poll_seconds(interval_seconds, failures, random.random)
            if failures > 0
            else next_poll_seconds(interval_seconds, self._director, now.timestamp())
        )
        poll_at = now + timedelta(seconds=delay)
        self._scheduler.add_job(
            self.fetcher.request_fetch, "date", run_date=poll_at, id="poll", replace_existing=True
        )
        return poll_at

    def check(self) -> None:
        """Follow a clock that was set, and start what has ended by itself again.

        Called by the worker every few seconds. Otherwise nobody would notice a dead watcher: passes
        continue, but later, or without new commits.
        """
        self._check_clock()
        for name, is_alive, restart in (
            ("timers", self._are_timers_alive, self._restart_timers),
            ("fetch thread", self._is_fetcher_alive, self._restart_fetcher),
            ("watch of the folder", self._is_folder_watched, self._restart_folder_watch),
            ("watch of the kernel", self._is_kernel_watched, self._restart_kernel_events),
        ):
            if is_alive():
                self._unreported.add(name)
                continue
            if name in self._unreported:  # once, though a missing folder is tried again and again
                self._unreported.remove(name)
                log.error("%s ended unexpectedly, started again", name)
            with suppress(GitvsError):
                restart()

    def _is_fetcher_alive(self) -> bool:
        return self.fetcher is None or self.fetcher.is_alive()

    def _restart_fetcher(self) -> None:
        if self.fetcher is not None:
            self.fetcher.start()

    def _is_folder_watched(self) -> bool:
        return self._folder_watch is None or self._folder_watch.is_alive()

    def _restart_folder_watch(self) -> None:
        if self._folder_watch is not None and not isinstance(self._settings.source, RemoteSettings):
            restarted = self._make_folder_watch(self._settings.source)
            self._folder_watch.stop()
            self._folder_watch = restarted

    def _is_kernel_watched(self) -> bool:
        return self._kernel_events is None or self._kernel_events.is_alive()

    def _restart_kernel_events(self) -> None:
        if self._kernel_events is not None:
            (interface,) = self._kernel_events.interfaces
            self._kernel_events.stop()
            self._kernel_events = None
            self.watch_interface(interface)
            self._work_queue.add_trigger(Trigger.EVENTS_LOST)

    def _are_timers_alive(self) -> bool:
        thread = self._scheduler._thread  # the library has no other way to ask
        return thread is not None and thread.is_alive()

    def _restart_timers(self) -> None:
        self._scheduler.shutdown(wait=False)
        self._scheduler = _make_scheduler()
        self._scheduler.start()
        self._schedule_timers()
        self.schedule_poll(self._failures)

    def _make_folder_watch(self, folder: Path) -> DirectoryWatch:
        return DirectoryWatch(folder, lambda: self._work_queue.add_trigger(Trigger.FOLDER_CHANGED))

    def _check_clock(self) -> None:
        """Schedule the timers again if the wall clock was set, since the scheduler uses it."""
        offset_seconds = _wall_clock_offset_seconds()
        step_seconds, self._clock_offset_seconds = (
            offset_seconds - self._clock_offset_seconds,
            offset_seconds,
        )
        if abs(step_seconds) > MIN_CLOCK_STEP_SECONDS:
            log.warning("clock was set by_seconds=%.0f", step_seconds)
            self._schedule_timers()
            self.schedule_poll(self._failures)

    def _schedule_timers(self) -> None:
        drift_seconds = self._settings.drift_seconds
        self._schedule_every(
            drift_seconds, "drift", lambda: self._work_queue.add_trigger(Trigger.DRIFT_TIMER)
        )
        if self.fetcher is not None:
            self._schedule_every(
                MAINTENANCE_SECONDS, "maintenance", self.fetcher.request_maintenance
            )

    def _schedule_every(self, seconds: float, name: str, job: Callable[[], object]) -> None:
        self._scheduler.add_job(
            job,
            "interval",
            seconds=seconds,
            jitter=seconds * _JITTER_FACTOR,
            id=name,
            replace_existing=True,
        )


def _wall_clock_offset_seconds() -> float:
    return time.time() - time.monotonic()


def next_poll_seconds(interval_seconds: float, director: str, now_timestamp: float) -> float:
    """Return how long to wait with the next poll after a fetch that succeeded.

    Polls of a director are due at fixed moments, an interval apart, and a hash of its name says
    when: directors that started together do not all ask the remote in the same second. A moment
    that comes within a tenth of the interval is left out, because a fetch has just ended.
    """
    digest = sha256(director.encode(errors="surrogateescape")).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    seconds = (share * interval_seconds - now_timestamp) % interval_seconds
    shortest = interval_seconds * _JITTER_FACTOR
    return seconds if seconds >= shortest else seconds + interval_seconds


def retry_poll_seconds(
    interval_seconds: float, failure_count: int, random: Callable[[], float]
) -> float:
    """Return how long to wait with the next poll after this many failures in a row.

    `random` returns numbers from 0 up to 1. The interval doubles with each failure, up to
    MAX_POLL_DELAY_SECONDS or the interval if that is longer, and is a random time in the upper
    half: many directors that lost one remote do not all come back at the same moment.
    """
    ceiling = max(interval_seconds, MAX_POLL_DELAY_SECONDS)
    longest = min(interval_seconds * 2.0 ** min(failure_count, _MAX_DOUBLINGS), ceiling)
    shortest = max(longest / 2, min(interval_seconds, longest * (1 - _JITTER_FACTOR)))
    return shortest + (longest - shortest) * random()
