"""The checker process as the agent sees it: probes go in, reports come out, and it is kept alive.

Nothing is ever concluded from its silence: it is only started again.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, Popen

import gitvs
from gitvs.adapters.process.privileges import clear_ambient_capabilities
from gitvs.core.health.frames import FrameReader, framed
from gitvs.core.health.messages import (
    BadMessage,
    Heartbeat,
    ProbeSet,
    Report,
    decode_news,
    encode_probe_set,
)

log = logging.getLogger(__name__)

MAX_SILENCE_SECONDS = 15.0
_FIRST_DELAY_SECONDS = 1.0
_MAX_DELAY_SECONDS = 60.0
_STABLE_SECONDS = 60.0
"""One that ran for so long is started again without a longer delay."""

_MAX_WAITING_REPORTS = 1000
_READ_BYTES = 1 << 20
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from gitvs.health.process import main;"
    " main(int(sys.argv[2]))"
)


class CheckerProcess:
    """Runs while there are probes. Its methods never wait; any thread may call them."""

    def __init__(self, on_news: Callable[[], None]) -> None:
        """Prepare; `on_news` is called in another thread whenever `take` has something."""
        self.restarts = 0
        """How often it was started again."""
        self.heartbeat = Heartbeat()
        self._on_news = on_news
        self._changed = threading.Condition()
        self._probe_set: ProbeSet | None = None
        self._stopping = threading.Event()
        self._reports: list[Report | None] = []
        self._heard_monotonic = float("-inf")
        self._thread: threading.Thread | None = None
        self._sender: threading.Thread | None = None
        self._connection: socket.socket | None = None
        self._process: Popen[bytes] | None = None
        self._sent: tuple[socket.socket | None, ProbeSet | None] = None, None
        """The set of probes that was sent last, and to which process."""

    def send(self, probe_set: ProbeSet) -> None:
        """Have these probes run from now on; without any, no process runs."""
        with self._changed:
            if not self._is_wanted():
                self._heard_monotonic = time.monotonic()  # from now on it can be silent
            self._probe_set = probe_set
            if not probe_set.probes:
                self._hang_up()
            self._changed.notify_all()
            if self._thread is None and probe_set.probes:
                self._thread = threading.Thread(target=self._keep_running, name="checker")
                self._thread.daemon = True
                self._thread.start()
                self._sender = threading.Thread(target=self._keep_sending, name="checker probes")
                self._sender.daemon = True
                self._sender.start()

    def take(self) -> list[Report | None]:
        """Return the new reports in their order; None stands for a new process."""
        with self._changed:
            reports, self._reports = self._reports, []
            return reports

    def silence_seconds(self) -> float | None:
        """Return how long nothing was heard of it; None if no process has to run."""
        with self._changed:
            if not self._is_wanted():
                return None
            return time.monotonic() - self._heard_monotonic

    @property
    def pid(self) -> int | None:
        """The id of the process; None if none runs."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """End the process, and wait for the threads."""
        with self._changed:
            self._stopping.set()
            self._hang_up()
            self._changed.notify_all()
        for thread in (self._thread, self._sender):
            if thread is not None:
                thread.join()

    def _hang_up(self) -> None:
        """Have the process end, if one runs."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    # In the thread that reads

    def _is_wanted(self) -> bool:
        return self._probe_set is not None and bool(self._probe_set.probes)

    def _keep_running(self) -> None:
        delay_seconds = _FIRST_DELAY_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping.is_set() or self._is_wanted())
            if self._stopping.is_set():
                return
            started = time.monotonic()
            try:
                self._run()
            except (OSError, BadMessage) as error:
                log.error("checker failed reason=%s", error)
            if self._stopping.is_set():
                return
            if not self._is_wanted():
                continue
            if time.monotonic() - started > _STABLE_SECONDS:
                delay_seconds = _FIRST_DELAY_SECONDS
            log.error("checker ended, started again in_seconds=%.0f", delay_seconds)
            with self._changed:
                self._changed.wait_for(self._stopping.is_set, delay_seconds)
                self.restarts += 1
            delay_seconds = min(2 * delay_seconds, _MAX_DELAY_SECONDS)

    def _run(self) -> None:
        """Start a process, and read what it says until it ends or is silent for too long.

        Raises:
            OSError: it could not be started.
            BadMessage: what it said cannot be understood.
        """
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                process = _start(theirs)
            try:
                with self._changed:
                    self._reports.append(None)
                    self._connection, self._process = ours, process
                    self._changed.notify_all()
                    is_wanted = self._is_wanted()
                if is_wanted:
                    self._read_all(ours)
            finally:
                with self._changed:
                    self._connection = self._process = None
                    self.heartbeat = Heartbeat()
                process.kill()
                process.wait()

    def _read_all(self, connection: socket.socket) -> None:
        frames = FrameReader()
        connection.settimeout(MAX_SILENCE_SECONDS)
        while not self._stopping.is_set():
            try:
                data = connection.recv(_READ_BYTES)
            except TimeoutError:
                log.error("checker silent seconds=%.0f", MAX_SILENCE_SECONDS)
                return
            if not data:
                return
            for message in frames.feed(data):
                self._take(decode_news(message))

    def _take(self, news: Report | Heartbeat) -> None:
        with self._changed:
            self._heard_monotonic = time.monotonic()
            if isinstance(news, Heartbeat):
                is_news = news.stale != self.heartbeat.stale
                self.heartbeat = news
            else:
                is_news = True
                self._reports.append(news)
                if len(self._reports) > _MAX_WAITING_REPORTS:  # the worker is long busy
                    self._reports = _merged(self._reports)
        if is_news:
            self._on_news()

    # In the thread that sends

    def _keep_sending(self) -> None:
        """Send each newest set of probes to each new process."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping.is_set() or self._has_to_send())
                connection, probe_set = self._sent = self._connection, self._probe_set
            if self._stopping.is_set() or connection is None or probe_set is None:
                return
            with suppress(OSError):  # it has ended; the next one is sent everything
                connection.sendall(framed(encode_probe_set(probe_set)))

    def _has_to_send(self) -> bool:
        if self._connection is None or self._probe_set is None:
            return False
        connection, probe_set = self._sent
        return connection is not self._connection or probe_set is not self._probe_set


def _start(connection: socket.socket) -> Popen[bytes]:
    """Start a process without capabilities, and with nothing of our environment.

    Raises:
        OSError: it could not be started.
    """
    clear_ambient_capabilities()
    root = Path(gitvs.__file__).parent.parent
    return Popen(
        [sys.executable, "-I", "-c", _PROGRAM, str(root), str(connection.fileno())],
        cwd="/",
        env={"PATH": os.defpath, "LANG": "C.UTF-8"},
        stdin=DEVNULL,
        stdout=DEVNULL,
        pass_fds=[connection.fileno()],
        start_new_session=True,
    )


def _merged(reports: list[Report | None]) -> list[Report | None]:
    """Return reports as few: of each run the newest, after the last new process."""
    last_start = max((i for i, report in enumerate(reports) if report is None), default=-1)
    newest = [report for report in reports[last_start + 1 :] if report is not None]
    runs = {identity: run for report in newest for identity, run in report.runs.items()}
    merged: list[Report | None] = [Report(newest[-1].generation, runs)] if newest else []
    return [None, *merged] if last_start >= 0 else merged
