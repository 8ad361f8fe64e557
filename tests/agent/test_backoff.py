"""How long to wait before the next fetch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.agent.backoff import MAX_DELAY_SECONDS, delay_seconds

INTERVALS = st.floats(1, 7 * 24 * 3600)
FAILURES = st.integers(0, 10**9)
RANDOMS = st.floats(0, 1, exclude_max=True)


def range_of(interval: float, failures: int) -> tuple[float, float]:
    """The shortest and the longest delay."""
    shortest = delay_seconds(interval, failures, lambda: 0.0)
    return shortest, delay_seconds(interval, failures, lambda: 1.0)


def test_after_a_success_it_is_the_interval_give_or_take_a_tenth() -> None:
    assert range_of(30, 0) == pytest.approx((27, 33))


def test_it_doubles_with_every_failure_and_stops_at_five_minutes() -> None:
    ranges = [range_of(30, failures) for failures in (1, 2, 3, 4, 5, 1000)]
    expected = [(30, 60), (60, 120), (120, 240), (150, 300), (150, 300), (150, 300)]
    assert ranges == [pytest.approx(one) for one in expected]


def test_an_interval_over_five_minutes_is_its_own_limit_and_still_varies() -> None:
    assert range_of(3600, 5) == pytest.approx((3240, 3600))


@given(INTERVALS, FAILURES, RANDOMS)
def test_it_is_never_much_sooner_than_the_interval_nor_over_the_limit(
    interval: float, failures: int, random: float
) -> None:
    delay = delay_seconds(interval, failures, lambda: random)
    assert delay >= interval * 0.9 * (1 - 1e-9)
    limit = max(interval, MAX_DELAY_SECONDS) if failures else interval * 1.1
    assert delay <= limit * (1 + 1e-9)


@given(INTERVALS, st.integers(1, 1000), RANDOMS)
def test_one_more_failure_never_shortens_it(interval: float, failures: int, random: float) -> None:
    now = delay_seconds(interval, failures, lambda: random)
    assert delay_seconds(interval, failures + 1, lambda: random) >= now * (1 - 1e-9)
