"""What systemd and a service say to each other: readiness, life, handed-over sockets, the journal.

Each is a small datagram or environment protocol, documented in sd_notify(3),
sd_listen_fds(3) and systemd's JOURNAL_NATIVE_PROTOCOL; the Python binding for them needs a
compiler and libsystemd's headers on every director.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_FIRST_HANDED_DESCRIPTOR = 3  # Source: sd_listen_fds(3), SD_LISTEN_FDS_START
_JOURNAL = Path("/run/systemd/journal/socket")
_LENGTH = struct.Struct("<Q")
_MAX_MESSAGE_BYTES = 96 * 1024
"""What surely fits into a datagram; the journal takes longer messages by file descriptor only."""

_PRIORITIES = {  # Source: syslog(3)
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}


class Notifier:
    """Tells the service manager how we are; without one, nothing happens."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = int(environment.get("WATCHDOG_USEC", "0")) if is_ours else 0
        self.watchdog_seconds = microseconds / 1_000_000 if microseconds else None
        """How long we may be silent; None: as long as we like. Source: sd_watchdog_enabled(3)."""

    def ready(self, status: str = "") -> None:
        """Say that the service does its work from now on."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Say in one line what is going on."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """Say that we are not hung."""
        if self.watchdog_seconds is not None:
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that settings are being read anew; `ready` ends it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """Say that the service ends."""
        self._send("STOPPING=1")

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        lines = (line.replace("\n", " ") for line in assignments)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
            sender.sendto("\n".join(lines).encode(), self._address)


def handed_over_socket(environment: Mapping[str, str] = os.environ) -> socket.socket | None:
    """Return the listening socket that a `.socket` unit made for us, if one did."""
    is_ours = environment.get("LISTEN_PID") == str(os.getpid())
    if not is_ours or int(environment.get("LISTEN_FDS", "0")) < 1:
        return None
    os.set_inheritable(_FIRST_HANDED_DESCRIPTOR, False)
    return socket.socket(fileno=_FIRST_HANDED_DESCRIPTOR)


def is_journal_at_stderr(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether our standard error goes to the journal. Source: systemd.exec(5), JOURNAL_STREAM."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    with suppress(OSError):
        at = os.fstat(2)
        return (device, inode) == (str(at.st_dev), str(at.st_ino))
    return False


class JournalHandler(logging.Handler):
    """Sends log records to the journal, with fields that `journalctl GITVS_RUN=…` finds.

    A record's attribute `fields` is a mapping of field name to text.
    """

    def __init__(self, address: Path = _JOURNAL) -> None:
        """Raises: OSError, no journal there."""
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.connect(str(address))

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; a journal that does not take it stops nobody."""
        try:
            self._socket.send(b"".join(self._encoded(record)))
        except OSError:
            self.handleError(record)

    def _encoded(self, record: logging.LogRecord) -> Iterator[bytes]:
        message = self.format(record).encode("utf-8", "replace")
        yield _field("MESSAGE", message[:_MAX_MESSAGE_BYTES])
        yield _field("PRIORITY", str(_PRIORITIES.get(record.levelno, 6)).encode())
        yield _field("SYSLOG_IDENTIFIER", b"gitvs")
        yield _field("LOGGER", record.name.encode())
        fields: Mapping[str, str] = getattr(record, "fields", {})
        for name, value in fields.items():
            yield _field(name, value.encode("utf-8", "replace"))

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
        super().close()


def _field(name: str, value: bytes) -> bytes:
    """Return one field; its length goes before it where a line cannot hold it."""
    if b"\n" in value:
        return name.encode() + b"\n" + _LENGTH.pack(len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
