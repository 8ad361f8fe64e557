"""`gitvs check` as somebody runs it on a laptop, against real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import Gitvs, in_process
from tests.support.health.servers import listening, refusing, saying, saying_and_closing
from tests.support.manifests.writing import Doc, director, file_of, service

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def gitvs(capsys: pytest.CaptureFixture[str]) -> Gitvs:
    return in_process(capsys)


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """A port where a web server answers, and one where nobody listens."""
    with listening(saying(OK)) as port, refusing() as closed:
        yield port, closed


def folder_with(tmp_path: Path, *services: Doc) -> str:
    (tmp_path / "all.yaml").write_bytes(file_of("all.yaml", director("lb1"), *services).data)
    return str(tmp_path)


def web(*ports: int, name: str = "web", vip: str = "203.0.113.10", check: str = "tcp") -> Doc:
    servers = [
        {"name": f"{name}{number}", "address": "127.0.0.1", "port": port}
        for number, port in enumerate(ports, 1)
    ]
    health = {"timeout": "2s", "checks": [{check: {}}]}
    return service(name, vips=[vip], ports=[{"port": 80}], realServers=servers, health=health)


def test_real_servers_that_answer_pass(
    gitvs: Gitvs, tmp_path: Path, ports: tuple[int, int]
) -> None:
    folder = folder_with(tmp_path, web(ports[0], check="http"))
    ran = gitvs("check", "web", "--path", folder, "--director", "lb1")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "1 check: 1 passed"
    assert f"127.0.0.1:{ports[0]}" in ran.out


def test_one_that_does_not_is_named_with_the_reason(
    gitvs: Gitvs, tmp_path: Path, ports: tuple[int, int]
) -> None:
    folder = folder_with(tmp_path, web(*ports))
    ran = gitvs("check", "--path", folder, "--director", "lb1", "--count", "2")
    assert ran.code == 2
    assert "fail 2 of 2" in ran.out
    assert "refused: Connection refused" in ran.out
    assert ran.out.splitlines()[-1] == "2 checks: 1 passed, 1 failed"


def test_programs_get_json(gitvs: Gitvs, tmp_path: Path, ports: tuple[int, int]) -> None:
    folder = folder_with(tmp_path, web(*ports, check="http"))
    ran = gitvs("check", "--path", folder, "--director", "lb1", "--format", "json")
    good, bad = json.loads(ran.out)
    assert (ran.code, good["passed"], bad["failed"]) == (2, 1, 1)
    assert (bad["name"], bad["failure"], bad["check"]) == ("web2", "refused", "http /")


def test_a_wrong_answer_is_quoted(gitvs: Gitvs, tmp_path: Path) -> None:
    with listening(saying_and_closing(b"220 mx \x1b[2J ESMTP\r\n")) as port:
        folder = folder_with(tmp_path, web(port, check="http"))
        ran = gitvs("check", "--path", folder, "--director", "lb1")
    assert "content: it is no HTTP/1: '220 mx \\x1b[2J ESMTP" in ran.out
    assert "\x1b" not in ran.out


def test_only_what_is_asked_for_is_checked(
    gitvs: Gitvs, tmp_path: Path, ports: tuple[int, int]
) -> None:
    shop = web(ports[1], name="shop", vip="203.0.113.11")
    folder = folder_with(tmp_path, web(*ports), shop)
    for words, count in ((["web"], 2), (["--server", "web1"], 1), (["--server", "127.0.0.1"], 3)):
        ran = gitvs("check", *words, "--path", folder, "--director", "lb1", "--format", "json")
        assert len(json.loads(ran.out)) == count


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["mail"], "no Service mail on lb1 has health checks; those with checks are web"),
        (["--server", "web9"], "no Service on lb1 with a real server web9 has health checks"),
        (["--count", "0"], "--count"),
    ],
)
def test_what_is_not_there_is_a_wrong_usage(
    gitvs: Gitvs, tmp_path: Path, ports: tuple[int, int], words: list[str], says: str
) -> None:
    folder = folder_with(tmp_path, web(ports[0]))
    ran = gitvs("check", *words, "--path", folder, "--director", "lb1")
    assert ran.code == 64
    assert says in ran.err


def test_invalid_manifests_are_checked_by_nobody(gitvs: Gitvs, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, web(80, check="tpc"))
    ran = gitvs("check", "--path", folder, "--director", "lb1")
    assert (ran.code, ran.out) == (4, "")
