"""The http and https checks against real servers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from gitvs.core.model.health import CheckTimes, Failure, HttpCheck, Probe, Tls
from gitvs.health.checks import http
from gitvs.health.checks.http import request_of
from gitvs.health.checks.results import Result
from tests.support.health import once
from tests.support.health.once import LITTLE, PLENTY
from tests.support.health.servers import (
    Speak,
    black_hole,
    dripping,
    flooding,
    listening,
    refusing,
    saying,
    saying_and_closing,
    silent,
)
from tests.support.health.tls import authority, secured

NAME = "www.example.org"
TLS = Tls(NAME)


def checked(
    port: int, check: HttpCheck | None = None, host: str = "127.0.0.1", seconds: float = PLENTY
) -> Result:
    return once.checked(check or HttpCheck(), port, host, seconds)


def answering(status: int, body: bytes = b"", *, asked: list[bytes] | None = None) -> Speak:
    """Answer a request with a status and a body."""

    def speak(connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            if not (part := connection.recv(4096)):
                return
            request += part
        if asked is not None:
            asked.append(request)
        length = len(body)
        connection.sendall(
            b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, length, body)
        )

    return speak


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_good_answer_passes(host: str, status: int) -> None:
    with listening(answering(status), host) as port:
        assert checked(port, host=host) == Result()


@pytest.mark.parametrize("status", [301, 404, 503])
def test_another_status_fails_unless_it_is_listed(status: int) -> None:
    with listening(answering(status)) as port:
        assert checked(port) == Result(Failure.STATUS, f"http {status}")
        assert checked(port, HttpCheck(status=((200, 299), (status, status)))) == Result()


def test_the_body_has_to_contain_what_is_expected() -> None:
    with listening(answering(200, "status: grün".encode())) as port:
        assert checked(port, HttpCheck(expect="grün")) == Result()
        result = checked(port, HttpCheck(expect="rot"))
    assert result.failure is Failure.CONTENT
    assert result.text == (
        "the expected text is not in the answer, which begins with 'status: grün'"
    )


def test_what_is_asked_is_what_the_check_says() -> None:
    asked: list[bytes] = []
    check = HttpCheck(
        path="/healthz?deep=1",
        method="HEAD",
        host=NAME,
        headers=(("X-Check", "gitvs"), ("user-agent", "probe")),
    )
    with listening(answering(200, asked=asked)) as port:
        assert checked(port, check) == Result()
    assert asked == [
        b"HEAD /healthz?deep=1 HTTP/1.1\r\nHost: www.example.org\r\nAccept: */*\r\n"
        b"Connection: close\r\nX-Check: gitvs\r\nuser-agent: probe\r\n\r\n"
    ]


@pytest.mark.parametrize(
    ("address", "port", "tls", "host"),
    [
        ("10.0.0.1", 80, None, "10.0.0.1"),
        ("10.0.0.1", 8080, None, "10.0.0.1:8080"),
        ("10.0.0.1", 443, TLS, "10.0.0.1"),
        ("10.0.0.1", 80, TLS, "10.0.0.1:80"),
        ("2001:db8::1", 80, None, "[2001:db8::1]"),
        ("2001:db8::1", 8080, None, "[2001:db8::1]:8080"),
    ],
)
def test_without_a_host_the_address_is_asked_for(
    address: str, port: int, tls: Tls | None, host: str
) -> None:
    check = HttpCheck(tls=tls)
    request = request_of(Probe(check, ip_address(address), port, CheckTimes()), check)
    assert f"\r\nHost: {host}\r\n".encode() in request


def test_a_closed_port_and_a_black_hole_are_as_for_tcp() -> None:
    with refusing() as port:
        assert checked(port).failure is Failure.REFUSED
    with black_hole() as port:
        assert checked(port, seconds=LITTLE).failure is Failure.CONNECT_TIMEOUT


HEAD = b"HTTP/1.1 200 OK\r\n"


def dripping_after(begin: bytes) -> Speak:
    def speak(connection: socket.socket) -> None:
        connection.sendall(begin)
        dripping(connection)

    return speak


@pytest.mark.parametrize(
    "speak",
    [
        silent,
        saying(HEAD),
        dripping_after(HEAD + b"X-Endless: "),
        dripping_after(HEAD + b"\r\n"),
        dripping_after(HEAD + b"Content-Length: 60000\r\n\r\n"),
    ],
)
def test_an_answer_that_never_ends_fails_when_the_time_is_over(speak: Speak) -> None:
    with listening(speak) as port:
        result = checked(port, HttpCheck(expect="ok"), seconds=LITTLE)
    assert result == Result(Failure.ANSWER_TIMEOUT, "no answer in time")


@pytest.mark.parametrize(
    ("speak", "text"),
    [
        (saying_and_closing(b"220 mx ESMTP\r\n"), "it is no HTTP/1: '220 mx ESMTP\\r\\n'"),
        (saying_and_closing(b""), "it said nothing"),
        (saying_and_closing(HEAD), "it ended before the head did"),
        (flooding, "it is no HTTP/1"),
        (saying(HEAD + b"X: y\r\n" * 10_000), "its head is longer than 32768 bytes"),
    ],
)
def test_rubbish_fails_and_is_quoted(speak: Speak, text: str) -> None:
    with listening(speak) as port:
        result = checked(port)
    assert result.failure is Failure.CONTENT
    assert result.text.startswith(text)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_https_is_spoken_and_the_name_asked_for(version: ssl.TLSVersion, host: str) -> None:
    asked: list[str | None] = []
    with secured(answering(200), version=version, host=host, asked_names=asked) as port:
        assert checked(port, HttpCheck(tls=TLS), host) == Result()
    assert asked == [NAME]


def test_a_certificate_does_not_matter_unless_it_is_to_be_verified() -> None:
    with secured(answering(200), is_expired=True) as port:
        assert checked(port, HttpCheck(tls=TLS)) == Result()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of files that checks name, with an authority in it."""
    monkeypatch.setattr(http, "CHECKS_FOLDER", tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority().cert_pem.bytes())
    return tmp_path


