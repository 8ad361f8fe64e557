"""The checker process: probes in, runs of results out, until the agent closes the socket."""

from __future__ import annotations

import os
import resource
import socket
from collections import Counter, defaultdict
from contextlib import suppress

from gitvs.adapters.process.privileges import give_up_everything
from gitvs.core.health.frames import FrameReader, framed
from gitvs.core.health.messages import (
    BadMessage,
    Heartbeat,
    ProbeSet,
    Report,
    decode_probe_set,
    encode_heartbeat,
    encode_report,
)
from gitvs.core.model.health import ProbeId, Run
from gitvs.health.checks.all_types import check_of
from gitvs.health.checks.results import Result
from gitvs.health.loop import Loop
from gitvs.health.runs import ProbeRuns

MAX_IN_FLIGHT = 4000
MAX_STARTS_PER_SECOND = 64
"""How often checks of one address start; it is a limit of starts, not of those that wait."""

MAX_UNSENT_BYTES = 8 * 1024 * 1024
"""How much waits for an agent that does not read; what is more is reported again later."""

_FLUSH_SECONDS = 0.1
_HEARTBEAT_SECONDS = 1.0
_CROWDED_SECONDS = 0.05
_READ_BYTES = 1 << 20


class Checker:
    """Runs probes, and reports to the agent at the other end of a socket."""

    def __init__(
        self, agent: socket.socket, loop: Loop, max_unsent_bytes: int = MAX_UNSENT_BYTES
    ) -> None:
        agent.setblocking(False)
        self.is_over = False
        self._agent = agent
        self._loop = loop
        self._max_unsent_bytes = max_unsent_bytes
        self._frames = FrameReader()
        self._generation = 0
        self._probes: dict[ProbeId, ProbeRuns] = {}
        self._pending: dict[ProbeId, Run] = {}
        self._is_complete_due = False
        """Whether all present runs have to be reported, because a report was dropped."""
        self._unsent = bytearray()
        self._results: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._next_starts: dict[str, float] = {}
        """The next moment at which a check of an address may start."""
        loop.watch(agent.fileno(), self._read)
        loop.call_at(loop.now, self._flush)
        loop.call_at(loop.now, self._send_heartbeat)

    # Probes

    def _read(self) -> None:
        try:
            data = self._agent.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.is_over = True
            return
        try:
            messages = list(self._frames.feed(data))
            if messages:
                self._take(decode_probe_set(messages[-1]))
        except BadMessage:
            self.is_over = True  # the agent starts a new one

    def _take(self, wanted: ProbeSet) -> None:
        """Run these probes from now on; those that go on keep their runs."""
        self._generation = wanted.generation
        for identity, runs in list(self._probes.items()):
            if identity not in wanted.probes:
                runs.is_gone = True
                del self._probes[identity]
        for identity, probe in wanted.probes.items():
            known = self._probes.get(identity)
            if known is not None:
                known.update(probe)
                continue
            runs = self._probes[identity] = ProbeRuns(probe, self._loop.now)
            self._schedule(identity, runs, runs.first_start(identity, self._loop.now))
        self._is_complete_due = True

    def _schedule(self, identity: ProbeId, runs: ProbeRuns, when: float) -> None:
        self._loop.call_at(when, lambda: self._start(identity, runs))

    def _start(self, identity: ProbeId, runs: ProbeRuns) -> None:
        """Start a check now, or in its turn where too many of one address start."""
        now, address = self._loop.now, str(runs.wanted.probe.address)
        turn = max(self._next_starts.get(address, 0.0), now - 1.0)
        self._next_starts[address] = turn + 1 / MAX_STARTS_PER_SECOND
        if turn > now:
            self._loop.call_at(turn, lambda: self._start_in_turn(identity, runs))
        else:
            self._start_in_turn(identity, runs)

    def _start_in_turn(self, identity: ProbeId, runs: ProbeRuns) -> None:
        if runs.is_gone:
            return
        now, probe = self._loop.now, runs.wanted.probe
        if self._loop.in_flight >= MAX_IN_FLIGHT:
            self._loop.call_at(now + _CROWDED_SECONDS, lambda: self._start_in_turn(identity, runs))
            return
        self._loop.start(
            check_of(probe),
            probe.times.timeout_seconds,
            lambda result: self._end(identity, runs, result, now),
        )

    def _end(self, identity: ProbeId, runs: ProbeRuns, result: Result, started: float) -> None:
        now = self._loop.now
        name = "void" if result.is_void else str(result.failure or "pass")
        kind = runs.wanted.probe.check.kind
        self._results[kind][name] += 1
        self._seconds[kind] += now - started
        if runs.is_gone:
            return
        if runs.take(result, started, now):
            self._pending[identity] = runs.run
        self._schedule(identity, runs, runs.next_start(started, now))

    # Reports

    def _flush(self) -> None:
        self._loop.call_at(self._loop.now + _FLUSH_SECONDS, self._flush)
        if self._is_complete_due and not self._unsent:
            runs = {i: r.run for i, r in self._probes.items() if r.length}
            self._is_complete_due = False
            self._pending.clear()
            self._send(encode_report(Report(self._generation, runs, is_complete=True)))
        elif self._pending:
            report = Report(self._generation, self._pending)
            self._pending = {}
            if len(self._unsent) > self._max_unsent_bytes:
                self._is_complete_due = True
            else:
                self._send(encode_report(report))
        self._write()

    def _send_heartbeat(self) -> None:
        self._loop.call_at(self._loop.now + _HEARTBEAT_SECONDS, self._send_heartbeat)
        now = self._loop.now
        heartbeat = Heartbeat(
            len(self._probes),
            self._loop.in_flight,
            self._loop.worst_lateness_seconds,
            self._results,
            self._seconds,
            tuple(i for i, runs in self._probes.items() if runs.is_stale(now)),
        )
        self._loop.worst_lateness_seconds = 0.0
        self._next_starts = {a: t for a, t in self._next_starts.items() if t > now - 1.0}
        if len(self._unsent) <= self._max_unsent_bytes:
            self._send(encode_heartbeat(heartbeat))

    def _send(self, message: bytes) -> None:
        self._unsent += framed(message)
        self._write()

    def _write(self) -> None:
        with suppress(BlockingIOError):
            while self._unsent:
                try:
                    sent = self._agent.send(self._unsent)
                except (BrokenPipeError, ConnectionResetError):
                    self.is_over = True
                    return
                del self._unsent[:sent]


def main(descriptor: int) -> None:
    """Run the checker on the socket of this descriptor, until the other end is closed."""
    give_up_everything()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError):  # the unit of systemd forbids it, and gives enough
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.chdir("/")
    loop = Loop()
    checker = Checker(socket.socket(fileno=descriptor), loop)
    while not checker.is_over:
        loop.run_once()
