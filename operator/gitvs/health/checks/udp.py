"""A datagram, and its answer if one is expected."""

from __future__ import annotations

import socket
from collections.abc import Generator

from gitvs.core.model.health import Failure, Probe, UdpCheck
from gitvs.health.checks.connecting import NotConnected
from gitvs.health.checks.results import PASS, Check, Result, Wait, result_of_error

MAX_DATAGRAM_BYTES = 65535


def check_udp(probe: Probe) -> Check:
    """Send a datagram, and wait for an answer or an ICMP error."""
    check = probe.check
    assert isinstance(check, UdpCheck)
    expected = _bytes(check.expect, check.expect_hex)
    try:
        with socket_to(probe, socket.SOCK_DGRAM) as connection:
            send(connection, _bytes(check.send, check.send_hex))
            while True:
                answer = yield from receive(connection)
                if answer is None:
                    if not expected:
                        return PASS
                    return Result(Failure.CONNECT_TIMEOUT, "no answer in time")
                if expected in answer:
                    return PASS
                return Result(Failure.CONTENT, f"the answer is {_shown(answer)}")
    except NotConnected as failed:
        return failed.result


def socket_to(probe: Probe, kind: int, protocol: int = 0) -> socket.socket:
    """Return a socket that sends to the probe's address, and hears of its ICMP errors.

    Raises:
        NotConnected: this host has none to give, or no way there.
    """
    family = socket.AF_INET if probe.address.version == 4 else socket.AF_INET6
    try:
        connection = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        raise NotConnected(result_of_error(error.errno or 0)) from error
    try:
        connection.connect((str(probe.address), probe.port))
    except OSError as error:
        connection.close()
        raise NotConnected(result_of_error(error.errno or 0)) from error
    return connection


def send(connection: socket.socket, data: bytes) -> None:
    """Send a datagram.

    Raises:
        NotConnected: it could not be sent.
    """
    try:
        connection.send(data)
    except OSError as error:
        raise NotConnected(result_of_error(error.errno or 0)) from error


def receive(connection: socket.socket) -> Generator[Wait, bool, bytes | None]:
    """Return the next datagram; None if the time is over.

    Raises:
        NotConnected: an ICMP error came, or this host cannot receive.
    """
    while True:
        try:
            return connection.recv(MAX_DATAGRAM_BYTES)
        except BlockingIOError:
            if (yield Wait(connection)):
                return None
        except OSError as error:
            raise NotConnected(result_of_error(error.errno or 0)) from error


def _bytes(text: str, digits: str) -> bytes:
    return bytes.fromhex(digits) if digits else text.encode()


def _shown(answer: bytes) -> str:
    text = answer[:60].decode("utf-8", "replace")
    return repr(text) if text.isprintable() else f"hex {answer[:30].hex()}"
