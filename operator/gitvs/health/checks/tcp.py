"""A connection; and, if the check says so, something to send and something to be answered."""

from __future__ import annotations

import socket

from gitvs.core.model.health import Failure, Probe, TcpCheck
from gitvs.health.checks.connecting import NotConnected, connect, socket_for
from gitvs.health.checks.results import PASS, Check, Result, Wait

MAX_ANSWER_BYTES = 64 * 1024
"""How much of an answer counts."""


def check_tcp(probe: Probe) -> Check:
    """Connect, send, and read until the expected text has come."""
    check = probe.check
    assert isinstance(check, TcpCheck)
    try:
        with socket_for(probe) as connection:
            yield from connect(connection, probe)
            if check.send or check.expect:
                return (yield from _converse(connection, check))
            return PASS
    except NotConnected as failed:
        return failed.result


def _converse(connection: socket.socket, check: TcpCheck) -> Check:
    """Send the text of the check, and read until the answer has what is expected."""
    to_send, expected = check.send.encode(), check.expect.encode()
    answer = bytearray()
    try:
        while to_send:
            try:
                to_send = to_send[connection.send(to_send) :]
            except BlockingIOError:
                if (yield Wait(connection, is_for_writing=True)):
                    return Result(Failure.ANSWER_TIMEOUT, "it does not read what is sent")
        while expected not in answer:
            try:
                part = connection.recv(MAX_ANSWER_BYTES)
            except BlockingIOError:
                if (yield Wait(connection)):
                    return Result(Failure.ANSWER_TIMEOUT, _answer_text(answer, "in time"))
                continue
            answer += part
            if not part or len(answer) > MAX_ANSWER_BYTES:
                if expected in answer[:MAX_ANSWER_BYTES]:
                    return PASS
                return Result(Failure.CONTENT, _answer_text(answer, "in the answer"))
    except OSError as error:
        return Result(Failure.CONTENT, f"{error.strerror} after the connection was made")
    return PASS


def _answer_text(answer: bytearray, where: str) -> str:
    if not answer:
        return f"no answer {where}"
    beginning = bytes(answer[:60]).decode("utf-8", "replace")
    return f"the expected text is not {where}, which begins with {beginning!r}"
