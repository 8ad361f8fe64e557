"""Servers for checks: they answer, refuse, are silent, or say what a test wants, as threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Speak = Callable[[socket.socket], None]


@contextmanager
def listening(speak: Speak, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve on a free port, whose number is given: each connection is spoken to in a thread."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family, backlog=256)
    is_over = threading.Event()
    listener.settimeout(0.05)

    def serve() -> None:
        while not is_over.is_set():
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.setblocking(True)
            speak(connection)
            is_over.wait()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        is_over.set()
        thread.join()
        listener.close()


@contextmanager
def refusing(host: str = "127.0.0.1") -> Iterator[int]:
    """Give a port on which nobody listens, and that nobody else gets."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((host, 0))
        yield taken.getsockname()[1]


@contextmanager
def black_hole(host: str = "127.0.0.1") -> Iterator[int]:
    """Give a port whose queue of connections is full: the kernel does not answer there."""
    with socket.create_server((host, 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex((host, port))
        try:
            yield port
        finally:
            for client in waiting:
                client.close()


def silent(connection: socket.socket) -> None:
    """Say nothing."""


def saying(text: bytes) -> Speak:
    """Say this, and then nothing."""
    return lambda connection: connection.sendall(text)


def saying_and_closing(text: bytes) -> Speak:
    """Say this, and say that this is all."""

    def speak(connection: socket.socket) -> None:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)

    return speak


def dripping(connection: socket.socket) -> None:
    """Say a byte again and again, without an end."""
    pause = threading.Event()
    while not pause.wait(0.02):
        connection.sendall(b"x")


def flooding(connection: socket.socket) -> None:
    """Say as much as the other side takes, without an end."""
    while True:
        connection.sendall(b"x" * 65536)


def asked(question: bytes, answer: bytes) -> Speak:
    """Answer a question."""

    def speak(connection: socket.socket) -> None:
        if connection.recv(len(question), socket.MSG_WAITALL) == question:
            connection.sendall(answer)

    return speak
