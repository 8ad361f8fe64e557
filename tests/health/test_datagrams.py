"""The udp, dns and ping checks against real servers."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from gitvs.core.model.health import (
    CheckTimes,
    DnsCheck,
    DnsProtocol,
    Failure,
    PingCheck,
    Probe,
    UdpCheck,
)
from gitvs.health.checks.ping import check_ping
from gitvs.health.checks.results import Result
from tests.support.health.once import LITTLE, checked
from tests.support.health.servers import black_hole, listening, refusing, saying_and_closing

HOSTS = ["127.0.0.1", "::1"]


@contextmanager
def answering(answer: Callable[[bytes], list[bytes]], host: str = "127.0.0.1") -> Iterator[int]:
    """Answer each datagram with some, on a free port, whose number is given."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((host, 0))
        server.settimeout(0.05)
        is_over = threading.Event()

        def serve() -> None:
            while not is_over.is_set():
                try:
                    data, client = server.recvfrom(65535)
                except TimeoutError:
                    continue
                for each in answer(data):
                    server.sendto(each, client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            is_over.set()
            thread.join()


@contextmanager
def closed(host: str = "127.0.0.1") -> Iterator[int]:
    """Give the number of a port of UDP that is closed."""
    with answering(lambda _: [], host) as port:
        pass
    yield port


# udp


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "check",
    [
        UdpCheck(send="ping", expect="pong"),
        UdpCheck(send_hex="70696e67", expect_hex="706f6e"),
        UdpCheck(send="ping"),
    ],
)
def test_an_answer_with_what_is_expected_passes(host: str, check: UdpCheck) -> None:
    with answering(lambda data: [b"pong!" if data == b"ping" else b"?"], host) as port:
        assert checked(check, port, host) == Result()


def test_another_answer_fails_and_is_quoted() -> None:
    with answering(lambda _: [b"no"]) as port:
        assert checked(UdpCheck(expect="yes"), port) == Result(
            Failure.CONTENT, "the answer is 'no'"
        )
    with answering(lambda _: [b"\x00\xff"]) as port:
        result = checked(UdpCheck(expect="yes"), port)
    assert result == Result(Failure.CONTENT, "the answer is hex 00ff")


@pytest.mark.parametrize("host", HOSTS)
def test_a_closed_port_of_udp_is_refused(host: str) -> None:
    with closed(host) as port:
        assert checked(UdpCheck(send="x"), port, host).failure is Failure.REFUSED


def test_silence_fails_only_where_something_is_expected() -> None:
    with answering(lambda _: []) as port:
        result = checked(UdpCheck(expect="x"), port, seconds=LITTLE)
        assert result == Result(Failure.CONNECT_TIMEOUT, "no answer in time")
        assert checked(UdpCheck(send="x"), port, seconds=LITTLE) == Result()


# dns


def name_server(
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR, records: str = "A 192.0.2.1", before: bytes = b""
) -> Callable[[bytes], list[bytes]]:
    """Answer questions with a code and one record."""

    def answer(data: bytes) -> list[bytes]:
        question = dns.message.from_wire(data)
        reply = dns.message.make_response(question)
        reply.set_rcode(rcode)
        if records:
            kind, _, text = records.partition(" ")
            name = question.question[0].name
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", kind, text))
        return [*([before] if before else []), reply.to_wire()]

    return answer


ASKED = DnsCheck("www.example.org")


@pytest.mark.parametrize("host", HOSTS)
def test_a_name_server_that_answers_passes(host: str) -> None:
    with answering(name_server(), host) as port:
        assert checked(ASKED, port, host) == Result()
        assert checked(DnsCheck("www.example.org", expect="192.0.2.1"), port, host) == Result()


def test_the_type_that_is_asked_for_is_asked_for() -> None:
    seen: list[str] = []

    def answer(data: bytes) -> list[bytes]:
        seen.append(dns.message.from_wire(data).question[0].to_text())
        return name_server(records="AAAA 2001:db8::1")(data)

    with answering(answer) as port:
        check = DnsCheck("www.example.org", type="AAAA", expect="2001:db8::1")
        assert checked(check, port) == Result()
    assert seen == ["www.example.org. IN AAAA"]


