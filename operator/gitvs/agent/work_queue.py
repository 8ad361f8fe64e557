"""What the agent's worker has to do: triggers, which are merged, and jobs, which are not.

Filled from any thread and from signal handlers; emptied by the worker alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import StrEnum
from typing import Any

from gitvs.adapters.linux.kernel_events import KernelEvent


class Trigger(StrEnum):
    """What asks for a cycle, besides operators and `KernelEvent`; status and log show it."""

    START = "start"
    RELOAD = "reload"
    SYNC = "sync"
    """An operator's request; other requests wait for the same cycle."""
    NEW_COMMIT = "new commit"
    REMOTE = "remote"
    """The source answers for the first time, answers again, or no longer answers."""
    FOLDER_CHANGED = "folder changed"
    JUDGED = "judged"
    """The commit to follow is read and checked."""
    DRIFT_TIMER = "drift timer"
    DRAIN_DUE = "drain due"
    OPERATION_EXPIRED = "operation expired"
    HEALTH = "health"
    """Health checks have results, or say something else by now; no commit is taken up."""
    REPAIR_DUE = "repair"
    """Something that could not be repaired is tried again."""
    RETRY = "retry"
    """The previous cycle failed."""
    EVENTS_LOST = "events lost"
    """The watch of the kernel was restarted: changes may have been missed."""


class WorkQueue:
    """Triggers by name, each with the time when it is due, and jobs in their order."""

    def __init__(self) -> None:
        # Over an RLock, because a signal handler may interrupt the thread that holds it.
        self._changed = threading.Condition()
        self._due_monotonic: dict[str, float] = {}
        self._jobs: list[Callable[[], None]] = []

    def add_trigger(self, trigger: Trigger | KernelEvent, delay_seconds: float = 0.0) -> None:
        """Ask for a cycle. The same trigger twice counts once, due at the earlier time."""
        due_monotonic = time.monotonic() + delay_seconds
        with self._changed:
            self._due_monotonic[trigger] = min(
                due_monotonic, self._due_monotonic.get(trigger, due_monotonic)
            )
            self._changed.notify_all()

    def add_job(self, job: Callable[[], None]) -> None:
        """Have the worker run a job; an exception in it ends the worker."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def submit(self, job: Callable[[], Any]) -> Future[Any]:
        """Have the worker run a job; the future gets its result."""
        future: Future[Any] = Future()
        self.add_job(lambda: run_job(job, future))
        return future

    def wake(self) -> None:
        """Make `wait_for_work` return, with nothing to do."""
        with self._changed:
            self._due_monotonic.setdefault("", 0.0)
            self._changed.notify_all()

    def wait_for_work(
        self, timeout_seconds: float
    ) -> tuple[frozenset[str], list[Callable[[], None]]]:
        """Wait for work, and remove it from the queue: the triggers that are due, and all jobs."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while not self._jobs:
                now = time.monotonic()
                next_monotonic = min(list(self._due_monotonic.values()), default=deadline)
                if next_monotonic <= now or now >= deadline:
                    break
                self._changed.wait(min(next_monotonic, deadline) - now)
            now = time.monotonic()
            due_triggers = frozenset(
                t for t, due_monotonic in list(self._due_monotonic.items()) if due_monotonic <= now
            )
            for trigger in due_triggers:
                del self._due_monotonic[trigger]
            jobs, self._jobs = self._jobs, []
            return due_triggers - {""}, jobs


def run_job(job: Callable[[], Any], future: Future[Any]) -> None:
    """Run a job; the future gets its result, or the exception that it raised."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job())
    except BaseException as error:  # noqa: BLE001  # the future reports it
        future.set_exception(error)
