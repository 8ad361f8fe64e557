"""What is measured without a kernel, on a repository small enough for a test."""

from __future__ import annotations

from pathlib import Path

from tests.bench.host import (
    LOADS,
    PREVIEWS,
    main,
    measure_agent,
    measure_previews,
    profile_previews,
)
from tests.bench.load import make_load
from tests.bench.profiles import profile_agent, profile_file
from tests.bench.samples import Recorder, Row, Schedule, Who

LOAD = make_load(40)


def measured(folder: Path) -> list[Row]:
    """Return the rows of what was measured."""
    samples = Recorder(folder).samples()
    assert all(sample.value > 0 for sample in samples)
    return [sample.row for sample in samples]


def test_loading_is_measured(tmp_path: Path) -> None:
    main(tmp_path, 40, "1")
    assert measured(tmp_path) == [*LOADS]


def test_previews_are_measured(tmp_path: Path) -> None:
    measure_previews(Schedule(Recorder(tmp_path, services=40), 1, 60.0), LOAD)
    assert measured(tmp_path) == [*PREVIEWS]


def test_loads_and_previews_have_profiles(tmp_path: Path) -> None:
    main(tmp_path, 40, "profile")
    profile_previews(tmp_path, LOAD)
    for row in (*LOADS, *PREVIEWS):
        assert "function calls" in profile_file(tmp_path, row).read_text()


def test_an_agent_is_measured_with_its_kernel_in_memory(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, services=40)
    measure_agent(Schedule(recorder, 1, 60.0), LOAD)
    rows = {sample.row: sample.value for sample in recorder.samples()}
    assert 0 < rows[Row.STATUS_HERE] < 60
    megabytes, most = rows[Row.MEMORY_HERE], rows[Row.PEAK_HERE]
    assert 10 < megabytes <= most
    assert {sample.who for sample in recorder.samples()} == {Who.GITVS}


def test_an_agent_has_profiles(tmp_path: Path) -> None:
    rows = {Row.CHANGE, Row.DRIFT, Row.MEMORY_HERE}
    profile_agent(tmp_path, LOAD, rows)
    assert all("an agent with 40 services" in profile_file(tmp_path, r).read_text() for r in rows)
