"""`gitvs health` asks the running agent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitvs.adapters.service.control_socket import make_socket
from gitvs.core.status.agent_status import AgentStatus
from gitvs.report.status.status_json import status_json
from tests.support.command_line import Gitvs, in_process
from tests.support.statuses import everything, in_sync


@pytest.fixture
def gitvs(capsys: pytest.CaptureFixture[str]) -> Gitvs:
    return in_process(capsys)


@contextmanager
def agent_with(status: AgentStatus, folder: Path) -> Iterator[None]:
    """Answer one request for the status."""
    listener = make_socket(folder / "control.sock")

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            reply = {"ok": True, "result": status_json(status)}
            connection.sendall(json.dumps(reply).encode() + b"\n")

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    thread.join()
    listener.close()


def test_the_checks_of_a_service_are_shown(gitvs: Gitvs, tmp_path: Path) -> None:
    with agent_with(everything(), tmp_path):
        ran = gitvs("health", "web", "--state-dir", str(tmp_path))
    assert ran.code == 0
    assert "10.0.0.4:8080" in ran.out
    assert "down 42s: refused" in ran.out


def test_programs_get_the_health_alone(gitvs: Gitvs, tmp_path: Path) -> None:
    with agent_with(everything(), tmp_path):
        ran = gitvs("health", "--json", "--state-dir", str(tmp_path))
    [service] = json.loads(ran.out)
    assert service["key"] == "tcp 203.0.113.10:80"
    assert service["health"]["counts"]["down"] == 1


def test_a_director_without_checks_says_so(gitvs: Gitvs, tmp_path: Path) -> None:
    with agent_with(in_sync(), tmp_path):
        ran = gitvs("health", "--state-dir", str(tmp_path))
    assert ran.code == 64
    assert "no Service on this director has health checks" in ran.err


def test_without_an_agent_nothing_is_known(gitvs: Gitvs, tmp_path: Path) -> None:
    ran = gitvs("health", "--state-dir", str(tmp_path))
    assert ran.code == 1
    assert "agent" in ran.err
