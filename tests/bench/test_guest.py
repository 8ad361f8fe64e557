"""How often things are measured, what is kept of them, and what is read of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import meter
from tests.bench.agent import kilobytes
from tests.bench.meter import Reading
from tests.bench.samples import Cost, Recorder, Row, Schedule, Who


def runs_of(schedule: Schedule) -> list[int]:
    """Return the numbers of the runs that are taken."""
    return [schedule.recorder.run for _ in schedule.count()]


@pytest.mark.parametrize(("seconds", "runs"), [(60.0, [1, 2, 3]), (0.0, [1])])
def test_what_is_slow_is_measured_once(tmp_path: Path, seconds: float, runs: list[int]) -> None:
    assert runs_of(Schedule(Recorder(tmp_path), 3, seconds)) == runs


def test_a_sample_is_kept_at_once(tmp_path: Path) -> None:
    cost = Cost(0.25, 0.5, seconds=6.0, written_bytes=100, syncs=2)
    recorder = Recorder(tmp_path, services=7, run=1)
    recorder.add_cost(Row.DRIFT, Who.GITVS, cost)
    recorder.add(Row.MEMORY, Who.GITVS, 65.5)
    drift, memory = Recorder(tmp_path).samples()
    assert (drift.row, drift.services, drift.run, drift.value) == ("drift", 7, 1, 0.75)
    assert drift.cost == cost
    assert (memory.value, memory.cost) == (65.5, None)


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


def test_instructions_are_the_time_of_a_clock_that_they_drive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(meter, "INSTRUCTION_NANOSECONDS", 8.0)
    before = Reading(user=1.0, kernel=2.0, at=10.0, written_bytes=5, syncs=1)
    after = Reading(user=9.0, kernel=6.0, at=30.0, written_bytes=105, syncs=4)
    assert after.since(before) == Cost(1.0, 0.5, 20.0, written_bytes=100, syncs=3)


def test_what_the_kernel_says_is_read() -> None:
    assert kilobytes("Rss: 7 kB\nPss:    1000 kB\n", "Pss") == 1024
