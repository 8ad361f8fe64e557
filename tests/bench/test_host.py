"""What is measured without a kernel, on a repository small enough for a test."""

from __future__ import annotations

import pytest

from tests.bench.host import MEASUREMENTS, verdict


@pytest.mark.parametrize(("name", "services"), [("loading", 40), ("preview", 40)])
def test_every_measurement_measures(name: str, services: int) -> None:
    figures = MEASUREMENTS[name](services)
    assert len(figures) == 2
    for figure in figures:
        assert (figure.services, figure.seconds > 0, figure.megabytes > 10) == (
            services,
            True,
            True,
        )


def test_a_target_is_met_or_missed_at_its_size_alone() -> None:
    assert verdict("first load and render", 10_000, 9.9) == "target 10 s: met"
    assert verdict("first load and render", 10_000, 10.0) == "target 10 s: MISSED"
    assert verdict("first load and render", 1_000, 99.0) == ""
