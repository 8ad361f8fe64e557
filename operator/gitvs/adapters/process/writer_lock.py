"""The lock that makes this process the only writer of its network namespace.

The lock is an abstract Unix socket. Each network namespace has one, whatever the state folder,
and it disappears with the process that holds it. The holder listens on it, so that other
processes can ask the kernel who holds the lock.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from gitvs.core.errors import LockHeld

WRITER_LOCK_NAME = "gitvs/writer"
AGENT_LOCK_NAME = "gitvs/agent"
"""Held by an agent as long as it runs, even while a pause lets other processes write."""
_HOLDER_NOUNS = {AGENT_LOCK_NAME: "agent"}
_LISTEN_BACKLOG = 4096
"""How many requests for the holder's identity are queued; the kernel may lower this limit."""

_PEER_CREDENTIALS = struct.Struct("3i")  # Source: unix(7), SO_PEERCRED, struct ucred
_MAX_SHOWN_CHARACTERS = 200


@contextmanager
def writer_lock(name: str = WRITER_LOCK_NAME) -> Iterator[None]:
    """Hold the lock as the only writer of this network namespace, or the only holder of `name`.

    Raises:
        LockHeld: another process holds it; the message describes that process.
    """
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as lock:
        try:
            lock.bind(f"\0{name}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise LockHeld(
                f"this network namespace has one {_HOLDER_NOUNS.get(name, 'writer')} at a time, and"
                f" {_describe_holder(name)} is it. Nothing was changed; let it end, and try again"
            ) from None
        lock.listen(_LISTEN_BACKLOG)
        yield


def _describe_holder(name: str) -> str:
    """Return a description of the process that holds the lock."""
    pid = _holder_pid(name)
    if pid is None:
        return f"another process (`ss -xlp src @{name}` shows it)"
    if pid == 0:
        return "a process of another container"
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
        start_ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return f"process {pid}"
    age_seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - int(start_ticks) / os.sysconf(
        "SC_CLK_TCK"
    )
    return f"process {pid} ({_printable(command)}), running for {max(age_seconds, 0):.0f} s,"


def _holder_pid(name: str) -> int | None:
    """Ask the kernel who listens; None if nobody does any more, or if the queue is full."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.setblocking(False)
        try:
            probe.connect(f"\0{name}")
        except OSError:
            return None
        data = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
        pid: int = _PEER_CREDENTIALS.unpack(data)[0]
        return pid


def _printable(command: bytes) -> str:
    """Return a command line that is safe to show on a terminal."""
    text = command.replace(b"\0", b" ").decode("utf-8", "replace")
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text[:_MAX_SHOWN_CHARACTERS]
