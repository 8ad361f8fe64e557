"""A question to a name server, over UDP or TCP."""

from __future__ import annotations

import socket
from collections.abc import Generator

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from gitvs.core.model.health import DnsCheck, DnsProtocol, Failure, Probe
from gitvs.health.checks.connecting import NotConnected, connect, socket_for
from gitvs.health.checks.results import PASS, Check, Result, Wait
from gitvs.health.checks.udp import receive, send, socket_to

_LENGTH_BYTES = 2
_NO_ANSWER = Result(Failure.CONNECT_TIMEOUT, "no answer in time")


def check_dns(probe: Probe) -> Check:
    """Ask, and read answers until one is to the question."""
    check = probe.check
    assert isinstance(check, DnsCheck)
    question = dns.message.make_query(check.name, check.type)
    try:
        if check.protocol is DnsProtocol.TCP:
            return (yield from _ask_by_tcp(probe, check, question))
        with socket_to(probe, socket.SOCK_DGRAM) as connection:
            send(connection, question.to_wire())
            while (data := (yield from receive(connection))) is not None:
                if (result := _judged(data, question, check)) is not None:
                    return result
            return _NO_ANSWER
    except NotConnected as failed:
        return failed.result


def _ask_by_tcp(probe: Probe, check: DnsCheck, question: dns.message.QueryMessage) -> Check:
    wire = question.to_wire()
    with socket_for(probe) as connection:
        yield from connect(connection, probe)
        try:
            connection.send(len(wire).to_bytes(_LENGTH_BYTES, "big") + wire)
            answer = bytearray()
            while (part := (yield from _part(connection))) is not None:
                answer += part
                length = int.from_bytes(answer[:_LENGTH_BYTES], "big")
                data = bytes(answer[_LENGTH_BYTES:])
                if len(answer) >= _LENGTH_BYTES and len(data) >= length:
                    result = _judged(data[:length], question, check)
                    return result or Result(Failure.CONTENT, "the answer is to another question")
                if not part:
                    return Result(Failure.CONTENT, "it ended before the answer did")
        except OSError as error:
            return Result(Failure.CONTENT, f"{error.strerror} after the connection was made")
    return _NO_ANSWER


def _part(connection: socket.socket) -> Generator[Wait, bool, bytes | None]:
    """Return what came; None if the time is over."""
    while True:
        try:
            return connection.recv(65537)
        except BlockingIOError:
            if (yield Wait(connection)):
                return None


def _judged(data: bytes, question: dns.message.QueryMessage, check: DnsCheck) -> Result | None:
    """Return what an answer is worth; None if it is to another question."""
    try:
        answer = dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError) as error:
        return Result(Failure.CONTENT, f"it is no answer of DNS: {error or type(error).__name__}")
    if not question.is_response(answer):
        return None
    rcode = dns.rcode.to_text(answer.rcode())
    if rcode != check.rcode:
        return Result(Failure.CONTENT, f"rcode {rcode}")
    texts = [rdata.to_text() for rrset in answer.answer for rdata in rrset]
    if check.expect and not any(check.expect in text for text in texts):
        return Result(Failure.CONTENT, f"the answers are {', '.join(texts[:5]) or 'none'}")
    return PASS
