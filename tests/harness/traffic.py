"""Servers that answer with their name, and clients that count what they get.

The protocol is a line each way: a client sends a line, a server answers with its own name.
A connection may carry many lines. Over UDP a datagram is a line.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import cast

from tests.harness.processes import die_with_parent, fork_child

TIMEOUT_SECONDS = 10.0
"""Longer than two retransmissions of a lost SYN: a packet lost in passing is no failure."""

_POLL_SECONDS = 0.02


class Server:
    """The sockets of one server, listening on every address in the namespace it is made in."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.tcp = socket.create_server(
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256
        )
        self.udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self.udp.bind(("", port))

    def close(self) -> None:
        self.tcp.close()
        self.udp.close()


def serve(servers: Iterable[Server]) -> None:
    """Answer on all servers' sockets; never returns."""
    die_with_parent()
    selector = selectors.DefaultSelector()
    for server in servers:
        selector.register(server.tcp, selectors.EVENT_READ, server)
        selector.register(server.udp, selectors.EVENT_READ, server)
    while True:
        for key, _ in selector.select():
            server = cast(Server, key.data)
            if key.fileobj is server.udp:
                _answer_datagram(server)
            elif key.fileobj is server.tcp:
                accepted, _ = server.tcp.accept()
                selector.register(accepted, selectors.EVENT_READ, server)
            elif not _answer_lines(connection := cast(socket.socket, key.fileobj), server.name):
                selector.unregister(connection)
                connection.close()


def _answer_lines(connection: socket.socket, name: str) -> bool:
    """Answer what has come in; return whether the connection goes on."""
    try:
        lines = connection.recv(4096).count(b"\n")
        connection.sendall(f"{name}\n".encode() * lines)
    except OSError:
        return False
    return lines > 0


def _answer_datagram(server: Server) -> None:
    """Answer from the address that was asked, which may be a VIP."""
    _, ancillary, _, client = server.udp.recvmsg(4096, 256)
    ((level, kind, data),) = ancillary
    information = data[:16] + struct.pack("i", 0)
    with suppress(OSError):
        server.udp.sendmsg([f"{server.name}\n".encode()], [(level, kind, information)], 0, client)


class Connection:
    """A client's TCP connection, from the namespace that it is made in.

    Raises: OSError where connecting fails.
    """

    def __init__(self, address: str, port: int, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._socket = socket.create_connection((address, port), timeout_seconds)

    def ask(self) -> str:
        """Send a line and return the name that answers.

        Raises: OSError.
        """
        self._socket.sendall(b"hello\n")
        answer = self._socket.recv(4096)
        if not answer:
            raise ConnectionAbortedError(errno.ECONNABORTED, "closed by the other side")
        return answer.decode().strip()

    def close(self) -> None:
        self._socket.close()


def request(
    address: str, port: int, protocol: str = "tcp", timeout_seconds: float = TIMEOUT_SECONDS
) -> str:
    """Ask once, over a new connection, and return the name that answers.

    Raises: OSError.
    """
    if protocol == "tcp":
        connection = Connection(address, port, timeout_seconds)
        try:
            return connection.ask()
        finally:
            connection.close()
    family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout_seconds)
        client.connect((address, port))
        client.send(b"hello\n")
        return client.recv(4096).decode().strip()


def describe(error: OSError) -> str:
    """Return what a client calls this failure."""
    match error:
        case ConnectionRefusedError():
            return "refused"
        case ConnectionResetError() | BrokenPipeError():
            return "reset"
        case ConnectionAbortedError():
            return "closed"
        case TimeoutError():
            return "timed out"
    return errno.errorcode.get(error.errno or 0, str(error))


@dataclass
class FloodReport:
    """What a flood saw. Every new connection is in `answers` or in `failures`."""

    answers: Counter[str] = field(default_factory=Counter)
    """New connections answered, by the server's name."""
    failures: Counter[str] = field(default_factory=Counter)
    """New connections that failed: refused, reset, timed out, …"""
    long_lived: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    """Long-lived connections that broke, likewise."""
    exchanges: int = 0
    """Lines that long-lived connections had answered."""
    slowest_seconds: float = 0

    @property
    def attempts(self) -> int:
        return self.answers.total() + self.failures.total()

    @property
    def lost(self) -> dict[str, int]:
        """Everything that a client would complain about; empty if nothing was lost."""
        broken = {f"long-lived {what}": count for what, count in self.broken.items()}
        return {**self.failures, **broken}


class Flood:
    """Clients in a child process: new connections at a steady rate, and long-lived ones.

    Made in the client's namespace. Count its work, not seconds: `run(50)` returns when 50 more
    new connections have been tried.
    """

    def __init__(self, address: str, port: int, *, rate: float = 25, long_lived: int = 3) -> None:
        """Start, and return when the long-lived connections are open. `rate` is per second."""
        self._progress = mmap.mmap(-1, 16)
        self._read_end, write_end = os.pipe()
        self._pid = fork_child(
            lambda: _flood(address, port, rate, long_lived, self._progress, write_end)
        )
        os.close(write_end)
        self.run(1)

    def run(self, attempts: int) -> None:
        """Wait until so many more new connections have been tried.

        Raises: RuntimeError if the flood has ended.
        """
        goal = self._attempts() + attempts
        while self._attempts() < goal:
            if os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                raise RuntimeError("the flood ended: could its long-lived connections open?")
            time.sleep(_POLL_SECONDS)

    def pause(self) -> None:
        """Return when nothing is under way; long-lived connections stay open, and say nothing."""
        self._progress[9] = 1
        while not self._progress[10]:
            time.sleep(_POLL_SECONDS)

    def resume(self) -> None:
        """Go on after a pause."""
        self._progress[9] = 0

    def stop(self) -> FloodReport:
        """End the flood and return what it saw."""
        self._progress[8] = 1
        with open(self._read_end, "rb") as pipe:
            fields = json.loads(pipe.read())
        os.waitpid(self._pid, 0)
        for name in ("answers", "failures", "broken"):
            fields[name] = Counter(fields[name])
        return FloodReport(**fields)

    def _attempts(self) -> int:
        count: int = struct.unpack_from("Q", self._progress)[0]
        return count


def _flood(
    address: str, port: int, rate: float, long_lived: int, progress: mmap.mmap, write_end: int
) -> None:
    die_with_parent()
    report = FloodReport(long_lived=long_lived)
    connections = [Connection(address, port) for _ in range(long_lived)]
    due_at = time.monotonic()
    while not progress[8]:
        started_at = time.monotonic()
        try:
            report.answers[request(address, port)] += 1
        except OSError as error:
            report.failures[describe(error)] += 1
        report.slowest_seconds = max(report.slowest_seconds, time.monotonic() - started_at)
        _exchange(connections, report)
        struct.pack_into("Q", progress, 0, report.attempts)
        due_at = max(due_at + 1 / rate, started_at)  # never hurry to catch up
        time.sleep(max(0, due_at - time.monotonic()))
        while progress[9] and not progress[8]:
            progress[10] = 1
            time.sleep(_POLL_SECONDS)
        progress[10] = 0
    with open(write_end, "w") as pipe:
        json.dump(vars(report), pipe)


def _exchange(connections: list[Connection], report: FloodReport) -> None:
    """Have each long-lived connection carry a line; drop those that broke."""
    for connection in list(connections):
        try:
            connection.ask()
            report.exchanges += 1
        except OSError as error:
            report.broken[describe(error)] += 1
            connections.remove(connection)
            connection.close()
