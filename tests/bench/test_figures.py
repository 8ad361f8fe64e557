"""Figures and the table of them: what is met, and what is missed."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest

from tests.bench.figures import Figure, Spread, figures_of, growths_of
from tests.bench.samples import Row, Sample, Who, read_samples
from tests.bench.table import table_text


def samples(row: Row, who: Who, *values: float, services: int = 1000) -> list[Sample]:
    """Return samples of runs 0, 1, 2 and so on."""
    return [Sample(row, who, services, run, value) for run, value in enumerate(values)]


def only(found: list[Figure]) -> Figure:
    [figure] = found
    return figure


def test_a_ratio_is_the_median_of_runs_without_the_warm_up() -> None:
    ours = samples(Row.OBSERVE, Who.GITVS, 99, 1, 2, 4)
    theirs = samples(Row.OBSERVE, Who.IPVSADM, 1, 8, 8, 8)
    figure = only(figures_of([*ours, *theirs]))
    assert (figure.runs, figure.value) == (3, Spread(4, 2, 8))
    assert (figure.ours, figure.theirs) == (Spread(2, 1, 4), Spread(8, 8, 8))


def test_a_transaction_is_measured_against_what_the_peers_apply() -> None:
    ours = samples(Row.TRANSACTION, Who.GITVS, 1, 1, 1)
    theirs = samples(Row.APPLY, Who.KEEPALIVED, 5, 5, 5)
    assert only(figures_of([*ours, *theirs])).value.median == 5


@pytest.mark.parametrize(("seconds", "is_met"), [(1.0, True), (1.001, False)])
def test_a_ratio_meets_its_target_at_it(seconds: float, is_met: bool) -> None:
    ours = samples(Row.APPLY, Who.GITVS, 1, seconds)
    figure = only(figures_of([*ours, *samples(Row.APPLY, Who.IPVSADM, 10, 10)]))
    assert figure.is_met is is_met


@pytest.mark.parametrize(("megabytes", "is_met"), [(250, True), (251, False)])
def test_memory_has_a_limit(megabytes: float, is_met: bool) -> None:
    figure = only(figures_of(samples(Row.MEMORY, Who.GITVS, 1, megabytes)))
    assert (figure.value.median, figure.is_met) == (megabytes, is_met)


def test_drift_is_a_share_of_the_default_interval() -> None:
    figure = only(figures_of(samples(Row.DRIFT, Who.GITVS, 0, 0.3)))
    assert (figure.value.median, figure.is_met) == (0.5, True)


@pytest.mark.parametrize(("power", "is_met"), [(1.0, True), (2.0, False)])
def test_growth_is_the_exponent_over_all_sizes(power: float, is_met: bool) -> None:
    sizes = (1000, 2000, 10_000)
    seconds = {size: (size / 1000) ** power for size in sizes}
    measured = [
        s for size in sizes for s in samples(Row.APPLY, Who.GITVS, 9, seconds[size], services=size)
    ]
    [growth] = growths_of(measured)
    assert growth.exponent == pytest.approx(power)
    assert growth.is_met is is_met


def test_one_size_alone_does_not_grow() -> None:
    assert growths_of(samples(Row.APPLY, Who.GITVS, 1, 1)) == []


def test_samples_travel_as_lines() -> None:
    kept = samples(Row.MEMORY, Who.GITVS, 1.5, 2)
    assert read_samples(json.dumps(asdict(sample)) for sample in kept) == kept


def test_the_table_says_what_was_missed() -> None:
    measured = [
        *samples(Row.APPLY, Who.GITVS, 1, 2, 2, services=1000),
        *samples(Row.APPLY, Who.GITVS, 1, 20, 20, services=10_000),
        *samples(Row.APPLY, Who.IPVSADM, 1, 30, 20, services=1000),
        *samples(Row.MEMORY, Who.GITVS, 1, 312.5),
    ]
    lines = table_text(figures_of(measured), growths_of(measured)).splitlines()
    assert [re.split(r"  +", line) for line in (lines[0], *lines[2:])] == [
        ["what", "services", "runs", "gitvs", "peer", "result", "spread", "target"],
        [
            *("apply a plan to an empty kernel", "1,000", "2", "2 s", "ipvsadm 25 s"),
            *("12.5x", "10 to 15", "at least 10x", "met"),
        ],
        [
            *("memory of the agent", "1,000", "1", "312 MB", "312 MB", "312 to 312"),
            *("at most 250 MB", "MISSED"),
        ],
        ["growth: apply", "1,000 to 10,000", "n^1.00", "linear", "met"],
    ]
