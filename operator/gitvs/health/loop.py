"""Sockets and timers of one thread: runs checks until they wait, and wakes them."""

from __future__ import annotations

import heapq
import select
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from gitvs.health.checks.results import Check, Result, result_of_error

_MAX_WAIT_SECONDS = 1.0


class _Running:
    """A check under way: what is called with its result, and when its time is over."""

    __slots__ = ("check", "deadline", "descriptor", "done", "is_for_writing", "timeout_seconds")

    def __init__(
        self, check: Check, timeout_seconds: float, done: Callable[[Result], None], now: float
    ) -> None:
        self.check = check
        self.timeout_seconds = timeout_seconds
        self.deadline = now + timeout_seconds
        self.done = done
        self.descriptor = -1
        self.is_for_writing = False


class Loop:
    """All times are seconds of CLOCK_MONOTONIC."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = clock()
        self.worst_lateness_seconds = 0.0
        """The worst delay of a timer since it was last set to 0."""
        self._clock = clock
        self._epoll = select.epoll()
        self._running: dict[int, _Running] = {}
        self._readers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    @property
    def in_flight(self) -> int:
        """How many checks are under way."""
        return len(self._running)

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call something once, at a moment."""
        heapq.heappush(self._timers, (when, next(self._numbers), callback))

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call something whenever a descriptor can be read, or its other end is closed."""
        self._readers[descriptor] = callback
        self._epoll.register(descriptor, select.EPOLLIN)

    def start(self, check: Check, timeout_seconds: float, done: Callable[[Result], None]) -> None:
        """Run a check, and call `done` with its result; it may have it at once."""
        running = _Running(check, timeout_seconds, done, self.now)
        self._advance(running, None)
        if running.descriptor >= 0:
            self.call_at(running.deadline, lambda: self._end(running))

    def run_once(self) -> None:
        """Wait for the next event or timer, and handle all that are due."""
        wait_seconds = _MAX_WAIT_SECONDS
        if self._timers:
            wait_seconds = min(wait_seconds, max(0.0, self._timers[0][0] - self._clock()))
        events = self._wait(wait_seconds)
        self.now = self._clock()
        # What has happened comes first: a check that was answered in time has not timed out.
        for descriptor, _ in events:
            if (running := self._running.get(descriptor)) is not None:
                self._advance(running, False)
            elif (reader := self._readers.get(descriptor)) is not None:
                reader()
        while self._timers and self._timers[0][0] <= self.now:
            when, _, callback = heapq.heappop(self._timers)
            self.worst_lateness_seconds = max(self.worst_lateness_seconds, self.now - when)
            callback()

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        """Return what can be read or written, after so many seconds at most."""
        return self._epoll.poll(seconds)

    def _end(self, running: _Running) -> None:
        """End a check whose time is over."""
        if running.descriptor < 0:
            return
        lateness_seconds = self.now - running.deadline
        if lateness_seconds > running.timeout_seconds / 2:
            self._forget(running)
            running.check.close()
            running.done(Result(text=f"looked {lateness_seconds:.1f} s too late", is_void=True))
        else:
            self._advance(running, True)

    def _advance(self, running: _Running, is_over: bool | None) -> None:
        """Run a check until it waits again or ends; None starts it."""
        try:
            wait = next(running.check) if is_over is None else running.check.send(is_over)
        except StopIteration as end:
            self._forget(running)
            running.done(end.value)
            return
        # It reads what strangers answer: whatever they think of must not end the process.
        except Exception as error:  # noqa: BLE001
            self._forget(running)
            running.done(Result(text=f"gitvs met a bug: {error!r}", is_void=True))
            return
        descriptor = wait.socket.fileno()
        if descriptor == running.descriptor and wait.is_for_writing is running.is_for_writing:
            return
        event = select.EPOLLOUT if wait.is_for_writing else select.EPOLLIN
        if descriptor == running.descriptor:
            self._epoll.modify(descriptor, event)
        else:
            try:
                self._epoll.register(descriptor, event)
            except OSError as error:  # no memory, or fs.epoll.max_user_watches
                running.check.close()
                running.done(result_of_error(error.errno or 0))
                return
            running.descriptor = descriptor
            self._running[descriptor] = running
        running.is_for_writing = wait.is_for_writing

    def _forget(self, running: _Running) -> None:
        """Stop waiting; a closed socket is gone from epoll by itself."""
        if running.descriptor >= 0:
            self._running.pop(running.descriptor, None)
            with suppress(OSError, ValueError):
                self._epoll.unregister(running.descriptor)
            running.descriptor = -1
