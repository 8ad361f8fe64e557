"""The control socket: one request, one answer, and who may ask."""

from __future__ import annotations

import json
import os
import select
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitvs.adapters.service import control_socket
from gitvs.adapters.service.control_socket import (
    _MAX_CONNECTIONS,
    ControlServer,
    Peer,
    RequestJson,
    ResponseJson,
    link_socket,
    make_socket,
    send_request,
)
from gitvs.core.errors import (
    AgentNotAnswering,
    AgentUnreachable,
    ControlFailed,
    ExitCode,
    SourceError,
)
from gitvs.core.settings import DEFAULT_SOCKET_PATH, DEFAULT_STATE_DIR, socket_path_of
from tests.support.effort import examples


@contextmanager
def serving(path: Path, answer: Callable[[RequestJson, Peer], ResponseJson]) -> Iterator[Path]:
    server = ControlServer(make_socket(path), answer)
    server.start()
    try:
        yield path
    finally:
        server.stop()


def echo(request: RequestJson, peer: Peer) -> ResponseJson:
    return {"request": dict(request), "uid": peer.uid, "pid": peer.pid}


def raw(path: Path, data: bytes) -> Any:
    """Send bytes as they are, and return the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return json.loads(connection.makefile("rb").readline())


def test_an_answer_comes_back_with_who_asked_as_the_kernel_says(tmp_path: Path) -> None:
    with serving(tmp_path / "s", echo) as path:
        answer = send_request(path, {"command": "status"})
    assert answer == {"request": {"command": "status"}, "uid": os.geteuid(), "pid": os.getpid()}


def test_a_refusal_comes_back_with_its_words_and_exit_code(tmp_path: Path) -> None:
    def refuse(request: RequestJson, peer: Peer) -> ResponseJson:
        raise ControlFailed("no such server", ExitCode.USAGE)

    with serving(tmp_path / "s", refuse) as path, pytest.raises(ControlFailed) as refusal:
        send_request(path, {})
    assert (str(refusal.value), refusal.value.exit_code) == ("no such server", ExitCode.USAGE)


def test_every_expected_error_becomes_an_answer(tmp_path: Path) -> None:
    def fail(request: RequestJson, peer: Peer) -> ResponseJson:
        raise SourceError("no remote")

    with serving(tmp_path / "s", fail) as path, pytest.raises(ControlFailed, match="no remote"):
        send_request(path, {})


def test_a_bug_is_no_secret_and_ends_nothing(tmp_path: Path) -> None:
    def break_down(request: RequestJson, peer: Peer) -> ResponseJson:
        raise ZeroDivisionError

    with serving(tmp_path / "s", break_down) as path:
        for _ in range(2):
            with pytest.raises(ControlFailed, match="met a bug"):
                send_request(path, {})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"[1]\n",
        b"nonsense\n",
        b"\xff\n",
        b"x" * 100_000,
        b"[" * 60_000,
        b'{"a":' * 10_000 + b"\n",
        b"9" * 5_000,
    ],
)
def test_what_is_no_request_is_refused(tmp_path: Path, data: bytes) -> None:
    with serving(tmp_path / "s", echo) as path:
        answer = raw(path, data)
    assert not answer["ok"]
    assert "one JSON object on one line" in answer["error"]


def test_a_client_that_says_nothing_keeps_nobody_waiting(tmp_path: Path) -> None:
    with serving(tmp_path / "s", echo) as path, socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        assert send_request(path, {"n": 1}, 3)["request"] == {"n": 1}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits only a moment for a request."""
    monkeypatch.setattr(control_socket, "_REQUEST_TIMEOUT_SECONDS", 0.1)


def test_a_client_that_says_nothing_is_told_so_and_is_no_bug(
    tmp_path: Path, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path / "s", echo) as path, socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        answer = json.loads(silent.makefile("rb").readline())
    assert answer["error"] == "no complete request came within 0.1 s; nothing was done"
    assert not caplog.records


def test_a_client_that_drips_its_request_is_given_up_too(tmp_path: Path, impatient: None) -> None:
    with serving(tmp_path / "s", echo) as path, socket.socket(socket.AF_UNIX) as dripping:
        dripping.connect(str(path))
        with suppress(BrokenPipeError):
            while not select.select([dripping], [], [], 0.02)[0]:
                dripping.sendall(b" ")
        assert "no complete request came" in json.loads(dripping.makefile("rb").readline())["error"]


def test_a_client_that_goes_away_is_no_bug(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path / "s", echo) as path:
        for data in (b"", b"{", b"{}\n"):
            with socket.socket(socket.AF_UNIX) as leaving:
                leaving.connect(str(path))
                leaving.sendall(data)
        assert send_request(path, {"n": 1})["request"] == {"n": 1}
        while any(thread.name == "control-request" for thread in threading.enumerate()):
            threading.Event().wait(0.01)
    assert not caplog.records


