"""The judge's thread, when it ends by itself."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

import pytest

from gitvs.adapters.files.directory_source import DirectorySource
from gitvs.agent.judge import Judge, Subject
from gitvs.ports import Applied
from tests.support.agents import DIRECTOR, eventually, service


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_judge_that_died_is_started_again_and_judges_what_it_was_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lb1.yaml").write_text(DIRECTOR)
    (tmp_path / "web.yaml").write_text(service(weight=1))
    deaths = [SystemExit()]

    def choose_director(known: Collection[str]) -> str:
        if deaths:
            raise deaths.pop()
        return "lb1"

    judge, subject = Judge(DirectorySource(tmp_path), choose_director), Subject(reading=1)
    judge.start(lambda _: None)
    try:
        judge.request(subject)
        eventually(lambda: not deaths)
        eventually(lambda: judge._thread is not None and not judge._thread.is_alive())
        for _ in range(2):
            judge.restart_if_dead()
        eventually(lambda: judge.is_judged(subject))
        judgement = judge.judgement_of(subject)
        assert judgement is not None
        assert isinstance(judgement.rendered, Applied)
    finally:
        judge.stop()
    errors = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert errors == ["judge ended unexpectedly, started again"]
