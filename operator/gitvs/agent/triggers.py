"""What sets a turn off: timers, the fetch job, a changed folder, and the kernel's own events.

Everything here ends as a word in the inbox; what is done about it is the business of `agent`.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from gitvs.adapters.files.directory_watch import DirectoryWatch
from gitvs.adapters.linux.kernel_events import KernelEvents
from gitvs.agent.backoff import delay_seconds
from gitvs.agent.fetcher import Fetcher
from gitvs.agent.work_queue import Inbox
from gitvs.core.errors import GitvsError
from gitvs.core.settings import RemoteSettings, Settings

log = logging.getLogger(__name__)

EVENT_DELAY_SECONDS = 0.2
"""How long events of the kernel are collected: a thousand of them make one turn."""

MAINTENANCE_SECONDS = 24 * 3600.0
CLOCK_STEP_SECONDS = 2.0
_JITTER = 0.1


class Triggers:
    """The timers and watchers of one agent, for one reading of its settings."""

    def __init__(
        self,
        settings: Settings,
        fetcher: Fetcher | None,
        inbox: Inbox,
    ) -> None:
        """Get ready; `start` begins. There is no fetcher for a folder."""
        self.fetcher = fetcher
        self._settings = settings
        self._inbox = inbox
        self._events: KernelEvents | None = None
        self._watch: DirectoryWatch | None = None
        self._clock_offset = _wall_clock_offset()
        self._failures = 0
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": DebugExecutor()},  # jobs only leave a word: no pool of threads
            job_defaults={"coalesce": True, "misfire_grace_time": None},
        )

    def start(self, accepted: str | None) -> None:
        """Begin. `accepted` is the newest accepted commit.

        Raises:
            SourceError: the folder of manifests cannot be watched.
        """
        if self.fetcher is not None:
            self.fetcher.accepted = accepted
            self.fetcher.start()
        elif not isinstance(self._settings.source, RemoteSettings):
            folder = self._settings.source
            self._watch = DirectoryWatch(folder, lambda: self._inbox.put("folder changed"))
        self._scheduler.start()
        self._schedule_timers()

    def stop(self) -> None:
        """End all of it."""
        self._scheduler.shutdown(wait=False)
        for running in (self.fetcher, self._watch, self._events):
            if running is not None:
                running.stop()
        self._events = None

    def watch_interface(self, interface: str) -> None:
        """Listen to what happens to the dummy interface; its name may change with a commit."""
        if self._events is not None:
            if self._events.interfaces == {interface}:
                return
            self._events.stop()
            self._events = None
        try:
            self._events = KernelEvents(
                {interface}, lambda what: self._inbox.put(what, EVENT_DELAY_SECONDS)
            )
            self._events.start()
        except GitvsError as error:
            log.warning("not watching the kernel reason=%s", error)

    def is_at_rest(self) -> bool:
        """Whether nobody is writing into the folder of manifests now, as far as is known."""
        return self._watch is None or self._watch.is_at_rest()

    def poll_later(self, failures: int) -> datetime | None:
        """Have the remote asked again, later the more often it failed; return when."""
        source = self._settings.source
        if self.fetcher is None or not isinstance(source, RemoteSettings):
            return None
        self._failures = failures
        delay = delay_seconds(source.poll_seconds, failures, random.random)
        at = datetime.now(UTC) + timedelta(seconds=delay)
        self._scheduler.add_job(
            self.fetcher.ask, "date", run_date=at, id="poll", replace_existing=True
        )
        return at

    def mind_clock(self) -> None:
        """Notice that the wall clock was set, since the scheduler's times are on it."""
        offset = _wall_clock_offset()
        step, self._clock_offset = offset - self._clock_offset, offset
        if abs(step) > CLOCK_STEP_SECONDS:
            log.warning("clock was set by_seconds=%.0f", step)
            self._schedule_timers()
            self.poll_later(self._failures)

    def _schedule_timers(self) -> None:
        drift = self._settings.drift_seconds
        self._every(drift, "drift", lambda: self._inbox.put("drift timer"))
        if self.fetcher is not None:
            self._every(MAINTENANCE_SECONDS, "maintenance", self.fetcher.ask_for_maintenance)

    def _every(self, seconds: float, name: str, work: Callable[[], object]) -> None:
        self._scheduler.add_job(
            work,
            "interval",
            seconds=seconds,
            jitter=seconds * _JITTER,
            id=name,
            replace_existing=True,
        )


def _wall_clock_offset() -> float:
    return time.time() - time.monotonic()
