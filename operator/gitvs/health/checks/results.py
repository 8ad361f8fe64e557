"""What one execution of a check has shown."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from socket import socket
from typing import NamedTuple

from gitvs.core.model.health import Failure


class Result(NamedTuple):
    """A pass, a failure, or nothing learnt (`is_void`); `text` says more for people."""

    failure: Failure | None = None
    text: str = ""
    is_void: bool = False


PASS = Result()


class Wait(NamedTuple):
    """What a check waits for: a socket that can be read (or written)."""

    socket: socket
    is_for_writing: bool = False


Check = Generator[Wait, bool, Result]
"""A check under way. It is sent whether its time is over; then it ends with a result."""

_HERE = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOBUFS,
        errno.ENOSPC,
        errno.EADDRNOTAVAIL,
        errno.EADDRINUSE,
        errno.EPERM,
        errno.EACCES,
        errno.EAFNOSUPPORT,
    }
)
"""Errors of this host: no descriptors, memory or free port, or a firewall of its own."""

_REFUSED = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE})


def result_of_error(number: int) -> Result:
    """Return the result of an error while connecting; `number` is as in `errno`."""
    text = os.strerror(number)
    if number in _HERE:
        return Result(text=text, is_void=True)
    return Result(Failure.REFUSED if number in _REFUSED else Failure.UNREACHABLE, text)
