"""The judgement beside a second, naive one, and what holds of every judgement."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gitvs.core.health.check_states import Standing
from gitvs.core.health.judgement import (
    JudgedServer,
    Limits,
    Quorum,
    Reason,
    ServiceJudgement,
    judge,
)
from gitvs.core.model.health import Failure
from tests.core.health import naive
from tests.support.builders import real_server
from tests.support.effort import examples

PERCENT = st.sampled_from([0.0, 1.0, 30.0, 50.0, 67.0, 100.0])


@st.composite
def judged_servers(draw: st.DrawFn) -> list[JudgedServer]:
    """Draw the real servers of one virtual service."""
    found = []
    for number in range(draw(st.integers(draw(st.sampled_from([0, 3])), 6))):
        server = real_server(address=f"10.0.0.{number + 1}")
        standing = draw(st.sampled_from(Standing))
        failure = draw(st.sampled_from(Failure)) if standing is Standing.DOWN else None
        weight = draw(st.integers(0, 3))
        found.append(
            JudgedServer(
                server.key,
                server.address,
                weight,
                weight > 0,
                standing,
                failure,
                draw(st.sampled_from([True, False, None])),
                draw(st.booleans()),
            )
        )
    return found


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    lose, gain = sorted((draw(PERCENT), draw(PERCENT)))
    return Limits(draw(PERCENT), lose, gain)


QUORUMS = st.sampled_from(Quorum)


@settings(max_examples=examples(600))
@given(judged_servers(), limits(), QUORUMS, st.booleans())
def test_two_ways_to_judge_come_to_the_same(
    servers: list[JudgedServer], given_limits: Limits, before: Quorum, is_frozen: bool
) -> None:
    judgement = judge(servers, given_limits, ServiceJudgement(quorum=before), is_frozen)
    serving, memory, quorum = naive.judge(servers, given_limits, before, is_frozen)
    assert set(judgement.serving) == serving
    assert judgement.memory == memory
    assert judgement.quorum is quorum


def remembered(servers: list[JudgedServer], judgement: ServiceJudgement) -> list[JudgedServer]:
    return [replace(s, was_in=judgement.memory.get(s.key)) for s in servers]


@settings(max_examples=examples(600))
@given(judged_servers(), limits(), QUORUMS, st.booleans())
def test_judging_twice_changes_nothing(
    servers: list[JudgedServer], given_limits: Limits, before: Quorum, is_frozen: bool
) -> None:
    once = judge(servers, given_limits, ServiceJudgement(quorum=before), is_frozen)
    assert judge(remembered(servers, once), given_limits, once, is_frozen) == once


@settings(max_examples=examples(600))
@given(judged_servers(), limits(), QUORUMS, st.booleans())
def test_what_holds_of_every_judgement(
    servers: list[JudgedServer], given_limits: Limits, before: Quorum, is_frozen: bool
) -> None:
    judgement = judge(servers, given_limits, ServiceJudgement(quorum=before), is_frozen)
    counted = {s.key: s for s in servers if s.is_counted}
    assert judgement.reasons.keys() == counted.keys()
    assert judgement.serving <= counted.keys()
    assert bool(judgement.serving) == bool(counted), "never empty while anything is counted"
    up = {key for key, s in counted.items() if s.is_up}
    assert up <= judgement.serving, "who is up serves"
    for key, server in counted.items():
        was_out = server.is_down and server.was_in is not True
        if was_out and key in judgement.serving:
            assert judgement.reasons[key] is Reason.LAST, "a dead one comes back as the last alone"
    taken_out = [s for s in counted.values() if s.was_in is True and s.key not in judgement.serving]
    assert all(s.is_down for s in taken_out)
    left = len(judgement.serving)
    base = [s for s in counted.values() if s.was_in is not None or s.key in judgement.serving]
    for server in taken_out:
        is_hopeless = server.failure in (Failure.REFUSED, Failure.UNREACHABLE) and up
        assert is_hopeless or left >= given_limits.floor(len(base))
    if is_frozen:
        assert taken_out == []
