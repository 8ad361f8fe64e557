"""Answers of HTTP/1 are read as h11 reads them, in whatever pieces they come."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.health.checks.http_answer import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    BadAnswer,
    HttpAnswer,
)

OK = b"HTTP/1.1 200 OK\r\n"


def read(*pieces: bytes, has_body: bool = True, is_over: bool = True) -> HttpAnswer:
    """Read an answer that comes in these pieces, and then no more."""
    answer = HttpAnswer(has_body=has_body)
    for piece in pieces:
        answer.feed(piece)
    if is_over:
        answer.end()
    return answer


def shown(answer: HttpAnswer) -> tuple[int | None, bytes, bool]:
    return answer.status, bytes(answer.body), answer.is_complete


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        (OK + b"Content-Length: 2\r\n\r\nok", 200, b"ok"),
        (OK + b"Content-Length: 2\r\n\r\nok and more", 200, b"ok"),
        (OK + b"\r\nuntil the end", 200, b"until the end"),
        (OK + b"content-length:0\r\n\r\n", 200, b""),
        (b"HTTP/1.0 200\r\n\r\nold", 200, b"old"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n", 301, b""),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", 503, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx", 200, b"x"),
        (b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" * 3 + OK + b"\r\nx", 200, b"x"),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;a=b\r\n !!\r\n0\r\n\r\n",
            200,
            b"ok !!",
        ),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 200, b""),
        (OK.replace(b"\r", b"") + b"Content-Length: 2\n\nok", 200, b"ok"),
    ],
)
def test_an_answer_is_read_whole_or_byte_by_byte(text: bytes, status: int, body: bytes) -> None:
    assert shown(read(text)) == (status, body, True)
    assert shown(read(*(bytes([byte]) for byte in text))) == (status, body, True)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n",
        b"\r\n\r\n",
        b"220 mx.example.org ESMTP\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        OK,
        OK + b"Content-Length: x\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\nok",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\no",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 2000,
    ],
)
def test_what_is_no_answer_is_refused(text: bytes) -> None:
    with pytest.raises(BadAnswer):
        read(text)


def test_endless_heads_are_refused_before_they_fill_the_memory() -> None:
    for head in (OK + b"X: y\r\n" * MAX_HEAD_BYTES, b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000):
        with pytest.raises(BadAnswer, match="longer than 32768"):
            read(head)


@pytest.mark.parametrize(
    "begin", [OK + b"\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n"]
)
def test_of_an_endless_body_so_much_is_kept_as_counts(begin: bytes) -> None:
    answer = HttpAnswer()
    answer.feed(begin)
    for _ in range(100):
        answer.feed(b"x" * 10_000)
    assert len(answer.body) == MAX_BODY_BYTES
    assert answer.is_complete


def test_an_answer_to_head_has_no_body() -> None:
    answer = read(OK + b"Content-Length: 9\r\n\r\n", has_body=False)
    assert shown(answer) == (200, b"", True)


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Draw an answer as servers give them."""
    status = draw(st.sampled_from([200, 204, 206, 301, 304, 404, 500, 503]))
    head = b"HTTP/1.1 %d Whatever\r\n" % status
    for name in draw(st.lists(st.sampled_from([b"Server", b"X-A", b"Date"]), unique=True)):
        head += name + b": " + draw(st.sampled_from([b"a", b"b, c", b"Mon, 1 Jan"])) + b"\r\n"
    interim = draw(st.integers(0, 2)) * b"HTTP/1.1 100 Continue\r\n\r\n"
    chunks = draw(CHUNKS)
    match draw(st.sampled_from(["length", "chunks", "close"])):
        case "length":
            body = b"".join(chunks)
            return interim + head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        case "chunks":
            text = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
            return interim + head + b"Transfer-Encoding: chunked\r\n\r\n" + text + b"0\r\n\r\n"
        case _:
            return interim + head + b"\r\n" + b"".join(chunks)


@given(answers(), st.lists(st.integers(1, 30)))
def test_answers_are_read_as_h11_reads_them(text: bytes, lengths: list[int]) -> None:
    pieces, rest = [], text
    for length in lengths:
        pieces.append(rest[:length])
        rest = rest[length:]
    assert shown(read(*pieces, rest)) == (*read_by_h11(text), True)


def read_by_h11(text: bytes) -> tuple[int, bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(text)
    connection.receive_data(b"")
    status, body = 0, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, body


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_do_anything_but_be_refused_or_read(text: bytes, cut: int) -> None:
    for begin in (b"", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"):
        answer = HttpAnswer()
        try:
            answer.feed(begin + text[:cut])
            answer.feed(text[cut:])
            answer.end()
        except BadAnswer:
            continue
        assert answer.is_complete
