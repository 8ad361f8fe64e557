"""The committed figures: what is worse, and how a new one is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.accepted import (
    accept,
    differences,
    load_accepted,
    other_versions,
    report_text,
    values_of,
)
from tests.bench.samples import Cost, Row, Sample, Who

VERSIONS = {"python": "3.11.2", "linux": "6.1"}


def figures(
    giga: float, row: str = "apply", services: int = 1000
) -> dict[str, dict[str, dict[str, float]]]:
    """Return values of one row."""
    return {str(services): {row: {"10^9 instructions": giga, "syncs": 4}}}


def test_only_what_gitvs_takes_in_the_guest_is_compared() -> None:
    cost = Cost(0.25, 0.5, seconds=9.0, written_bytes=1_234_567, syncs=3)
    samples = [
        Sample(Row.TRANSACTION, Who.GITVS, 1000, 1, cost.total, cost),
        Sample(Row.APPLY, Who.IPVSADM, 1000, 1, cost.total, cost),
        Sample(Row.MEMORY, Who.GITVS, 1000, 1, 65.44),
        Sample(Row.LOAD, Who.GITVS, 1000, 1, 1.5),
    ]
    assert values_of(samples) == {
        "1000": {
            "transaction": {"10^9 instructions": 0.75, "kB written": 1234.6, "syncs": 3},
            "memory": {"MB": 65.4},
        }
    }


@pytest.mark.parametrize(("giga", "is_found"), [(1.049, False), (1.06, True), (0.94, True)])
def test_a_difference_is_more_than_five_percent(giga: float, is_found: bool) -> None:
    assert bool(differences(figures(giga), figures(1.0))) == is_found


def test_what_has_no_committed_figure_is_not_compared() -> None:
    assert differences(figures(9.0), figures(1.0, row="boot")) == []
    assert differences(figures(9.0), figures(1.0, services=10)) == []


def test_a_first_sync_is_worse_than_none() -> None:
    [found] = differences({"1": {"drift": {"syncs": 1}}}, {"1": {"drift": {"syncs": 0}}})
    assert found.percent > 0


def test_what_is_worse_is_told_with_both_figures_and_what_to_do() -> None:
    text = report_text(differences(figures(1.1), figures(1.0)), [])
    assert text.splitlines() == [
        "WORSE: apply at 1,000 services: 1.1 10^9 instructions, accepted are 1 (+10.0 %)",
        "More than 5 % worse than tests/bench/accepted.json.",
        "Find the cause, or accept what was measured last: make bench-accept",
    ]


def test_what_is_better_is_to_be_kept() -> None:
    text = report_text(differences(figures(0.9), figures(1.0)), [])
    assert text.splitlines()[1:] == ["Keep what was won: make bench-accept"]


def test_other_versions_are_only_told() -> None:
    others = other_versions({"python": "3.13.1", "linux": "6.1"}, VERSIONS)
    assert others == ["python 3.11.2 (here 3.13.1)"]
    assert "So nothing fails here" in report_text(differences(figures(2), figures(1)), others)


def test_other_sizes_and_rows_stay_accepted(tmp_path: Path) -> None:
    file = tmp_path / "accepted.json"
    accept(figures(1.0), VERSIONS, file)
    accept(figures(2.0, row="boot"), VERSIONS, file)
    accept(figures(9.0, services=10_000), VERSIONS, file)
    assert load_accepted(file) == {
        "versions": VERSIONS,
        "figures": {
            "1000": {**figures(1.0)["1000"], **figures(2.0, row="boot")["1000"]},
            **figures(9.0, services=10_000),
        },
    }


def test_figures_of_other_versions_are_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "accepted.json"
    accept(figures(1.0), VERSIONS, file)
    accept(figures(2.0, row="boot"), {**VERSIONS, "linux": "6.12"}, file)
    assert load_accepted(file)["figures"] == figures(2.0, row="boot")
