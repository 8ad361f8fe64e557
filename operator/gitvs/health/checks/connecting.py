"""A TCP connection of a check, and the time-outs of what is said on it."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Generator

from gitvs.core.model.health import Failure, Probe
from gitvs.health.checks.results import Result, Wait, result_of_error

_NO_LINGER = struct.pack("ii", 1, 0)
"""A close resets the connection, so that no TIME_WAIT is left of thousands of checks."""

_NOT_YET = (errno.EINPROGRESS, errno.EAGAIN)


class NotConnected(Exception):
    """There is no connection; `result` is what follows from that."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.text)
        self.result = result


def socket_for(probe: Probe) -> socket.socket:
    """Return a socket that is not connected yet.

    Raises:
        NotConnected: this host has none to give.
    """
    family = socket.AF_INET if probe.address.version == 4 else socket.AF_INET6
    try:
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise NotConnected(result_of_error(error.errno or 0)) from error
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    return connection


def connect(connection: socket.socket, probe: Probe) -> Generator[Wait, bool, None]:
    """Connect a socket.

    Raises:
        NotConnected: that failed, or the time is over.
    """
    number = connection.connect_ex((str(probe.address), probe.port))
    if number in _NOT_YET:
        if (yield Wait(connection, is_for_writing=True)):
            raise NotConnected(Result(Failure.CONNECT_TIMEOUT, "no connection in time"))
        number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise NotConnected(result_of_error(number))
