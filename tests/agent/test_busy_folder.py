"""A folder of manifests in which somebody writes all the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.agents import DIRECTOR, Site, eventually, service, site

WATCH = "gitvs.adapters.files.directory_watch"


@pytest.fixture
def here(tmp_path: Path) -> Site:
    """A site whose manifests come from a folder."""
    made = site(tmp_path)
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "lb1.yaml").write_text(DIRECTOR)
    (folder / "web.yaml").write_text(service())
    made.settings = replace(made.settings, source=folder, drift_seconds=3600.0)
    return made


def folder_of(here: Site) -> Path:
    assert isinstance(here.settings.source, Path)
    return here.settings.source


@contextmanager
def written_all_the_time(path: Path, text: str = "# note\n") -> Iterator[None]:
    is_over = threading.Event()
    path.write_text(text)

    def write() -> None:
        while not is_over.wait(0.05):
            path.write_text(text)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.mark.parametrize("name", ["notes.log", ".web.yaml.swp", ".hidden/a.yaml"])
def test_files_that_are_no_manifests_keep_nothing_from_being_applied(
    here: Site, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{WATCH}.LONGEST_WAIT_SECONDS", float("inf"))
    path = folder_of(here) / name
    path.parent.mkdir(exist_ok=True)
    with here.running() as running, written_all_the_time(path):
        eventually(lambda: here.weights() == [1, 1])
        (folder_of(here) / "web.yaml").write_text(service(weight=5))
        eventually(lambda: here.weights() == [5, 5])
        assert running.order("sync")["problems"] == []


def test_a_manifest_that_is_changed_all_the_time_delays_the_others_and_keeps_none_of_them(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{WATCH}.REPORTED_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(f"{WATCH}.LONGEST_WAIT_SECONDS", float("inf"))
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        with written_all_the_time(folder_of(here) / "notes.yaml"):
            eventually(lambda: "changes all the time" in str(running.status.last_pass))
            (folder_of(here) / "web.yaml").write_text(service(weight=5))
            answer = running.order("sync")
            assert (answer["exitCode"], here.weights()) == (1, [1, 1])
            (problem,) = answer["problems"]
            said = ("changes all the time", "is open for writing")  # while it is open
            assert problem.startswith(str(folder_of(here)))
            assert any(text in problem for text in said)
            monkeypatch.setattr(f"{WATCH}.LONGEST_WAIT_SECONDS", 0.5)
            eventually(lambda: here.weights() == [5, 5])
            (folder_of(here) / "web.yaml").write_text(service(weight=6))
            eventually(lambda: here.weights() == [6, 6])
        eventually(lambda: running.order("sync")["exitCode"] == 0)


def test_a_manifest_that_is_half_written_is_never_read_and_that_is_said(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{WATCH}.REPORTED_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(f"{WATCH}.LONGEST_WAIT_SECONDS", 0.0)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        with (folder_of(here) / "web.yaml").open("w") as file:
            file.write(service(weight=5)[:-20])
            file.flush()
            eventually(lambda: "file web.yaml is open for writing" in str(running.status.last_pass))
            answer = running.order("sync")
            assert (answer["exitCode"], here.weights()) == (1, [1, 1])
            file.write(service(weight=5)[-20:])
        eventually(lambda: here.weights() == [5, 5])
        eventually(lambda: running.order("sync")["problems"] == [])
