"""What of the results of one probe is reported, and when it is due again."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from gitvs.core.health.messages import WantedProbe
from gitvs.core.model.health import CheckTimes, Failure, Probe, TcpCheck
from gitvs.health.checks.results import Result
from gitvs.health.runs import FIRST_ROUND_SECONDS, ProbeRuns

TIMES = CheckTimes(5.0, 2.0, 1.0)
PROBE = Probe(TcpCheck(), ip_address("10.0.0.1"), 80, TIMES)
PASS, REFUSED, TIMED_OUT = Result(), Result(Failure.REFUSED), Result(Failure.CONNECT_TIMEOUT)
VOID = Result(text="no memory", is_void=True)
RESULTS = st.lists(st.sampled_from([PASS, REFUSED, TIMED_OUT, VOID]))


def wanted(rise: int = 2, fall: int = 3, mark: int = 0) -> WantedProbe:
    lengths = frozenset(range(1, rise + 1)), frozenset(range(1, fall + 1))
    return WantedProbe(PROBE, *lengths, mark)


def reported(runs: ProbeRuns, *results: Result) -> list[int]:
    """Return the lengths of the runs that are reported."""
    return [runs.length for result in results if runs.take(result, 0.0, 0.1)]


def test_runs_are_reported_up_to_the_lengths_that_somebody_waits_for() -> None:
    runs = ProbeRuns(wanted(), 0.0)
    assert reported(runs, *[PASS] * 5) == [1, 2]
    assert reported(runs, *[REFUSED] * 5) == [1, 2, 3]


def test_another_class_of_failure_is_reported() -> None:
    runs = ProbeRuns(wanted(), 0.0)
    assert reported(runs, *[REFUSED] * 5, TIMED_OUT, TIMED_OUT) == [1, 2, 3, 6]


def test_a_void_neither_counts_nor_ends_a_run() -> None:
    runs = ProbeRuns(wanted(), 0.0)
    assert reported(runs, REFUSED, VOID, REFUSED, VOID, VOID, REFUSED) == [1, 2, 3]


def test_another_mark_has_what_comes_counted_from_now_as_well() -> None:
    runs = ProbeRuns(wanted(), 0.0)
    reported(runs, *[REFUSED] * 7)
    runs.update(wanted(mark=1))
    assert reported(runs, *[REFUSED] * 5) == [8, 9, 10]
    assert reported(runs, PASS, PASS, PASS) == [1, 2]


@given(RESULTS, st.integers(1, 5), st.integers(1, 5))
def test_every_length_that_is_waited_for_is_reported(
    results: list[Result], rise: int, fall: int
) -> None:
    runs, heard = ProbeRuns(wanted(rise, fall), 0.0), {True: 0, False: 0}
    for result in results:
        if runs.take(result, 0.0, 0.1):
            heard = {True: 0, False: 0, runs.failure is None: runs.length}
        elif not result.is_void:
            limit = rise if runs.failure is None else fall
            assert heard[runs.failure is None] >= min(runs.length, limit)


@given(RESULTS, st.floats(0, 1e6), st.floats(0, 2))
def test_it_is_due_an_interval_or_a_retry_after_its_last_start(
    results: list[Result], started: float, took: float
) -> None:
    runs = ProbeRuns(wanted(), started)
    for result in results:
        runs.take(result, started, started + took)
        due = runs.next_start(started, started + took)
        assert due >= started + took, "never while it is still under way"
        gap = due - started
        assert any(
            0.949 * seconds <= gap <= max(1.051 * seconds, took + 0.001)
            for seconds in (TIMES.interval_seconds, TIMES.retry_seconds)
        )


def test_what_differs_from_the_last_full_run_is_tried_again_sooner() -> None:
    runs = ProbeRuns(wanted(), 0.0)
    runs.take(PASS, 0.0, 0.1)
    gaps = []
    for result in (REFUSED, REFUSED, REFUSED, REFUSED, PASS, PASS, PASS):
        runs.take(result, 0.0, 0.1)
        gaps.append(runs.next_start(0.0, 0.1) > 2)
    assert gaps == [False, False, True, True, False, True, True]


@given(st.text("0123456789abcdef", min_size=8, max_size=24), st.floats(0, 1e6))
def test_the_first_executions_are_spread(identity: str, now: float) -> None:
    first = ProbeRuns(wanted(), now).first_start(identity, now)
    assert now <= first <= now + FIRST_ROUND_SECONDS


def test_nothing_but_voids_for_three_intervals_is_stale() -> None:
    runs = ProbeRuns(wanted(), 0.0)
    runs.take(PASS, 0.0, 1.0)
    for now in (5.0, 10.0, 15.0):
        runs.take(VOID, now, now)
    assert not runs.is_stale(16.0)
    assert runs.is_stale(16.1)
    runs.take(REFUSED, 16.2, 16.2)
    assert not runs.is_stale(16.3)
