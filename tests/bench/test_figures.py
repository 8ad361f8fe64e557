"""Figures and the table of them: what is met, and what is missed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.bench.figures import GOALS, Figure, Spread, Verdict, figures_of, growths_of
from tests.bench.samples import Row, Sample, Who
from tests.bench.table import table_text


def samples(row: Row, who: Who, *values: float, services: int = 1000) -> list[Sample]:
    """Return samples of runs 0, 1, 2 and so on."""
    return [Sample(row, who, services, run, value) for run, value in enumerate(values)]


def only(measured: list[Sample]) -> Figure:
    """Return the one figure that they make: of 1,000 services."""
    [figure] = [f for f in figures_of(measured, [1000]) if f.value is not None]
    return figure


def test_a_ratio_is_the_median_of_runs_without_the_warm_up() -> None:
    ours = samples(Row.OBSERVE, Who.GITVS, 99, 1, 2, 4)
    theirs = samples(Row.OBSERVE, Who.IPVSADM, 1, 8, 8, 8)
    figure = only([*ours, *theirs])
    assert (figure.runs, figure.value) == (3, Spread(4, 2, 8))
    assert (figure.ours, figure.theirs) == (Spread(2, 1, 4), Spread(8, 8, 8))


def test_a_transaction_is_measured_against_what_the_peers_apply() -> None:
    ours = samples(Row.TRANSACTION, Who.GITVS, 1, 1, 1)
    theirs = samples(Row.APPLY, Who.KEEPALIVED, 5, 5, 5)
    assert only([*ours, *theirs]).value == Spread(5, 5, 5)


@pytest.mark.parametrize(("seconds", "verdict"), [(1.0, "met"), (1.001, "MISSED")])
def test_a_ratio_meets_its_target_at_it(seconds: float, verdict: str) -> None:
    ours = samples(Row.APPLY, Who.GITVS, 1, seconds)
    figure = only([*ours, *samples(Row.APPLY, Who.IPVSADM, 10, 10)])
    assert figure.verdict == verdict


@pytest.mark.parametrize(("megabytes", "verdict"), [(250, "met"), (251, "MISSED")])
def test_memory_has_a_limit(megabytes: float, verdict: str) -> None:
    figure = only(samples(Row.MEMORY, Who.GITVS, 1, megabytes))
    assert (figure.value, figure.verdict) == (Spread(megabytes, megabytes, megabytes), verdict)


def test_drift_is_a_share_of_the_default_interval() -> None:
    figure = only(samples(Row.DRIFT, Who.GITVS, 0, 0.3))
    assert (figure.value, figure.verdict) == (Spread(0.5, 0.5, 0.5), Verdict.MET)


@pytest.mark.parametrize(("power", "verdict"), [(1.0, "met"), (2.0, "MISSED")])
def test_growth_is_the_exponent_over_all_sizes(power: float, verdict: str) -> None:
    sizes = (1000, 2000, 10_000)
    seconds = {size: (size / 1000) ** power for size in sizes}
    measured = [
        s for size in sizes for s in samples(Row.APPLY, Who.GITVS, 9, seconds[size], services=size)
    ]
    [growth] = growths_of(measured)
    assert growth.exponent == pytest.approx(power)
    assert growth.verdict == verdict


def test_one_size_alone_does_not_grow() -> None:
    assert growths_of(samples(Row.APPLY, Who.GITVS, 1, 1)) == []


@pytest.mark.parametrize(("seconds", "verdict"), [(10, "met"), (30, "not known")])
def test_who_was_given_up_would_have_taken_longer(seconds: float, verdict: str) -> None:
    theirs = [replace(s, is_done=False) for s in samples(Row.CHANGE, Who.KEEPALIVED, 0, 240)]
    figure = only([*samples(Row.CHANGE, Who.GITVS, 1, seconds), *theirs])
    assert (figure.is_done, figure.verdict) == (False, verdict)
    assert f"keepalived not done within 240 s  more than {240 // seconds}x " in table_text(
        [figure], []
    )


def test_what_was_not_measured_is_in_the_table_all_the_same() -> None:
    figures = figures_of(samples(Row.APPLY, Who.GITVS, 1, 2), [1000])
    assert [figure.goal for figure in figures] == list(GOALS)
    assert {figure.verdict for figure in figures} == {Verdict.NOT_MEASURED}
    first = table_text(figures, []).splitlines()[2]
    assert re.split(r"  +", first)[1:] == [
        *("1,000", "0", "2 s", "ipvsadm", "at least 10x", "NOT MEASURED")
    ]


def test_the_table_says_what_was_missed() -> None:
    measured = [
        *samples(Row.APPLY, Who.GITVS, 1, 2, 2, services=1000),
        *samples(Row.APPLY, Who.GITVS, 1, 20, 20, services=10_000),
        *samples(Row.APPLY, Who.IPVSADM, 1, 30, 20, services=1000),
        *samples(Row.MEMORY, Who.GITVS, 1, 312.5),
    ]
    figures = [f for f in figures_of(measured, [1000]) if f.value is not None]
    lines = table_text(figures, growths_of(measured)).splitlines()
    assert [re.split(r"  +", line) for line in (lines[0], *lines[2:])] == [
        ["what", "services", "runs", "gitvs", "peer", "result", "spread", "target"],
        [
            *("apply a plan to an empty kernel", "1,000", "2", "2 s", "ipvsadm 25 s"),
            *("12.5x", "10 to 15", "at least 10x", "met"),
        ],
        [
            *("memory of the agent, in the guest", "1,000", "1", "312 MB", "312 MB", "312 to 312"),
            *("at most 250 MB", "MISSED"),
        ],
        ["growth: apply", "1,000 to 10,000", "n^1.00", "linear", "met"],
    ]
