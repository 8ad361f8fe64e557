"""An HTTP/1.1 request, over TLS for https, and what its answer is worth."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Generator
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TypeVar

from gitvs.core.model.health import Failure, HttpCheck, Probe, Tls
from gitvs.core.model.resources import host_and_port
from gitvs.health.checks.connecting import NotConnected, connect, socket_for
from gitvs.health.checks.http_answer import BadAnswer, HttpAnswer
from gitvs.health.checks.results import PASS, Check, Result, Wait

CHECKS_FOLDER = Path("/etc/gitvs/checks.d")
"""Where the files are that checks name."""

_READ_BYTES = 16 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}
_OWN_HEADERS = (("User-Agent", "gitvs"), ("Accept", "*/*"), ("Connection", "close"))

T = TypeVar("T")


class _TimeIsOver(Exception):
    """The time of the check is over."""


def check_http(probe: Probe) -> Check:
    """Connect, ask, and read until the answer is known to be right or wrong."""
    check = probe.check
    assert isinstance(check, HttpCheck)
    connection: socket.socket | None = None
    stage = "no answer in time"
    try:
        context = None if check.tls is None else _context_for(check.tls)
        connection = socket_for(probe)
        yield from connect(connection, probe)
        if check.tls is not None and context is not None:
            connection = secured = context.wrap_socket(
                connection, do_handshake_on_connect=False, server_hostname=check.tls.server_name
            )
            stage = "no end of the TLS handshake in time"
            yield from _patiently(secured, secured.do_handshake)
            stage = "no answer in time"
        yield from _send(connection, request_of(probe, check))
        return (yield from _read(connection, check))
    except NotConnected as failed:
        return failed.result
    except _NoTls as error:
        return Result(text=str(error), is_void=True)
    except _TimeIsOver:
        return Result(Failure.ANSWER_TIMEOUT, stage)
    except BadAnswer as error:
        return Result(Failure.CONTENT, str(error))
    except ssl.SSLError as error:
        return Result(Failure.TLS, _tls_text(error))
    except OSError as error:
        return Result(Failure.CONTENT, f"{error.strerror} after the connection was made")
    finally:
        if connection is not None:
            connection.close()


def request_of(probe: Probe, check: HttpCheck) -> bytes:
    """Return the request that is sent."""
    host = check.host
    if not host:
        host = host_and_port(probe.address, probe.port)
        if probe.port == _DEFAULT_PORTS[check.kind]:
            host = host.rpartition(":")[0]
    names = {name.lower() for name, _ in check.headers}
    own = [header for header in _OWN_HEADERS if header[0].lower() not in names]
    lines = [f"{check.method} {check.path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (*own, *check.headers)]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _send(connection: socket.socket, request: bytes) -> Generator[Wait, bool, None]:
    while request:
        sent = yield from _patiently(connection, partial(connection.send, request), is_sending=True)
        request = request[sent:]


def _read(connection: socket.socket, check: HttpCheck) -> Check:
    answer = HttpAnswer(has_body=check.method != "HEAD")
    expected = check.expect.encode()
    while True:
        data = yield from _patiently(connection, partial(connection.recv, _READ_BYTES))
        if data:
            answer.feed(data)
        else:
            answer.end()
        if answer.status is None:
            continue
        if not any(first <= answer.status <= last for first, last in check.status):
            return Result(Failure.STATUS, f"http {answer.status}")
        if expected in answer.body:
            return PASS
        if answer.is_complete:
            return Result(Failure.CONTENT, f"the expected text is not in {_body_text(answer)}")


def _body_text(answer: HttpAnswer) -> str:
    if not answer.body:
        return "the answer, which is empty"
    beginning = bytes(answer.body[:60]).decode("utf-8", "replace")
    return f"the answer, which begins with {beginning!r}"


def _patiently(
    connection: socket.socket, work: Callable[[], T], *, is_sending: bool = False
) -> Generator[Wait, bool, T]:
    """Do something on a socket as soon as it can be done.

    Raises:
        _TimeIsOver: not in time.
    """
    while True:
        try:
            return work()
        except ssl.SSLWantReadError:
            is_for_writing = False
        except ssl.SSLWantWriteError:
            is_for_writing = True
        except BlockingIOError:
            is_for_writing = is_sending
        if (yield Wait(connection, is_for_writing)):
            raise _TimeIsOver


class _NoTls(Exception):
    """This host lacks what the check needs."""


def _context_for(tls: Tls) -> ssl.SSLContext:
    """Return how TLS is spoken.

    Raises:
        _NoTls: the file of authorities cannot be used.
    """
    if not tls.verify:
        return _unverified()
    if not tls.ca_file:
        return _verified("", 0)
    path = CHECKS_FOLDER / tls.ca_file
    try:
        return _verified(str(path), path.stat().st_mtime_ns)
    except OSError as error:  # TLS errors are among them
        raise _NoTls(f"{path} cannot be used: {error.strerror or error}") from error


# Contexts are kept, since making one takes longer than a check.
@cache
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@lru_cache(maxsize=64)
def _verified(ca_file: str, changed_ns: int) -> ssl.SSLContext:
    """`changed_ns` is when the file was changed: it is read again then."""
    return ssl.create_default_context(cafile=ca_file or None)


def _tls_text(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    return str(error.reason or error.strerror or error).lower().replace("_", " ")
