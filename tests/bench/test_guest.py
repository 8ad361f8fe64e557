"""How often things are measured, what is kept of them, and what is read of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.agent import kilobytes, timestamp
from tests.bench.samples import GivenUp, Recorder, Row, Schedule, Who


def runs_of(schedule: Schedule, is_warm: bool) -> list[int]:
    """Return the numbers of the runs that are taken."""
    return [schedule.recorder.run for _ in schedule.count(is_warm)]


@pytest.mark.parametrize(("is_warm", "runs"), [(False, [0, 1, 2, 3]), (True, [1, 2, 3])])
def test_what_was_never_done_is_done_once_more(
    tmp_path: Path, is_warm: bool, runs: list[int]
) -> None:
    assert runs_of(Schedule(Recorder(tmp_path), 3, 60.0), is_warm) == runs


@pytest.mark.parametrize(("is_warm", "runs"), [(False, [0, 1]), (True, [1])])
def test_what_is_slow_counts_once(tmp_path: Path, is_warm: bool, runs: list[int]) -> None:
    assert runs_of(Schedule(Recorder(tmp_path), 3, 0.0), is_warm) == runs


def test_a_sample_is_kept_at_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, services=7, run=2)
    recorder.add(Row.DRIFT, Who.GITVS, 0.25)
    [sample] = Recorder(tmp_path).samples()
    assert (sample.row, sample.services, sample.run, sample.value) == ("drift", 7, 2, 0.25)
    assert sample.is_done


def give_up() -> float:
    raise GivenUp(240.0)


def test_who_is_given_up_is_kept_with_how_long_that_was_waited_for(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    with recorder.part("a reload"):
        recorder.take(Row.CHANGE, Who.KEEPALIVED, give_up)
    [sample] = recorder.samples()
    assert (sample.value, sample.is_done) == (240.0, False)


def test_a_part_that_fails_is_noted_and_the_next_one_goes_on(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    with recorder.part("bad"):
        int("it broke")
    with recorder.part("good"):
        pass
    assert [(part.name, part.failure) for part in recorder.parts()] == [
        ("bad", "ValueError: invalid literal for int() with base 10: 'it broke'"),
        ("good", ""),
    ]


def test_what_the_kernel_and_the_log_say_is_read() -> None:
    assert kilobytes("Rss: 7 kB\nPss:    1000 kB\n", "Pss") == 1024
    moments = [timestamp(f"2026-01-02 03:04:05,{ms}") for ms in ("250", "750")]
    assert moments[1] - moments[0] == pytest.approx(0.5)
