"""The hook: where a forge or a CI job says, over HTTP, that there was a push.

A push that is proven sets off a fetch and nothing else. Its body is never parsed: what is
fetched comes from the remote alone, checked as after a poll. How requests are signed is known to
`push_signatures`; how often the agent fetches is decided by its fetch thread.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from threading import Lock
from typing import Any

from gitvs.adapters.service.http_server import HttpListener, HttpServer
from gitvs.adapters.service.push_signatures import Event, Proof, event_of, proof_of, read_secret
from gitvs.core.errors import CannotListen, SettingsError
from gitvs.core.settings import HookSettings
from gitvs.core.status.agent_status import HookStatus

log = logging.getLogger(__name__)

PATH = "/hooks/push"

MAX_BODY_BYTES = 2**20
"""Forges send kilobytes for a push. GitHub's limit is 25 MB, for pushes of 2,000 commits; such
a push is found by the next poll."""

MAX_HEAD_BYTES = 2**15
REFUSAL_LOG_SECONDS = 60.0
"""How often refused requests are logged at most."""

_MAX_DISCARDED_BYTES = 2**25
_CHUNK_BYTES = 2**16


class HookResult(StrEnum):
    """How a request ended, as metrics name it."""

    ACCEPTED = "accepted"
    IGNORED = "ignored"
    """A proven event that is not a push."""
    UNSIGNED = "unsigned"
    WRONG_SIGNATURE = "wrong-signature"
    MALFORMED = "malformed"
    """Another path or method, too large, or not HTTP."""
    NO_SECRET = "no-secret"
    """The secret could not be read."""


class PushHook:
    """The hook of one agent. What keeps it from listening is reported, and tried again."""

    def __init__(
        self, on_push: Callable[[], object], count: Callable[[HookResult], object]
    ) -> None:
        """Prepare; both functions are called in the threads of requests."""
        self._on_push = on_push
        self._count = count
        self._settings = HookSettings()
        self._listener: HttpListener | None = None
        self._last_push_at: datetime | None = None
        self._error = ""
        self._refusals = _RefusalLog()

    @property
    def status(self) -> HookStatus | None:
        """How it is; None if the settings switch it off."""
        if not self._settings.listen:
            return None
        return HookStatus(self._settings.listen, self._last_push_at, self._error)

    @property
    def address(self) -> str:
        """Where it listens, as `127.0.0.1:9713`; empty if it does not."""
        return "" if self._listener is None else self._listener.address

    def serve(self, settings: HookSettings) -> None:
        """Listen as these settings say from now on."""
        if settings.listen != self._settings.listen:
            self.stop()
        self._settings, self._error = settings, ""
        self.check()

    def check(self) -> None:
        """Listen if that was not possible before, and see whether there is a secret.

        Called by the worker every few seconds. A hook that fails keeps nothing else from working:
        commits come by polls. Each problem is logged once.
        """
        if not self._settings.listen:
            return
        try:
            self._listen()
            read_secret(self._settings.secret_file)
        except (SettingsError, CannotListen) as error:
            self._report(str(error))
        else:
            self._report("")

    def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None

    def _listen(self) -> None:
        if self._listener is not None and not self._listener.is_alive():
            log.error("hook ended unexpectedly, started again")
            self.stop()
        if self._listener is None:
            handler = partial(_Handler, self)
            self._listener = HttpListener("hook.listen", self._settings.listen, handler)
            log.info("hook listens address=%s", self._listener.address)

    def _report(self, error: str) -> None:
        if error and error != self._error:
            log.error("no push is accepted reason=%s", error)
        if self._error and not error:
            log.info("pushes are accepted again")
        self._error = error

    def answer(self, request: _Handler, body: bytes) -> tuple[HookResult, HTTPStatus]:
        """Check a complete request, and set off a fetch if it announces a push."""
        try:
            secret = read_secret(self._settings.secret_file)
        except SettingsError:  # reported by the next check
            return HookResult.NO_SECRET, HTTPStatus.SERVICE_UNAVAILABLE
        proof = proof_of(request.headers, body, secret)
        if proof is Proof.MISSING:
            return HookResult.UNSIGNED, HTTPStatus.UNAUTHORIZED
        if proof is Proof.WRONG:
            return HookResult.WRONG_SIGNATURE, HTTPStatus.FORBIDDEN
        event = event_of(request.headers)
        if event is not Event.PUSH:
            is_ping = event is Event.PING
            return HookResult.IGNORED, HTTPStatus.OK if is_ping else HTTPStatus.NO_CONTENT
        self._last_push_at = datetime.now(UTC)
        log.info("push announced from=%s", request.client_address[0])
        self._on_push()
        return HookResult.ACCEPTED, HTTPStatus.ACCEPTED

    def record(self, result: HookResult, client: str) -> None:
        """Count a request, and log refused ones now and then."""
        self._count(result)
        if result not in (HookResult.ACCEPTED, HookResult.IGNORED):
            self._refusals.record(result, client)


class _RefusalLog:
    """Logs refused requests, at most once a minute: anybody can send thousands."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[HookResult] = Counter()
        self._next_log_monotonic = float("-inf")

    def record(self, result: HookResult, client: str) -> None:
        """Count a refused request, and log what was counted if the last time is long ago."""
        with self._lock:
            self._counts[result] += 1
            if time.monotonic() < self._next_log_monotonic:
                return
            self._next_log_monotonic = time.monotonic() + REFUSAL_LOG_SECONDS
            counts, self._counts = self._counts, Counter()
        text = " ".join(f"{name}={number}" for name, number in sorted(counts.items()))
        log.warning("pushes refused %s last_from=%s", text, client)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request and closes: nothing that follows it is read as another one."""

    server: HttpServer
    protocol_version = "HTTP/1.1"  # so that `Expect: 100-continue` has its answer
    default_request_version = "HTTP/1.0"  # so that what is not HTTP has an answer with a status
    request_version, command = default_request_version, ""

    def __init__(self, hook: PushHook, *arguments: Any) -> None:
        self._hook = hook
        super().__init__(*arguments)

    def handle(self) -> None:
        """Answer a request."""
        head = self._receive_head()
        if len(head) >= MAX_HEAD_BYTES:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif head.endswith((b"\n\r\n", b"\n\n")):
            self.raw_requestline, _, fields = head.partition(b"\n")
            rest, self.rfile = self.rfile, BytesIO(fields)
            is_request = self.parse_request()  # answers what is not HTTP
            self.rfile = rest
            if is_request:
                self._handle_request()

    def _receive_head(self) -> bytes:
        """Read up to the empty line, however many lines and fields that are."""
        head = b""
        while not head.endswith((b"\n\r\n", b"\n\n")):
            line = self.rfile.readline(MAX_HEAD_BYTES - len(head))  # empty at the limit, too
            if not line:
                break
            head += line
        return head

    def _handle_request(self) -> None:
        if self.path != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
        elif self.command != "POST":
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)
        elif (length := _content_length(self.headers)) is None:
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
        elif length > MAX_BODY_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._handle_push(length)

    def _handle_push(self, length: int) -> None:
        if "Expect" in self.headers:
            super().handle_expect_100()
        body = self.rfile.read(length)
        if len(body) == length and self.server.connections.mark_received(self.connection):
            self._answer(*self._hook.answer(self, body))

    def _answer(self, result: HookResult, status: HTTPStatus) -> None:
        self._hook.record(result, str(self.client_address[0]))
        self.send_response_only(status)
        self.send_header("Connection", "close")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST")
        text = b"" if status is HTTPStatus.NO_CONTENT else f"{status.phrase}\n".encode()
        if text:
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else text)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request for a push, and read on, so that the client sees the answer.

        A connection that is closed with bytes unread is reset, and the answer may be lost.
        """
        self._answer(HookResult.MALFORMED, HTTPStatus(code))
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
        for _ in range(_MAX_DISCARDED_BYTES // _CHUNK_BYTES):
            if not self.rfile.read(_CHUNK_BYTES):
                break

    def handle_expect_100(self) -> bool:
        """Wait with the answer to `Expect: 100-continue` until the head is checked."""
        return True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: `PushHook` does."""


def _content_length(headers: Any) -> int | None:
    """Return the length of the body; None if it is not known before it is read."""
    text = str(headers.get("Content-Length", ""))
    is_number = text.isascii() and text.isdecimal()
    return int(text[:20]) if is_number and "Transfer-Encoding" not in headers else None
