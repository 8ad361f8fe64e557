"""The control socket: one request, one answer, and who may ask."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gitvs.adapters.service.control_socket import (
    ControlServer,
    Peer,
    RequestJson,
    ResponseJson,
    make_socket,
    send_request,
)
from gitvs.core.errors import AgentUnreachable, ControlFailed, ExitCode, SourceError
from gitvs.core.settings import DEFAULT_SOCKET_PATH, DEFAULT_STATE_DIR, socket_path_of


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


@pytest.mark.parametrize("data", [b"", b"\n", b"[1]\n", b"nonsense\n", b"x" * 100_000])
def test_what_is_no_request_is_refused(tmp_path: Path, data: bytes) -> None:
    with serving(tmp_path / "s", echo) as path:
        answer = raw(path, data)
    assert not answer["ok"]
    assert "one JSON object on one line" in answer["error"]


def test_a_client_that_says_nothing_keeps_nobody_waiting(tmp_path: Path) -> None:
    with serving(tmp_path / "s", echo) as path, socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        assert send_request(path, {"n": 1}, 3)["request"] == {"n": 1}


def test_clients_are_answered_side_by_side(tmp_path: Path) -> None:
    meeting = threading.Barrier(3, timeout=10)

    def meet(request: RequestJson, peer: Peer) -> ResponseJson:
        meeting.wait()
        return {}

    with serving(tmp_path / "s", meet) as path:
        clients = [threading.Thread(target=send_request, args=(path, {})) for _ in range(3)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(10)
            assert not client.is_alive()


def test_a_socket_of_our_own_is_for_our_user_alone_and_replaces_a_dead_one(tmp_path: Path) -> None:
    make_socket(tmp_path / "s").close()
    with serving(tmp_path / "s", echo) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        send_request(path, {})


def test_no_agent_is_told_with_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(AgentUnreachable, match="systemctl status gitvs"):
        send_request(tmp_path / "nowhere", {})


def test_a_busy_agent_is_given_up_after_the_time_that_was_said(tmp_path: Path) -> None:
    done = threading.Event()

    def dawdle(request: RequestJson, peer: Peer) -> ResponseJson:
        done.wait(10)
        return {}

    with serving(tmp_path / "s", dawdle) as path:
        with pytest.raises(AgentUnreachable, match=r"within 0\.2 s"):
            send_request(path, {}, 0.2)
        done.set()


def test_the_usual_state_folder_has_its_socket_where_systemd_makes_it(tmp_path: Path) -> None:
    assert socket_path_of(DEFAULT_STATE_DIR) == DEFAULT_SOCKET_PATH
    assert socket_path_of(tmp_path) == tmp_path / "control.sock"
