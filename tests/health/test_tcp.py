"""The tcp check against real sockets: what a server does, and what is concluded from it."""

from __future__ import annotations

import errno
import gc
import resource
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from ipaddress import ip_address

import pytest

from gitvs.core.model.health import CheckTimes, Failure, Probe, TcpCheck
from gitvs.health.checks.results import Check, Result, Wait, result_of_error
from gitvs.health.checks.tcp import check_tcp
from gitvs.health.loop import Loop
from tests.support.health import once, servers
from tests.support.health.once import LITTLE, PLENTY
from tests.support.health.servers import (
    asked,
    black_hole,
    dripping,
    flooding,
    listening,
    refusing,
    saying,
    saying_and_closing,
    silent,
)


def checked(
    port: int, check: TcpCheck | None = None, host: str = "127.0.0.1", seconds: float = PLENTY
) -> Result:
    return once.checked(check or TcpCheck(), port, host, seconds)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_server_that_accepts_passes(host: str) -> None:
    with listening(silent, host) as port:
        assert checked(port, host=host) == Result()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_closed_port_is_refused_at_once(host: str) -> None:
    with refusing(host) as port:
        result = checked(port, host=host)
    assert (result.failure, result.text) == (Failure.REFUSED, "Connection refused")


def test_a_server_that_does_not_answer_the_connection_times_out() -> None:
    with black_hole() as port:
        assert checked(port, seconds=LITTLE).failure is Failure.CONNECT_TIMEOUT


def test_a_server_that_says_nothing_times_out_after_the_connection() -> None:
    with listening(silent) as port:
        result = checked(port, TcpCheck(expect="220"), seconds=LITTLE)
    assert (result.failure, result.text) == (Failure.ANSWER_TIMEOUT, "no answer in time")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_greeting_passes(host: str) -> None:
    with listening(saying(b"220 mx.example.org ESMTP\r\n"), host) as port:
        assert checked(port, TcpCheck(expect="220"), host) == Result()


def test_a_question_is_asked_and_the_answer_read() -> None:
    with listening(asked(b"PING\r\n", b"+PONG\r\n")) as port:
        assert checked(port, TcpCheck(send="PING\r\n", expect="+PONG")) == Result()


def test_text_that_is_not_ascii_is_utf_8() -> None:
    with listening(saying("grüezi".encode())) as port:
        assert checked(port, TcpCheck(expect="üe")) == Result()


@pytest.mark.parametrize("text", [b"", b"421 busy\r\n"])
def test_a_server_that_closes_without_the_expected_text_fails(text: bytes) -> None:
    with listening(saying_and_closing(text)) as port:
        result = checked(port, TcpCheck(expect="220"))
    assert result.failure is Failure.CONTENT
    assert text.decode().strip() in result.text


@pytest.mark.parametrize("speak", [dripping, silent])
def test_an_answer_that_never_ends_fails_when_the_time_is_over(speak: servers.Speak) -> None:
    with listening(speak) as port:
        result = checked(port, TcpCheck(expect="220"), seconds=LITTLE)
    assert result.failure is Failure.ANSWER_TIMEOUT


def test_of_a_flood_no_more_is_read_than_counts() -> None:
    with listening(flooding) as port:
        result = checked(port, TcpCheck(expect="220"))
    assert result.failure is Failure.CONTENT


def test_a_server_that_does_not_read_fails_when_the_time_is_over() -> None:
    with listening(silent) as port:
        result = checked(port, TcpCheck(send="x" * 30_000_000), seconds=LITTLE)
    assert result == Result(Failure.ANSWER_TIMEOUT, "it does not read what is sent")


def test_a_host_without_descriptors_learns_nothing() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listening(silent) as port:
        loop, results = Loop(), list[Result]()
        probe = Probe(TcpCheck(), ip_address("127.0.0.1"), port, CheckTimes())
        with socket.socket() as highest:
            lowest_free = highest.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            loop.start(check_tcp(probe), PLENTY, results.append)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [(r.is_void, r.text) for r in results] == [(True, "Too many open files")]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ECONNREFUSED, Failure.REFUSED),
        (errno.ECONNRESET, Failure.REFUSED),
        (errno.EHOSTUNREACH, Failure.UNREACHABLE),
        (errno.ENETUNREACH, Failure.UNREACHABLE),
        (errno.ETIMEDOUT, Failure.UNREACHABLE),
        (errno.EPERM, None),
        (errno.EACCES, None),
        (errno.EADDRNOTAVAIL, None),
        (errno.ENOBUFS, None),
        (errno.ENOMEM, None),
        (errno.ENFILE, None),
    ],
)
def test_an_error_is_the_servers_or_this_hosts(number: int, expected: Failure | None) -> None:
    result = result_of_error(number)
    assert (result.failure, result.is_void) == (expected, expected is None)


def test_no_socket_is_left_open() -> None:
    with refusing() as closed, black_hole() as hole:
        before = open_sockets()
        for port in (closed, hole):
            checked(port, seconds=LITTLE)
        assert open_sockets() == before


def open_sockets() -> int:
    gc.collect()
    return sum(isinstance(each, socket.socket) and each.fileno() >= 0 for each in gc.get_objects())


def late(jump: float, port_of: Callable[[], AbstractContextManager[int]]) -> Result:
    """Return the result of a check of 2 s during which the process stood still for some time."""
    clock = [0.0]
    with port_of() as port:
        loop, results = Loop(lambda: clock[0]), list[Result]()
        probe = Probe(TcpCheck(), ip_address("127.0.0.1"), port, CheckTimes())
        loop.start(check_tcp(probe), 2.0, results.append)
        clock[0] += jump
        loop.run_once()
    return results[0]


def test_a_loop_that_was_late_by_half_the_time_out_learns_nothing() -> None:
    result = late(2.0 + 1.1, black_hole)
    assert (result.failure, result.is_void) == (None, True)
    assert late(2.0 + 0.9, black_hole).failure is Failure.CONNECT_TIMEOUT


def test_a_server_that_answered_while_the_loop_was_late_has_passed() -> None:
    assert late(3600.0, lambda: listening(silent)) == Result()


def test_two_hundred_checks_of_a_black_hole_are_over_in_their_own_time() -> None:
    clock, results = [0.0], list[tuple[float, Result]]()
    loop = Loop(lambda: clock[0])
    with black_hole() as port:
        probe = Probe(TcpCheck(), ip_address("127.0.0.1"), port, CheckTimes())
        for _ in range(200):
            loop.start(check_tcp(probe), 2.0, lambda result: results.append((clock[0], result)))
        assert loop.in_flight == 200
        while results == [] and clock[0] < 10:
            clock[0] += 0.5
            loop.run_once()
    assert {(at, result.failure) for at, result in results} == {(2.0, Failure.CONNECT_TIMEOUT)}
    assert len(results) == 200


def test_a_bug_in_a_check_ends_that_check_alone() -> None:
    def faulty() -> Check:
        yield Wait(waiting)
        raise ZeroDivisionError("1/0")

    loop, results = Loop(), list[Result]()
    waiting, other = socket.socketpair()
    with waiting, other:
        loop.start(faulty(), PLENTY, results.append)
        other.send(b"x")
        while not results:
            loop.run_once()
    assert results == [Result(text="gitvs met a bug: ZeroDivisionError('1/0')", is_void=True)]
    assert loop.in_flight == 0
