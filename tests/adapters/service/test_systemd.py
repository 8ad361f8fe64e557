"""What is said to systemd and the journal, over real sockets."""

from __future__ import annotations

import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitvs.adapters.service.log_fields import LogFieldsFilter, log_fields
from gitvs.adapters.service.systemd import (
    JournalHandler,
    Notifier,
    is_stderr_the_journal,
    socket_from_systemd,
)


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that hears what is sent to `tmp_path / "socket"`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.settimeout(5)
        yield listener


def test_the_service_manager_hears_how_we_are(heard: socket.socket, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "socket"), "WATCHDOG_USEC": "2000000"}
    notifier = Notifier(environment)
    assert notifier.watchdog_seconds == 2
    notifier.report_ready("all\nwell")
    assert heard.recv(4096) == b"READY=1\nSTATUS=all well"
    notifier.report_alive()
    assert heard.recv(4096) == b"WATCHDOG=1"
    notifier.report_reloading()
    assert heard.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    notifier.report_stopping()
    assert heard.recv(4096) == b"STOPPING=1"


def test_without_a_service_manager_nothing_happens() -> None:
    notifier = Notifier({})
    notifier.report_ready("well")
    notifier.report_alive()
    assert notifier.watchdog_seconds is None


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}).watchdog_seconds is None


def fields_of(datagram: bytes) -> dict[str, str]:
    """Read the journal's native form. Source: systemd's JOURNAL_NATIVE_PROTOCOL."""
    found = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, is_short, value = line.partition(b"=")
        if not is_short:
            (length,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + length], rest[9 + length :]
        found[name.decode()] = value.decode()
        datagram = rest
    return found


def logged(heard: socket.socket, address: Path, level: int, message: str) -> dict[str, str]:
    """Log one record to the journal, and return the fields that arrive there."""
    handler = JournalHandler(address)
    handler.addFilter(LogFieldsFilter())
    logger = logging.Logger("gitvs.test")
    logger.addHandler(handler)
    logger.log(level, message)
    handler.close()
    return fields_of(heard.recv(1 << 20))


def test_the_journal_gets_fields_of_its_own(heard: socket.socket, tmp_path: Path) -> None:
    with log_fields(run="r1", director="lb1"), log_fields(commit="abc"):
        fields = logged(heard, tmp_path / "socket", logging.WARNING, "pass result=blocked")
    assert fields == {
        "MESSAGE": "pass result=blocked",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "gitvs",
        "LOGGER": "gitvs.test",
        "GITVS_RUN": "r1",
        "GITVS_DIRECTOR": "lb1",
        "GITVS_COMMIT": "abc",
    }


def test_no_text_makes_a_field_of_its_own(heard: socket.socket, tmp_path: Path) -> None:
    message = "subject=x\nPRIORITY=0\nGITVS_RUN=forged"
    fields = logged(heard, tmp_path / "socket", logging.INFO, message)
    assert (fields["MESSAGE"], fields["PRIORITY"]) == (message, "6")
    assert "GITVS_RUN" not in fields


def test_fields_end_with_their_block(heard: socket.socket, tmp_path: Path) -> None:
    with log_fields(run="r1"):
        pass
    assert "GITVS_RUN" not in logged(heard, tmp_path / "socket", logging.INFO, "later")


def test_a_handed_over_socket_is_taken_from_descriptor_3(tmp_path: Path) -> None:
    code = (
        "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.dup2(int(sys.argv[1]), 3);"
        "from gitvs.adapters.service.systemd import socket_from_systemd as h;"
        "s = h(); print(s.getsockname(), os.get_inheritable(3))"
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control"))
        listener.listen()
        done = subprocess.run(
            [sys.executable, "-c", code, str(listener.fileno())],
            env={**os.environ, "LISTEN_FDS": "1"},
            pass_fds=[listener.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.stdout == f"{tmp_path / 'control'} False\n", done.stderr


def test_sockets_for_another_process_are_left_alone() -> None:
    assert socket_from_systemd({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) is None
    assert socket_from_systemd({}) is None


def test_the_journal_is_recognised_at_standard_error() -> None:
    at = os.fstat(2)
    assert is_stderr_the_journal({"JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}"})
    assert not is_stderr_the_journal({"JOURNAL_STREAM": "1:2"})
    assert not is_stderr_the_journal({})