def test_beside_as_many_silent_clients_as_there_may_be_others_hear_busy(tmp_path: Path) -> None:
    with serving(tmp_path / "s", echo) as path, ExitStack() as stack:
        for _ in range(_MAX_CONNECTIONS):
            silent = stack.enter_context(socket.socket(socket.AF_UNIX))
            silent.connect(str(path))
        for _ in range(20):
            with pytest.raises(ControlFailed, match=r"already answers 32 requests.*try again"):
                send_request(path, {"command": "status"})


def test_an_answer_that_came_before_the_request_was_sent_is_read(tmp_path: Path) -> None:
    listener = make_socket(tmp_path / "s")

    def refuse_at_once() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b'{"ok": false, "error": "busy", "exitCode": 1}\n')

    server = threading.Thread(target=refuse_at_once)
    server.start()
    with pytest.raises(ControlFailed, match="busy"):
        send_request(tmp_path / "s", {"text": "x" * 10_000_000})
    server.join()
    listener.close()


def test_a_queue_that_is_full_is_no_missing_agent(tmp_path: Path) -> None:
    with closing(make_socket(tmp_path / "s")) as listener, ExitStack() as stack:
        listener.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(tmp_path / "s"))
        with pytest.raises(AgentNotAnswering, match="try again"):
            send_request(tmp_path / "s", {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def echoing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(tmp_path_factory.mktemp("echo") / "s", lambda request, peer: {}) as path:
        yield path


@given(
    data=st.binary(max_size=200)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.tuples(json_values, st.binary(max_size=9)).map(lambda v: json.dumps(v[0]).encode() + v[1])
)
@settings(max_examples=examples(300))
def test_whatever_a_client_sends_gets_an_answer_that_is_no_bug(echoing: Path, data: bytes) -> None:
    answer = raw(echoing, data)
    assert answer["ok"] or "one JSON object on one line" in answer["error"]


def test_no_error_ends_the_control_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        monkeypatch.undo()
        raise MemoryError("no memory")

    with serving(tmp_path / "s", echo) as path:
        monkeypatch.setattr(threading.BoundedSemaphore, "acquire", fail)
        with pytest.raises((AgentUnreachable, ControlFailed)):
            send_request(path, {})
        assert send_request(path, {"n": 1})["request"] == {"n": 1}
    assert [r.getMessage() for r in caplog.records] == ["control socket reason=no memory"]


def test_clients_are_answered_side_by_side(tmp_path: Path) -> None:
    meeting = threading.Barrier(3, timeout=120)

    def meet(request: RequestJson, peer: Peer) -> ResponseJson:
        meeting.wait()
        return {}

    with serving(tmp_path / "s", meet) as path:
        clients = [threading.Thread(target=send_request, args=(path, {})) for _ in range(3)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(120)
            assert not client.is_alive()


def test_a_socket_of_our_own_is_for_our_user_alone_and_replaces_a_dead_one(tmp_path: Path) -> None:
    make_socket(tmp_path / "s").close()
    with serving(tmp_path / "s", echo) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        send_request(path, {})


def test_the_socket_that_systemd_made_is_found_from_the_state_folder(tmp_path: Path) -> None:
    listener = make_socket(tmp_path / "run")
    server = ControlServer(listener, echo)
    server.start()
    for _ in range(2):  # a link of an earlier start is replaced
        link_socket(listener, tmp_path / "state")
    link_socket(listener, tmp_path / "run")
    link_socket(listener, tmp_path / "missing" / "state")
    assert send_request(tmp_path / "state", {"n": 1})["request"] == {"n": 1}
    server.stop()


def test_no_agent_is_told_with_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(AgentUnreachable, match="systemctl status gitvs"):
        send_request(tmp_path / "nowhere", {})


def test_a_busy_agent_is_given_up_after_the_time_that_was_said(tmp_path: Path) -> None:
    done = threading.Event()

    def dawdle(request: RequestJson, peer: Peer) -> ResponseJson:
        done.wait(120)
        return {}

    with serving(tmp_path / "s", dawdle) as path:
        with pytest.raises(AgentUnreachable, match=r"within 0\.2 s"):
            send_request(path, {}, 0.2)
        done.set()


def test_the_usual_state_folder_has_its_socket_where_systemd_makes_it(tmp_path: Path) -> None:
    assert socket_path_of(DEFAULT_STATE_DIR) == DEFAULT_SOCKET_PATH
    assert socket_path_of(tmp_path) == tmp_path / "control.sock"
