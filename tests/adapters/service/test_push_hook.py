"""The push hook over real HTTP: what it takes, what it refuses, and clients that mean no good."""

from __future__ import annotations

import hmac
import http.client
import logging
import select
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitvs import __version__
from gitvs.adapters.service import http_server
from gitvs.adapters.service.http_server import MAX_CONNECTIONS
from gitvs.adapters.service.push_hook import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    PATH,
    HookResult,
    PushHook,
)
from gitvs.core.settings import HookSettings
from tests.support.agents import eventually

SECRET = b"correct horse battery staple"
BODY = b'{"ref": "refs/heads/main"}'


class Served:
    """A hook that listens, what it set off, and what it counted."""

    def __init__(self, folder: Path, listen: str = "127.0.0.1:0") -> None:
        self.secret_file = folder / "secret"
        self.secret_file.write_bytes(SECRET)
        self.secret_file.chmod(0o640)
        self.pushes = 0
        self.counts: Counter[HookResult] = Counter()
        self._lock = threading.Lock()
        self.hook = PushHook(self._push, self._count)
        self.settings = HookSettings(listen, self.secret_file)

    def _push(self) -> None:
        with self._lock:
            self.pushes += 1

    def _count(self, result: HookResult) -> None:
        with self._lock:
            self.counts[result] += 1

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.hook.address.rpartition(":")
        return host.strip("[]"), int(port)

    def ask(
        self,
        headers: dict[str, str],
        body: bytes = BODY,
        method: str = "POST",
        path: str = PATH,
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response

    def send(self, data: bytes) -> bytes:
        """Send bytes, and return all that is answered."""
        with self.connected(data) as client:
            return received(client)

    def connected(self, data: bytes = b"") -> socket.socket:
        client = socket.create_connection(self.address, timeout=20)
        client.sendall(data)
        return client


def received(client: socket.socket) -> bytes:
    answer = b""
    with suppress(ConnectionError):
        while part := client.recv(1 << 16):
            answer += part
    return answer


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    made.hook.serve(made.settings)
    yield made
    made.hook.stop()


def signed(body: bytes = BODY, event: str = "push") -> dict[str, str]:
    digest = hmac.digest(SECRET, body, "sha256").hex()
    return {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Event": event}


def raw(*lines: str, body: bytes = BODY, path: str = PATH) -> bytes:
    """A signed request as bytes, with more header lines."""
    headers = [f"{name}: {value}" for name, value in signed(body).items()]
    return "\r\n".join([f"POST {path} HTTP/1.1", *headers, *lines, "", ""]).encode() + body


def messages(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= level]


def test_a_proven_push_is_accepted(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert served.ask(signed()).status == 202
    assert (served.pushes, served.counts) == (1, {HookResult.ACCEPTED: 1})
    assert messages(caplog, logging.INFO)[-1] == "push announced from=127.0.0.1"
    status = served.hook.status
    assert status is not None
    assert status.listen == "127.0.0.1:0"
    assert status.error == ""
    assert status.last_push_at is not None
    assert abs((datetime.now(UTC) - status.last_push_at).total_seconds()) < 60


@pytest.mark.parametrize(
    ("headers", "code", "result"),
    [
        (signed(event="ping"), 200, HookResult.IGNORED),
        (signed(event="issues"), 204, HookResult.IGNORED),
        ({}, 401, HookResult.UNSIGNED),
        ({"X-GitHub-Event": "ping"}, 401, HookResult.UNSIGNED),
        ({"X-Hub-Signature-256": "sha256=" + "0" * 64}, 403, HookResult.WRONG_SIGNATURE),
        ({"X-Gitlab-Token": "guessed"}, 403, HookResult.WRONG_SIGNATURE),
        (signed(BODY + b"x"), 403, HookResult.WRONG_SIGNATURE),
    ],
)
def test_anything_else_sets_off_nothing(
    served: Served, headers: dict[str, str], code: int, result: HookResult
) -> None:
    assert served.ask(headers).status == code
    assert (served.pushes, served.counts) == (0, {result: 1})


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", PATH, 405),
        ("HEAD", PATH, 405),
        ("PUT", PATH, 405),
        ("BREW", PATH, 405),
        ("POST", "/", 404),
        ("GET", "/metrics", 404),
        ("POST", f"{PATH}/", 404),
        ("POST", f"{PATH}?a=b", 404),
        ("POST", "/hooks/%70ush", 404),
        ("POST", "/../hooks/push", 404),
    ],
)
def test_there_is_one_path_and_one_method(
    served: Served, method: str, path: str, code: int
) -> None:
    response = served.ask(signed(), method=method, path=path)
    assert response.status == code
    assert response.getheader("Allow") == ("POST" if code == 405 else None)
    assert (served.pushes, served.counts) == (0, {HookResult.MALFORMED: 1})


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (raw(f"Content-Length: {len(BODY)}"), 202),
        (raw(), 411),
        (raw("Content-Length: -1"), 411),
        (raw("Content-Length: +26"), 411),
        (raw("Content-Length: ٢٦"), 411),
        (raw("Transfer-Encoding: chunked", body=b"1a\r\n" + BODY + b"\r\n0\r\n\r\n"), 411),
        (raw(f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"), 411),
        (raw(f"Content-Length: {MAX_BODY_BYTES + 1}"), 413),
        (raw("Content-Length: " + "9" * 5000), 413),
        (raw("X: " + "y" * MAX_HEAD_BYTES), 431),
        (raw(*["X: y"] * 101), 431),
        (raw(*["X: y"] * 100_000), 431),
        (b"GET /" + b"a" * MAX_HEAD_BYTES, 431),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"POST /hooks/push\r\n\r\n", 400),
        (b"POST /hooks/push HTTP/2.0\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"POST /hooks/push HTTP/x\r\n\r\n", 400),
        (b"POST /hooks/push HTTP/1.1\r\n\x00: \xff\r\n\r\n", 411),
    ],
)
def test_what_is_no_small_whole_request_is_refused(
    served: Served, request_bytes: bytes, code: int
) -> None:
    with served.connected(request_bytes) as client:
        client.shutdown(socket.SHUT_WR)
        answer = received(client)
    assert answer.split(b" ")[1] == str(code).encode(), answer
    assert served.pushes == (1 if code == 202 else 0)
    eventually(lambda: not request_threads())


def test_the_largest_body_is_taken_and_a_larger_one_is_answered_while_it_comes(
    served: Served,
) -> None:
    body = b"x" * MAX_BODY_BYTES
    assert served.ask(signed(body), body).status == 202
    body = b"x" * (4 * MAX_BODY_BYTES)
    assert served.ask(signed(body), body).status == 413
    assert served.pushes == 1


def test_a_client_that_asks_before_it_sends_is_answered(served: Served) -> None:
    head = raw(f"Content-Length: {len(BODY)}", "Expect: 100-continue", body=b"").replace(
        signed(b"")["X-Hub-Signature-256"].encode(), signed()["X-Hub-Signature-256"].encode()
    )
    with served.connected(head) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(BODY)
        assert received(client).startswith(b"HTTP/1.1 202 ")
    with served.connected(raw(f"Content-Length: {2**40}", "Expect: 100-continue")) as client:
        client.shutdown(socket.SHUT_WR)
        assert received(client).startswith(b"HTTP/1.1 413 ")


def test_a_connection_carries_one_request(served: Served) -> None:
    """What follows in a pipeline is never read as another request."""
    one = raw(f"Content-Length: {len(BODY)}", "Connection: keep-alive")
    answer = served.send(one * 3)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert served.pushes == 1
    smuggled = raw("Content-Length: 0", "Transfer-Encoding: chunked", body=one)
    served.send(smuggled)
    assert served.pushes == 1


def test_answers_say_nothing_about_gitvs(served: Served) -> None:
    answers = [
        served.send(raw(f"Content-Length: {len(BODY)}")),
        served.send(raw("Content-Length: 0", body=b"")),
        *(
            served.send(f"{line} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
            for line in ("GET /", f"GET {PATH}", f"POST {PATH}", "x")
        ),
    ]
    for answer in answers:
        head, _, text = answer.partition(b"\r\n\r\n")
        names = {line.partition(b":")[0] for line in head.split(b"\r\n")[1:]}
        assert names <= {b"Connection", b"Allow", b"Content-Type", b"Content-Length"}
        for word in (b"gitvs", b"Python", __version__.encode(), SECRET):
            assert word not in answer
        assert len(text) < 100


def test_a_new_secret_counts_at_once(served: Served) -> None:
    served.secret_file.write_bytes(b"another secret, as long as that\n")
    assert served.ask(signed()).status == 403
    served.secret_file.write_bytes(SECRET)
    assert served.ask(signed()).status == 202


def test_without_a_secret_nothing_is_accepted_and_that_is_said_once(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    served.secret_file.unlink()
    empty = hmac.digest(b"", BODY, "sha256").hex()
    assert served.ask(signed()).status == 503
    assert served.ask({"X-Gitea-Signature": empty}).status == 503
    assert served.ask({"X-Gitlab-Token": ""}).status == 503
    assert (served.pushes, served.counts) == (0, {HookResult.NO_SECRET: 3})
    caplog.clear()
    for _ in range(3):
        served.hook.check()
    [said] = messages(caplog)
    assert "cannot be read: No such file" in said
    assert served.hook.status is not None
    assert served.hook.status.error in said
    served.secret_file.write_bytes(SECRET)
    served.secret_file.chmod(0o600)
    served.hook.check()
    assert messages(caplog, logging.INFO)[-1] == "pushes are accepted again"
    assert served.hook.status.error == ""
    assert served.ask(signed()).status == 202
    assert SECRET.decode() not in caplog.text


# Where it listens


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
def test_it_listens_where_the_settings_say(tmp_path: Path, listen: str) -> None:
    served = Served(tmp_path, listen)
    served.hook.serve(served.settings)
    assert served.hook.address.startswith(listen[:-1])
    assert served.ask(signed()).status == 202
    served.hook.serve(HookSettings())
    assert served.hook.address == ""
    assert served.hook.status is None


def test_an_address_that_is_taken_is_named_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        served = Served(tmp_path, f"127.0.0.1:{port}")
        for _ in range(2):
            served.hook.serve(served.settings)
            served.hook.check()
        expected = (
            f"hook.listen: cannot listen on 127.0.0.1:{port}: Address already in use (EADDRINUSE);"
            ' choose another address or another port from 1024 on, or "" for none'
        )
        assert messages(caplog) == [f"no push is accepted reason={expected}"] * 2
        assert served.hook.status is not None
        assert served.hook.status.error == expected
    served.hook.check()
    assert served.ask(signed()).status == 202
    served.hook.stop()


def test_a_host_without_a_free_thread_has_a_hook_once_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    served = Served(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        served.hook.serve(served.settings)
    assert served.hook.status is not None
    assert served.hook.status.error == (
        "hook.listen: nothing listens on 127.0.0.1:0: can't start new thread"
    )
    served.hook.check()
    assert served.ask(signed()).status == 202
    served.hook.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_hook_whose_thread_died_is_started_again(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    listener = served.hook._listener
    assert listener is not None
    listener._server.service_actions = sys.exit  # type: ignore[method-assign]
    eventually(lambda: not listener.is_alive())
    for _ in range(2):
        served.hook.check()
    assert served.ask(signed()).status == 202
    assert messages(caplog) == ["hook ended unexpectedly, started again"]


# Clients that mean no good


def request_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if "process_request" in t.name]


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"POST /ho",
        raw("Content-Length: 26", body=b""),
        raw("Content-Length: 26", body=b"half"),
        raw("Content-Length: 99999999999", body=b""),
    ],
)
def test_clients_that_say_nothing_or_half_a_request_keep_no_push_away(
    served: Served, part: bytes
) -> None:
    with ExitStack() as stack:
        for _ in range(3 * MAX_CONNECTIONS):
            stack.enter_context(served.connected(part))
        for _ in range(3):
            assert served.ask(signed()).status == 202
        eventually(lambda: len(request_threads()) <= MAX_CONNECTIONS)
    assert served.pushes == 3


@pytest.mark.parametrize(
    "begin", [b"POST /hooks/push HTTP/1.1\r\n", raw("Content-Length: 1000000")]
)
def test_a_request_has_one_deadline_however_it_drips(
    served: Served, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.3)
    with served.connected(begin) as dripping:
        while not select.select([dripping], [], [], 0.05)[0]:
            dripping.sendall(b"X")
        assert b"202" not in received(dripping)
    eventually(lambda: not request_threads())
    assert served.pushes == 0


def test_a_request_that_breaks_off_sets_off_nothing(served: Served) -> None:
    """Even if the secret itself proves it, which no body can spoil."""
    whole = raw(f"X-Gitlab-Token: {SECRET.decode()}", f"Content-Length: {len(BODY)}")
    for length in range(0, len(whole), 7):
        with served.connected(whole[:length]) as client:
            client.shutdown(socket.SHUT_WR)
            received(client)
    eventually(lambda: not request_threads())
    assert served.pushes == 0


def test_refused_requests_are_logged_at_most_once_a_minute(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(20):
        served.ask({})
        served.ask({"X-Gitlab-Token": "guessed\x1b[2J"})
        served.ask({}, path="/x")
    assert messages(caplog) == ["pushes refused unsigned=1 last_from=127.0.0.1"]
    assert sum(served.counts.values()) == 60
    monkeypatch.setattr(served.hook._refusals, "_next_log_monotonic", 0.0)
    served.ask({})
    assert messages(caplog)[1:] == [
        "pushes refused malformed=20 unsigned=20 wrong-signature=20 last_from=127.0.0.1"
    ]


def test_a_hook_that_stops_leaves_no_connection_behind(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.hook.serve(served.settings)
    with served.connected(b"POST") as client:
        eventually(lambda: bool(request_threads()))
        served.hook.stop()
        assert received(client) == b""
    eventually(lambda: not request_threads())


def test_nothing_is_written_to_standard_error(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    for data in (b"", b"x\r\n\r\n", raw("Content-Length: 26"), raw("Content-Length: x")):
        served.send(data + b"\r\n\r\n")
    assert capfd.readouterr() == ("", "")
