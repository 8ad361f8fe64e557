"""The protocols between systemd and a service: readiness, watchdog, passed sockets, the journal.

Each is a small datagram or environment protocol, documented in sd_notify(3), sd_listen_fds(3)
and systemd's JOURNAL_NATIVE_PROTOCOL. The Python binding is not used: it needs a compiler and
libsystemd's headers on every director.
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

_LISTEN_FDS_START = 3  # Source: sd_listen_fds(3), SD_LISTEN_FDS_START
_JOURNAL_SOCKET = Path("/run/systemd/journal/socket")
_FIELD_LENGTH = struct.Struct("<Q")
_MAX_MESSAGE_BYTES = 96 * 1024
"""Always fits into a datagram; the journal takes longer messages by file descriptor only."""

_PRIORITIES = {  # Source: syslog(3)
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}


class Notifier:
    """Reports the service's state to the service manager; without one, nothing happens."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = int(environment.get("WATCHDOG_USEC", "0")) if is_ours else 0
        self.watchdog_seconds = microseconds / 1_000_000 if microseconds else None
        """Longest time without a report; None: no limit. Source: sd_watchdog_enabled(3)."""

    def report_ready(self, status: str = "") -> None:
        """Report that the service is ready."""
        self._send("READY=1", f"STATUS={status}")

    def report_status(self, status: str) -> None:
        """Report in one line what the service is doing."""
        self._send(f"STATUS={status}")

    def report_alive(self) -> None:
        """Report that the service is not hung."""
        if self.watchdog_seconds is not None:
            self._send("WATCHDOG=1")

    def report_reloading(self) -> None:
        """Report that settings are being reloaded; `report_ready` ends this state."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def report_stopping(self) -> None:
        """Report that the service is stopping."""
        self._send("STOPPING=1")

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        lines = (line.replace("\n", " ") for line in assignments)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
            sender.sendto("\n".join(lines).encode(), self._address)


def socket_from_systemd(environment: Mapping[str, str] = os.environ) -> socket.socket | None:
    """Return the listening socket that a `.socket` unit made for us, if one did."""
    is_ours = environment.get("LISTEN_PID") == str(os.getpid())
    if not is_ours or int(environment.get("LISTEN_FDS", "0")) < 1:
        return None
    os.set_inheritable(_LISTEN_FDS_START, False)
    return socket.socket(fileno=_LISTEN_FDS_START)


def is_stderr_the_journal(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether our standard error goes to the journal. Source: systemd.exec(5), JOURNAL_STREAM."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    with suppress(OSError):
        stderr_stat = os.fstat(2)
        return (device, inode) == (str(stderr_stat.st_dev), str(stderr_stat.st_ino))
    return False


class JournalHandler(logging.Handler):
    """Sends log records to the journal, with fields that `journalctl GITVS_RUN=…` finds.

    A record's attribute `fields` is a mapping of field name to text.
    """

    def __init__(self, address: Path = _JOURNAL_SOCKET) -> None:
        """Connect to the journal.

        Raises:
            OSError: there is no journal at `address`.
        """
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.connect(str(address))

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; an error of the journal does not interrupt the caller."""
        try:
            self._socket.send(b"".join(self._encode(record)))
        except OSError:
            self.handleError(record)

    def _encode(self, record: logging.LogRecord) -> Iterator[bytes]:
        message = self.format(record).encode("utf-8", "replace")
        yield _encode_field("MESSAGE", message[:_MAX_MESSAGE_BYTES])
        yield _encode_field("PRIORITY", str(_PRIORITIES.get(record.levelno, 6)).encode())
        yield _encode_field("SYSLOG_IDENTIFIER", b"gitvs")
        yield _encode_field("LOGGER", record.name.encode())
        fields: Mapping[str, str] = getattr(record, "fields", {})
        for name, value in fields.items():
            yield _encode_field(name, value.encode("utf-8", "replace"))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def _encode_field(name: str, value: bytes) -> bytes:
    """Return one field; a value of several lines is sent with its length."""
    if b"\n" in value:
        return name.encode() + b"\n" + _FIELD_LENGTH.pack(len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
