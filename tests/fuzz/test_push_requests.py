"""Any bytes that reach the push hook are answered or dropped, and none are taken for a push."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gitvs.adapters.service.push_hook import PATH
from tests.adapters.service.test_push_hook import Served, received
from tests.support.effort import examples

PARTS = [
    *(f"{method} {path} HTTP/{version}\r\n".encode()
      for method in ("POST", "GET") for path in (PATH, "/") for version in ("1.0", "1.1", "2.0")),
    b"Content-Length: 2\r\n", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: x\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: keep-alive\r\n",
    b"X-Hub-Signature-256: sha256=00\r\n", b"X-Gitlab-Token: \xff\xfe\r\n",
    b"Authorization: Bearer \r\n", b"webhook-signature: v1,\r\n", b"X-GitHub-Event: ping\r\n",
    b" folded\r\n", b"\r\n", b"\n", b"hi", b"\x00", b"\xff", b":",
]  # fmt: skip
REQUESTS = st.one_of(st.binary(), st.lists(st.sampled_from(PARTS) | st.binary()).map(b"".join))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(Path(tmp_path_factory.mktemp("hook")))
    made.hook.serve(made.settings)
    yield made
    made.hook.stop()


@settings(
    max_examples=examples(300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(REQUESTS)
@example(b"POST /hooks/push HTTP/1.1\r\nContent-Length: 2\r\nX-Gitlab-Token:\r\n\r\nhi")
@example(b"\r\n\r\n")
@example(b"GET /\r\n\r\n")
def test_any_bytes_are_answered_or_dropped(
    served: Served, capfd: pytest.CaptureFixture[str], request_bytes: bytes
) -> None:
    with served.connected(request_bytes) as client:
        client.shutdown(socket.SHUT_WR)
        answer = received(client)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert served.pushes == 0
    assert capfd.readouterr() == ("", ""), "a traceback"
