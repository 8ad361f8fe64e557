"""What the agent's worker has to do: triggers, which are merged, and jobs, which are not.

Filled from any thread and from signal handlers; emptied by the worker alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Inbox:
    """Triggers by name, each due at a moment, and jobs in their order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # over an RLock: a signal handler may come in between
        self._due_at: dict[str, float] = {}
        self._jobs: list[Callable[[], None]] = []

    def put(self, trigger: str, delay_seconds: float = 0.0) -> None:
        """Ask for a pass. The same trigger twice is one, due when its first is."""
        due_at = time.monotonic() + delay_seconds
        with self._changed:
            self._due_at[trigger] = min(due_at, self._due_at.get(trigger, due_at))
            self._changed.notify_all()

    def post(self, work: Callable[[], None]) -> None:
        """Have the worker do something; what it raises ends the worker."""
        with self._changed:
            self._jobs.append(work)
            self._changed.notify_all()

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Have the worker do something; the future tells what came of it."""
        future: Future[Any] = Future()
        self.post(lambda: _run(work, future))
        return future

    def wake(self) -> None:
        """Have `take` return, with nothing to do."""
        with self._changed:
            self._due_at.setdefault("", 0.0)
            self._changed.notify_all()

    def take(self, patience_seconds: float) -> tuple[frozenset[str], list[Callable[[], None]]]:
        """Wait for something to do, and take it: the triggers that are due, and all jobs."""
        deadline = time.monotonic() + patience_seconds
        with self._changed:
            while not self._jobs:
                now = time.monotonic()
                next_at = min(list(self._due_at.values()), default=deadline)
                if next_at <= now or now >= deadline:
                    break
                self._changed.wait(min(next_at, deadline) - now)
            now = time.monotonic()
            due = frozenset(t for t, due_at in list(self._due_at.items()) if due_at <= now)
            for trigger in due:
                del self._due_at[trigger]
            jobs, self._jobs = self._jobs, []
            return due - {""}, jobs


def _run(work: Callable[[], Any], future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001  # whoever waits is told
        future.set_exception(error)
