"""The process that checks, really started: what it may do, and what becomes of it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest

from gitvs.adapters.process.checker_process import CheckerProcess
from gitvs.core.health.frames import FrameReader, framed
from gitvs.core.health.messages import (
    MAX_FRAME_BYTES,
    BadMessage,
    ProbeSet,
    Report,
    WantedProbe,
    decode_news,
    encode_probe_set,
    probe_id,
)
from gitvs.core.model.health import CheckTimes, Failure, Probe, Run, TcpCheck
from gitvs.health.loop import Loop
from gitvs.health.process import Checker
from tests.support.agents import eventually
from tests.support.health.loops import QuickLoop
from tests.support.health.servers import black_hole, listening, refusing, saying, silent

TIMES = CheckTimes(0.5, 0.4, 0.5)
ALL = frozenset(range(1, 300))


def probe(port: int, check: TcpCheck | None = None) -> Probe:
    return Probe(check or TcpCheck(), ip_address("127.0.0.1"), port, TIMES)


def probe_set(*probes: Probe, generation: int = 1, lengths: frozenset[int] = ALL) -> ProbeSet:
    """Return probes of which runs of these lengths are reported."""
    wanted = {probe_id(p): WantedProbe(p, lengths, lengths) for p in probes}
    return ProbeSet(generation, wanted)


class Watched:
    """A checker process, and the newest runs that it has reported."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.starts = 0
        self._lock = threading.Lock()
        self.checker = CheckerProcess(self._take)

    def _take(self) -> None:
        with self._lock:
            for report in self.checker.take():
                if report is None:
                    self.starts += 1
                    self.runs.clear()
                else:
                    self.runs.update(report.runs)

    def run(self, asked: Probe) -> Run:
        return self.runs.get(probe_id(asked), Run())

    def pid(self) -> int:
        eventually(lambda: self.checker.pid is not None)
        assert self.checker.pid is not None
        return self.checker.pid


@contextmanager
def checking(*probes: Probe) -> Iterator[Watched]:
    watched = Watched()
    watched.checker.send(probe_set(*probes))
    try:
        yield watched
    finally:
        watched.checker.stop()


def test_passes_and_failures_are_reported() -> None:
    with listening(saying(b"220 hello")) as port, refusing() as closed:
        good, greeted = probe(port), probe(port, TcpCheck(expect="220"))
        bad = probe(closed)
        with checking(good, greeted, bad) as watched:
            eventually(lambda: min(watched.run(p).length for p in (good, greeted, bad)) >= 2)
            assert watched.run(good).failure is watched.run(greeted).failure is None
            assert watched.run(bad).failure is Failure.REFUSED
            eventually(lambda: watched.checker.heartbeat.probes == 3)


def test_it_has_no_capability_no_environment_and_no_way_to_more() -> None:
    with listening(silent) as port, checking(probe(port)) as watched:
        eventually(lambda: watched.run(probe(port)).length > 0)
        process = Path("/proc", str(watched.pid()))
        facts = dict(
            line.split(":\t", 1)
            for line in (process / "status").read_text().splitlines()
            if ":\t" in line
        )
        for name in ("CapEff", "CapPrm", "CapAmb"):
            assert int(facts[name], 16) == 0
        assert facts["NoNewPrivs"] == "1"
        assert os.readlink(process / "cwd") == "/"
        names = {pair.split(b"=")[0] for pair in (process / "environ").read_bytes().split(b"\0")}
        assert names - {b""} == {b"PATH", b"LANG"}
        assert descriptors(process) <= {"/dev/null", "pipe", "socket", "anon_inode"}


def descriptors(process: Path) -> set[str]:
    """Return what the open descriptors are, but for standard error."""
    links = [os.readlink(each) for each in (process / "fd").iterdir() if each.name != "2"]
    return {link.split(":")[0] for link in links}