VERIFIED = Tls(NAME, verify=True, ca_file="ca.pem")


@pytest.mark.usefixtures("folder")
def test_a_good_certificate_of_a_given_authority_passes() -> None:
    with secured(answering(200)) as port:
        assert checked(port, HttpCheck(tls=VERIFIED)) == Result()


Server = Callable[[], object]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("tls", "names", "is_expired", "text"),
    [
        (VERIFIED, (NAME,), True, "certificate has expired"),
        (VERIFIED, ("other.example.org",), False, "Hostname mismatch"),
        (Tls(NAME, verify=True), (NAME,), False, "unable to get local issuer certificate"),
    ],
)
def test_a_certificate_that_is_not_good_fails(
    tls: Tls, names: tuple[str, ...], is_expired: bool, text: str
) -> None:
    with secured(answering(200), *names, is_expired=is_expired) as port:
        result = checked(port, HttpCheck(tls=tls))
    assert result.failure is Failure.TLS
    assert text in result.text


def test_a_file_of_authorities_that_is_missing_or_none_says_nothing_of_the_server(
    folder: Path,
) -> None:
    with secured(answering(200)) as port:
        (folder / "ca.pem").write_text("no certificate")
        bad = checked(port, HttpCheck(tls=VERIFIED))
        (folder / "ca.pem").unlink()
        missing = checked(port, HttpCheck(tls=VERIFIED))
    assert bad.is_void
    assert missing == Result(
        text=f"{folder}/ca.pem cannot be used: No such file or directory", is_void=True
    )


def test_a_server_that_speaks_no_tls_fails() -> None:
    with listening(answering(200)) as port:
        result = checked(port, HttpCheck(tls=TLS), seconds=LITTLE)
    assert result.failure in (Failure.TLS, Failure.ANSWER_TIMEOUT)
    with listening(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        assert checked(port, HttpCheck(tls=TLS)).failure is Failure.TLS


def test_a_handshake_that_never_ends_is_named() -> None:
    with listening(silent) as port:
        result = checked(port, HttpCheck(tls=TLS), seconds=LITTLE)
    assert result == Result(Failure.ANSWER_TIMEOUT, "no end of the TLS handshake in time")
