"""The judge's thread, when it ends by itself."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from threading import Semaphore

import pytest

from gitvs.adapters.files.followed_folder import FollowedFolder
from gitvs.agent.judge import Judge, Subject
from gitvs.ports import Applied
from tests.support.agents import DIRECTOR, PATIENCE_SECONDS, eventually, service


def test_of_subjects_that_come_faster_than_they_are_judged_every_fourth_is_judged(
    tmp_path: Path,
) -> None:
    (tmp_path / "lb1.yaml").write_text(DIRECTOR)
    (tmp_path / "web.yaml").write_text(service(weight=1))
    has_begun, may_go_on = Semaphore(0), Semaphore(0)

    def choose_director(known: Collection[str]) -> str:
        has_begun.release()
        may_go_on.acquire()
        return "lb1"

    judge, reported = Judge(FollowedFolder(tmp_path), choose_director), Semaphore(0)
    judge.start(lambda _: reported.release())
    judged = []
    try:
        for number in range(12):
            (tmp_path / "web.yaml").write_text(service(weight=number + 1))
            judge.request(Subject(reading=number))
            if number:
                may_go_on.release()
            if number and number % 4 == 0:
                assert reported.acquire(timeout=PATIENCE_SECONDS)
                judged += [n for n in range(12) if judge.is_judged(Subject(reading=n))]
            has_begun.acquire()
    finally:
        judge.stop()
        may_go_on.release(100)
    assert judged == [3, 7]


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

    judge, subject = Judge(FollowedFolder(tmp_path), choose_director), Subject(reading=1)
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
