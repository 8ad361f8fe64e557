"""A connection; and, if the check says so, something to send and something to be answered."""

from __future__ import annotations

import errno
import socket
import struct

from gitvs.core.model.health import Failure, Probe
from gitvs.health.checks.results import PASS, Check, Result, Wait, result_of_error

MAX_ANSWER_BYTES = 64 * 1024
"""How much of an answer counts."""

_NO_LINGER = struct.pack("ii", 1, 0)
"""A close resets the connection, so that no TIME_WAIT is left of thousands of checks."""

_NOT_YET = (errno.EINPROGRESS, errno.EAGAIN)


def check_tcp(probe: Probe) -> Check:
    """Connect, send, and read until the expected text has come."""
    try:
        connection = _socket_for(probe)
    except OSError as error:
        return result_of_error(error.errno or 0)
    try:
        number = connection.connect_ex((str(probe.address), probe.port))
        if number in _NOT_YET:
            is_over = yield Wait(connection, is_for_writing=True)
            if is_over:
                return Result(Failure.CONNECT_TIMEOUT, "no connection in time")
            number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            return result_of_error(number)
        if probe.check.send or probe.check.expect:
            return (yield from _converse(connection, probe))
        return PASS
    finally:
        connection.close()


def _socket_for(probe: Probe) -> socket.socket:
    family = socket.AF_INET if probe.address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    return connection


def _converse(connection: socket.socket, probe: Probe) -> Check:
    """Send the text of the check, and read until the answer has what is expected."""
    to_send, expected = probe.check.send.encode(), probe.check.expect.encode()
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
