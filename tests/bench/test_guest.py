"""How often the guest measures: as often as asked, unless that takes too long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.agent import kilobytes, timestamp
from tests.bench.guest import Schedule
from tests.bench.samples import Recorder, Row, Who, read_samples


def runs_of(schedule: Schedule, is_warm: bool) -> list[int]:
    """Return the numbers of the runs that are taken."""
    return [schedule.recorder.run for _ in schedule.count(is_warm)]


@pytest.mark.parametrize(("is_warm", "runs"), [(False, [0, 1, 2, 3]), (True, [1, 2, 3])])
def test_what_was_never_done_is_done_once_more(
    tmp_path: Path, is_warm: bool, runs: list[int]
) -> None:
    assert runs_of(Schedule(Recorder(tmp_path / "samples"), 3, 60.0), is_warm) == runs


@pytest.mark.parametrize(("is_warm", "runs"), [(False, [0, 1]), (True, [1])])
def test_what_is_slow_counts_once(tmp_path: Path, is_warm: bool, runs: list[int]) -> None:
    assert runs_of(Schedule(Recorder(tmp_path / "samples"), 3, 0.0), is_warm) == runs


def test_a_sample_is_kept_at_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "samples", services=7, run=2)
    recorder.add(Row.DRIFT, Who.GITVS, 0.25)
    [sample] = read_samples((tmp_path / "samples").read_text().splitlines())
    assert (sample.row, sample.services, sample.run, sample.value) == ("drift", 7, 2, 0.25)


def test_what_the_kernel_and_the_log_say_is_read() -> None:
    assert kilobytes("Rss: 7 kB\nPss:    1000 kB\n", "Pss") == 1024
    moments = [timestamp(f"2026-01-02 03:04:05,{ms}") for ms in ("250", "750")]
    assert moments[1] - moments[0] == pytest.approx(0.5)