@pytest.mark.parametrize(
    ("rcode", "records", "check", "text"),
    [
        (dns.rcode.SERVFAIL, "", ASKED, "rcode SERVFAIL"),
        (dns.rcode.NXDOMAIN, "", ASKED, "rcode NXDOMAIN"),
        (
            dns.rcode.NOERROR,
            "A 192.0.2.9",
            DnsCheck("a.", expect="192.0.2.1"),
            "the answers are 192.0.2.9",
        ),
        (dns.rcode.NOERROR, "", DnsCheck("a.", expect="192.0.2.1"), "the answers are none"),
    ],
)
def test_another_answer_of_dns_fails(
    rcode: dns.rcode.Rcode, records: str, check: DnsCheck, text: str
) -> None:
    with answering(name_server(rcode, records)) as port:
        assert checked(check, port) == Result(Failure.CONTENT, text)


def test_the_code_that_is_wanted_passes() -> None:
    with answering(name_server(dns.rcode.REFUSED, "")) as port:
        assert checked(DnsCheck("www.example.org", rcode="REFUSED"), port) == Result()


def test_an_answer_to_another_question_is_not_heard() -> None:
    other = dns.message.make_response(dns.message.make_query("b.example.org", "A")).to_wire()
    with answering(name_server(before=other)) as port:
        assert checked(ASKED, port) == Result()


@pytest.mark.parametrize("rubbish", [b"", b"\x00" * 5, b"hello, who are you?", b"\xff" * 600])
def test_rubbish_is_no_answer(rubbish: bytes) -> None:
    with answering(lambda _: [rubbish]) as port:
        result = checked(ASKED, port, seconds=LITTLE)
    assert result.failure in (Failure.CONTENT, Failure.CONNECT_TIMEOUT)


def test_a_silent_name_server_times_out_and_a_closed_one_is_refused() -> None:
    with answering(lambda _: []) as port:
        assert checked(ASKED, port, seconds=LITTLE).failure is Failure.CONNECT_TIMEOUT
    with closed() as port:
        assert checked(ASKED, port).failure is Failure.REFUSED


BY_TCP = DnsCheck("www.example.org", expect="192.0.2.1", protocol=DnsProtocol.TCP)


@pytest.mark.parametrize("host", HOSTS)
def test_dns_is_spoken_over_tcp(host: str) -> None:
    def speak(connection: socket.socket) -> None:
        length = int.from_bytes(connection.recv(2), "big")
        (reply,) = name_server()(connection.recv(length, socket.MSG_WAITALL))
        for byte in len(reply).to_bytes(2, "big") + reply:
            connection.sendall(bytes([byte]))

    with listening(speak, host) as port:
        assert checked(BY_TCP, port, host) == Result()


def test_what_is_no_dns_over_tcp_fails() -> None:
    with listening(saying_and_closing(b"")) as port:
        assert checked(BY_TCP, port) == Result(Failure.CONTENT, "it ended before the answer did")
    with refusing() as port:
        assert checked(BY_TCP, port).failure is Failure.REFUSED
    with black_hole() as port:
        assert checked(BY_TCP, port, seconds=LITTLE).failure is Failure.CONNECT_TIMEOUT


# ping


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_that_is_there_answers(host: str) -> None:
    result = checked(PingCheck(), host=host)
    assert result == Result() or "ping_group_range" in result.text


def test_a_process_that_may_not_ping_learns_nothing_and_names_the_sysctl(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    probe = Probe(PingCheck(), ip_address("127.0.0.1"), 0, CheckTimes())
    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(StopIteration) as ended:
        next(check_ping(probe))
    assert ended.value.value.is_void
    assert 'net.ipv4.ping_group_range does not have its group; set it to "0 2147' in (
        ended.value.value.text
    )
