"""What agent and checker process say to each other comes over whole, and rubbish is refused."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.core.health.frames import FrameReader, framed
from gitvs.core.health.messages import (
    BadMessage,
    Heartbeat,
    ProbeSet,
    Report,
    WantedProbe,
    decode_news,
    decode_probe_set,
    encode_heartbeat,
    encode_probe_set,
    encode_report,
    probe_id,
    without_port,
)
from gitvs.core.model.health import CheckTimes, Failure, Probe, Run, TcpCheck
from tests.support.strategies import healths

TIMES = CheckTimes()
ADDRESSES = st.sampled_from([ip_address("10.0.0.1"), ip_address("2001:db8::1")])
PROBE = Probe(TcpCheck(), ip_address("10.0.0.1"), 80, TIMES)


@st.composite
def probes(draw: st.DrawFn) -> Probe:
    health = draw(healths())
    check = without_port(draw(st.sampled_from(health.checks)))
    return Probe(check, draw(ADDRESSES), draw(st.integers(1, 65535)), health.times)


@given(st.lists(probes(), max_size=4), st.integers(0, 9), st.frozensets(st.integers(1, 99)))
def test_a_set_of_probes_comes_over(found: list[Probe], mark: int, lengths: frozenset[int]) -> None:
    wanted = {probe_id(p): WantedProbe(p, lengths, frozenset({1}), mark) for p in found}
    probe_set = ProbeSet(7, wanted)
    assert decode_probe_set(encode_probe_set(probe_set)) == probe_set


@given(probes(), probes())
def test_probes_have_one_id_if_they_are_equal(one: Probe, other: Probe) -> None:
    assert (probe_id(one) == probe_id(other)) == (one == other)


@pytest.mark.parametrize(
    "other",
    [
        replace(PROBE, check=TcpCheck(send="a")),
        replace(PROBE, check=TcpCheck(expect="a")),
        replace(PROBE, address=ip_address("10.0.0.2")),
        replace(PROBE, port=81),
        replace(PROBE, times=replace(TIMES, interval_seconds=4.0)),
        replace(PROBE, times=replace(TIMES, timeout_seconds=1.0)),
        replace(PROBE, times=replace(TIMES, retry_seconds=1.0)),
    ],
)
def test_whatever_differs_makes_another_probe(other: Probe) -> None:
    assert probe_id(other) != probe_id(PROBE)


def test_whose_port_it_is_makes_no_other_probe() -> None:
    assert probe_id(replace(PROBE, check=TcpCheck(80))) == probe_id(PROBE)


@given(st.sampled_from([None, *Failure]), st.integers(0, 2**53 - 1), st.text("abü", max_size=200))
def test_a_report_comes_over(failure: Failure | None, length: int, text: str) -> None:
    report = Report(3, {"a": Run(length, failure, text, 0.25)}, is_complete=True)
    assert decode_news(encode_report(report)) == report


def test_a_sign_of_life_comes_over() -> None:
    heartbeat = Heartbeat(5, 2, 0.5, {"tcp": {"pass": 3, "void": 1}}, {"tcp": 0.75}, ("a", "b"))
    assert decode_news(encode_heartbeat(heartbeat)) == heartbeat


def test_what_a_server_said_does_nothing_to_a_terminal_and_is_short() -> None:
    run = Run(1, Failure.CONTENT, "\x1b[2J\r\n" + "x" * 1000)
    news = decode_news(encode_report(Report(1, {"a": run})))
    assert isinstance(news, Report)
    assert news.runs["a"].text == "?[2J??" + "x" * 194


RUBBISH = [
    *[b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"runs": {"a": [1]}}'],
    b'{"generation": 1, "isComplete": false, "runs": {"a": [-1, null, "", 0]}}',
    b'{"generation": 1, "isComplete": false, "runs": {"a": [1, "bored", "", 0]}}',
    b'{"generation": 1, "isComplete": false, "runs": {"a": [1e999, null, "", 0]}}',
    b'{"heartbeat": []}',
    b'{"heartbeat": {"probes": "many"}}',
]


@pytest.mark.parametrize("message", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_is_refused(message: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_news(message)
    with pytest.raises(BadMessage):
        decode_probe_set(message)


@given(st.lists(st.binary(max_size=50), max_size=5), st.lists(st.integers(1, 20)))
def test_messages_come_over_in_whatever_pieces(messages: list[bytes], lengths: list[int]) -> None:
    stream, reader, heard = b"".join(map(framed, messages)), FrameReader(), list[bytes]()
    for length in lengths:
        heard += reader.feed(stream[:length])
        stream = stream[length:]
    heard += reader.feed(stream)
    assert heard == messages
