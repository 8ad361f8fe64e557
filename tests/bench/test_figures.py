"""Figures and the tables of them: what gitvs takes, its peers, targets and growth."""

from __future__ import annotations

import re

import pytest

from tests.bench.figures import (
    GOALS,
    Figure,
    Verdict,
    drift_percent,
    figures_of,
    growths_of,
)
from tests.bench.samples import Cost, Row, Sample, Who
from tests.bench.table import growth_text, seconds_text, table_text

GITVS, IPVSADM, KEEPALIVED = Who.GITVS, Who.IPVSADM, Who.KEEPALIVED


def sample(row: Row, who: Who, user: float, kernel: float = 0.0, services: int = 10_000) -> Sample:
    """Return what some work took in the guest."""
    cost = Cost(user, kernel, 1.5, written_bytes=158_000_000, syncs=7)
    return Sample(row, who, services, 1, cost.total, cost)


def only(measured: list[Sample], *sizes: int) -> list[Figure]:
    """Return the figures that they make."""
    return [f for f in figures_of(measured, sizes or (10_000,)) if f.value is not None]


def test_a_figure_has_the_peers_that_do_the_same() -> None:
    [figure] = only(
        [
            sample(Row.APPLY, GITVS, 1.5, 1.0),
            sample(Row.APPLY, IPVSADM, 3.5, 5.0),
            sample(Row.APPLY, KEEPALIVED, 4.0),
        ]
    )
    assert (figure.value, figure.peers) == (2.5, {IPVSADM: 8.5, KEEPALIVED: 4.0})


def test_a_boot_is_compared_with_what_the_peers_apply() -> None:
    [figure] = only([sample(Row.BOOT, GITVS, 2), sample(Row.APPLY, KEEPALIVED, 4)])
    assert figure.peers == {KEEPALIVED: 4}


def test_several_runs_make_a_median() -> None:
    runs = [Sample(Row.LOAD, GITVS, 1000, run, value) for run, value in enumerate((9, 1, 2))]
    [figure] = only(runs, 1000)
    assert figure.value == 2


@pytest.mark.parametrize(
    ("services", "user", "verdict"),
    [(10_000, 2.2, "met"), (10_000, 2.21, "MISSED"), (1000, 9.0, "")],
)
def test_a_target_is_for_ten_thousand_services(services: int, user: float, verdict: str) -> None:
    [figure] = only([sample(Row.APPLY, GITVS, user, services=services)], services)
    assert figure.verdict == verdict


def test_what_was_not_measured_is_in_the_table_all_the_same() -> None:
    figures = figures_of([sample(Row.APPLY, IPVSADM, 1)], [1000])
    assert [figure.goal for figure in figures] == list(GOALS)
    assert {figure.verdict for figure in figures} == {Verdict.NOT_MEASURED}
    assert table_text(figures).count("NOT MEASURED") == len(GOALS)


@pytest.mark.parametrize(("ten_times", "verdict"), [(11.0, "linear"), (11.1, "MORE THAN LINEAR")])
def test_growth_is_the_factor_between_sizes(ten_times: float, verdict: str) -> None:
    measured = [
        sample(Row.APPLY, GITVS, 0.25, 0.75, services=1000),
        sample(Row.APPLY, GITVS, 2.0, ten_times - 2.0, services=10_000),
    ]
    [growth] = growths_of(only(measured, 1000, 10_000))
    assert growth.factor == pytest.approx(ten_times)
    assert growth.user_factor == 8
    last = growth_text([growth]).splitlines()[-1]
    factor = f"{ten_times:.3g}x"
    assert re.split(r"  +", last) == ["apply", "1,000 to 10,000", factor, "8x", verdict]


def test_one_size_alone_does_not_grow() -> None:
    growths = growths_of(only([sample(Row.APPLY, GITVS, 1)]))
    assert growths == []
    assert growth_text(growths) == ""


def test_drift_is_a_share_of_the_default_interval() -> None:
    assert drift_percent(Cost(user=4.0, kernel=1.25, seconds=0.0)) == pytest.approx(1.5)


def test_the_table_says_what_everybody_takes() -> None:
    measured = [
        sample(Row.TRANSACTION, GITVS, 18.1, 2.8),
        sample(Row.APPLY, IPVSADM, 3.6, 4.98),
        Sample(Row.MEMORY, GITVS, 10_000, 1, 187.54),
    ]
    lines = table_text(only(measured)).splitlines()
    assert [re.split(r"  +", line) for line in (lines[0], *lines[2:])] == [
        [
            *("what", "services", "gitvs", "user", "kernel", "kB written", "syncs"),
            *("ipvsadm", "keepalived", "at most"),
        ],
        [
            *("the same, recorded, read back, undoable", "10,000", "20.9", "18.1", "2.8"),
            *("158,000", "7", "8.58 (0.411x)", "8.5", "MISSED"),
        ],
        ["memory of the agent", "10,000", "188 MB", "220 MB", "met"],
    ]


def test_clocked_work_is_told_in_seconds() -> None:
    last = seconds_text([sample(Row.APPLY, GITVS, 1)]).splitlines()[-1]
    assert re.split(r"  +", last) == ["apply", "gitvs", "10,000", "1.500 s"]