def test_it_ends_with_the_agent_and_when_nothing_is_checked() -> None:
    with listening(silent) as port, checking(probe(port)) as watched:
        first = watched.pid()
        watched.checker.send(ProbeSet(2, {}))
        eventually(lambda: not Path("/proc", str(first)).exists())
        assert watched.checker.silence_seconds() is None
        watched.checker.send(probe_set(probe(port), generation=3))
        eventually(lambda: watched.run(probe(port)).length > 0)
        second = watched.pid()
    assert not Path("/proc", str(second)).exists()
    assert watched.checker.restarts == 0


def test_one_that_is_killed_is_started_again_and_counts_from_the_beginning() -> None:
    with refusing() as port, checking(probe(port)) as watched:
        eventually(lambda: watched.run(probe(port)).length >= 3)
        os.kill(watched.pid(), signal.SIGKILL)
        eventually(lambda: watched.starts == 2)
        eventually(lambda: watched.run(probe(port)).length >= 1)
        assert watched.checker.restarts == 1


def test_one_that_stood_still_concludes_nothing_from_it() -> None:
    with black_hole() as port, checking(probe(port)) as watched:
        eventually(lambda: watched.checker.heartbeat.in_flight == 1)
        os.kill(watched.pid(), signal.SIGSTOP)
        voids = watched.checker.heartbeat.results.get("tcp", {}).get("void", 0)
        threading.Event().wait(3 * TIMES.timeout_seconds)
        os.kill(watched.pid(), signal.SIGCONT)
        eventually(lambda: watched.checker.heartbeat.results["tcp"].get("void", 0) > voids)


@pytest.mark.parametrize("garbage", [framed(b"\xff\xfe{"), framed(b'{"runs": 1}'), b"\xff" * 8])
def test_what_cannot_be_understood_ends_the_process_and_no_more(garbage: bytes) -> None:
    """A process that is taken over may say anything."""
    with pytest.raises(BadMessage):
        list(map(decode_news, FrameReader().feed(garbage)))


def test_a_message_that_is_longer_than_any_is_not_collected() -> None:
    reader = FrameReader()
    with pytest.raises(BadMessage):
        list(reader.feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big")))


def test_a_checker_that_does_not_understand_ends() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop = Loop()
        checker = Checker(theirs, loop)
        ours.sendall(framed(b"nonsense"))
        while not checker.is_over:
            loop.run_once()


def test_after_a_full_socket_all_runs_are_reported_again() -> None:
    """Nothing that somebody waits for is lost, however long the agent does not read."""
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with ours, theirs, refusing() as port:
        loop = QuickLoop()
        Checker(theirs, loop, max_unsent_bytes=10_000)
        many = [probe(port, TcpCheck(send=f"{number}")) for number in range(40)]
        ours.sendall(framed(encode_probe_set(probe_set(*many))))
        loop.run_for(300)
        ours.setblocking(False)
        heard, reader = dict[str, Run](), FrameReader()
        for _ in range(200):
            loop.run_for(0.05)
            with suppress(BlockingIOError):
                for message in reader.feed(ours.recv(1 << 20)):
                    if isinstance(news := decode_news(message), Report):
                        heard |= news.runs
        assert heard.keys() == {probe_id(each) for each in many}
        assert {run.failure for run in heard.values()} == {Failure.REFUSED}
        assert min(run.length for run in heard.values()) > 250


def test_checks_of_one_address_start_at_most_64_times_a_second() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, refusing() as port:
        loop = QuickLoop()
        Checker(theirs, loop)
        many = [probe(port, TcpCheck(send=f"{number}")) for number in range(500)]
        ours.sendall(framed(encode_probe_set(probe_set(*many, lengths=frozenset({1})))))
        loop.run_for(10)
    counts = [sum(begin <= at < begin + 1 for at in loop.starts) for begin in range(10)]
    assert max(counts) <= 2 * 64, "one second may be saved up"
    assert 64 * 8 <= len(loop.starts) <= 64 * 11
