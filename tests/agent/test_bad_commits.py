"""A bad commit, and then its revert: nothing that judging does holds up anything else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gitvs.adapters.git.parse_commit import MAX_MESSAGE_BYTES
from gitvs.core.allowances import Allowance, parse_allowances
from gitvs.core.model.resources import RealServer
from tests.support.agents import (
    DIRECTOR,
    PATIENCE_SECONDS,
    Running,
    Site,
    eventually,
    service,
    site,
)
from tests.support.git.repositories import Repository


@pytest.fixture
def here(tmp_path: Path) -> Site:
    """A site whose remote is asked at start, and then on demand alone."""
    made = site(tmp_path)
    source = made.settings.source
    assert not isinstance(source, Path)
    made.settings = replace(made.settings, source=replace(source, poll_seconds=3600))
    return made


def many_rules(addresses: int, ports: int) -> str:
    vips = [f"203.0.{n // 200}.{n % 200 + 1}" for n in range(addresses)]
    return (
        service()
        .replace("[203.0.113.10]", str(vips))
        .replace("[{port: 80}]", str([{"port": n + 1} for n in range(ports)]))
        .replace("name: web", "name: more")
    )


BAD_COMMITS: dict[str, dict[str, str | bytes]] = {
    "syntax": {"web.yaml": "a: ["},
    "empty spec": {"web.yaml": "apiVersion: gitvs/v1\nkind: Service\nmetadata: {name: a}\nspec:\n"},
    "millions of rules": {"more.yaml": many_rules(400, 300)},
    "too large": {"more.yaml": b"# " + b"x" * (4 * 1024 * 1024)},
    "too much": {f"{n}.yaml": b"# " + b"x" * (4 * 1024 * 1024 - 9) for n in range(9)},
    "aliases": {"more.yaml": "a: &a [1, 2, 3]\n" + "b: [*a, *a]\n" * 9000},
    "nesting": {"more.yaml": "[" * 1000},
    "separators": {"more.yaml": "---\n" * 20_000 + "a: ["},
    "no such director": {"lb1.yaml": DIRECTOR.replace("lb1", "lb2")},
    "odd name": {"\udcff.yaml": "a: 1"},
}


def push_files(here: Site, files: dict[str, str | bytes]) -> str:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (here.remote / name).write_bytes(data)
    here.git("add", "--all")
    here.git("commit", "--quiet", "--message", "bad")
    return here.git("rev-parse", "HEAD")


def revert(here: Site, weight: int) -> str:
    here.git("rm", "--quiet", "-r", ".")
    (here.remote / "lb1.yaml").write_text(DIRECTOR)
    return here.push(service(weight=weight))


@dataclass
class BusiestTurn:
    """The most calls that the worker made between two looks at its queue."""

    calls: int = 0
    most: int = 0

    def count(self, frame: Any, event: str, _argument: object) -> None:
        if frame.f_code.co_name == "wait_for_work":
            self.calls = 0
        self.calls += 1
        self.most = max(self.most, self.calls)


def watched(running: Running) -> BusiestTurn:
    turn = BusiestTurn()
    running.agent.work_queue.submit(lambda: sys.setprofile(turn.count)).result()
    return turn


@pytest.mark.parametrize("kind", BAD_COMMITS)
def test_a_bad_commit_holds_up_nothing_and_its_revert_is_in_force_after_one_poll(
    here: Site, kind: str
) -> None:
    with here.running() as running:
        running.order("sync")
        assert here.weights() == [1, 1]
        turn = watched(running)
        here.push(service(weight=2))
        running.order("sync")
        of_a_good_commit = turn.most
        turn.most = 0
        bad = push_files(here, BAD_COMMITS[kind])
        answer = running.order("sync")
        assert answer["exitCode"] in (1, 4)
        assert answer["problems"]
        assert kind != "millions of rules" or "makes 360,000" in answer["problems"][0]
        here.set_weight(77)
        running.agent.work_queue.add_trigger("drift timer")
        eventually(lambda: here.weights() == [2, 2])
        assert running.status.source.error == ""
        assert getattr(running.status.source.head, "id", None) == bad
        running.order("drain", subject="s1")
        assert here.weights() == [0, 2]
        running.order("undrain", subject="s1")
        revert(here, 3)
        answer = running.order("sync")
        assert (answer["exitCode"], here.weights()) == (0, [3, 3])
        assert turn.most < 3 * of_a_good_commit


class Hanging:
    """Chooses a director only when it may: judging hangs until then."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, known: Collection[str]) -> str:
        self.has_begun.set()
        self.may_end.wait()
        return "lb1"


def test_while_a_commit_is_being_judged_drift_is_repaired_drains_end_and_orders_are_answered(
    here: Site,
) -> None:
    with here.running() as running:
        here.push(service(weight=2))
        running.order("sync")
        here.push(service(weight=2, servers=1))
        for server in here.state().of_type(RealServer):
            here.kernel.set_connections(server, active=1)
        running.order("sync")
        assert here.weights() == [2, 0]
        here.chooser = hanging = Hanging()
        head = here.push(service(weight=5, servers=1))
        running.agent.work_queue.submit(running.agent.sync)
        hanging.has_begun.wait()
        eventually(lambda: getattr(running.status.source.head, "id", None) == head)
        assert running.status.source.judging_since is not None
        here.set_weight(77)
        running.agent.work_queue.add_trigger("drift timer")
        eventually(lambda: here.weights() == [2, 0])
        eventually(lambda: "is not yet judged" in str(running.status.last_pass))
        assert running.order("standby")["exitCode"] == 0
        assert running.order("active")["exitCode"] == 0
        here.clock.ahead_seconds += 61
        eventually(lambda: here.weights() == [2])
        hanging.may_end.set()
        eventually(lambda: here.weights() == [5])
        eventually(lambda: running.status.source.judging_since is None)


def test_a_newer_commit_does_not_wait_for_the_judging_of_an_older_one(
    here: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with here.running() as running:
        running.order("sync")
        slow = push_files(here, {"more.yaml": "---\n- 1\n" * 400_000})
        sync = running.agent.work_queue.submit(running.agent.sync)
        eventually(lambda: getattr(running.status.source.head, "id", None) == slow)
        revert(here, 3)
        assert running.order("sync")["exitCode"] == 0
        assert here.weights() == [3, 3]
        assert f"judging dropped commit={slow}" in caplog.text
        assert sync.result().result().target is not None, "who asked before is answered too"


def test_commits_that_come_faster_than_they_are_judged_are_applied_now_and_then(
    here: Site,
) -> None:
    has_begun, may_go_on = threading.Semaphore(0), threading.Semaphore(0)

    def choose(known: Collection[str]) -> str:
        has_begun.release()
        may_go_on.acquire()
        return "lb1"

    with here.running() as running:
        running.order("sync")
        here.chooser, judge = choose, running.agent.follower.judge
        applied, answers = [], []

        def is_wanted(commit_id: str) -> bool:
            return judge._wanted is not None and judge._wanted.commit_id == commit_id

        try:
            for number in range(2, 15):
                newest = here.push(service(weight=number))
                answers.append(running.agent.work_queue.submit(running.agent.sync).result())
                if number > 2:
                    eventually(partial(is_wanted, newest))
                    may_go_on.release()
                has_begun.acquire()
                applied.append(here.weights()[0])
            problems = [str(p) for p in answers[0].result(PATIENCE_SECONDS).problems]
            assert "is not yet judged" in problems[0]
        finally:
            here.chooser = lambda known: "lb1"
            may_go_on.release(100)
        eventually(lambda: here.weights() == [14, 14])
    assert len(set(applied)) >= 3, applied


def test_a_long_history_of_long_messages_is_read_once_and_a_little_of_each(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def parse(message: str) -> Iterator[Allowance]:
        read.append(len(message))
        return parse_allowances(message)

    monkeypatch.setattr("gitvs.agent.judge.parse_allowances", parse)
    repository = Repository(here.remote)
    with here.running() as running:
        running.order("sync")
        turn = watched(running)
        here.push(service(weight=2))
        running.order("sync")
        of_a_good_commit = turn.most
        turn.most = 0
        read.clear()
        for number in range(10):
            repository.commit({"web.yaml": service(weight=0)}, f"{number}\n{'x' * 300_000}")
        assert running.order("sync")["exitCode"] == 3
        assert (len(read), sum(read)) == (10, 10 * MAX_MESSAGE_BYTES)
        repository.commit({"web.yaml": service(weight=0) + "\n"}, "more")
        assert running.order("sync")["exitCode"] == 3
        assert len(read) == 11
        revert(here, 3)
        assert running.order("sync")["exitCode"] == 0
        assert here.weights() == [3, 3]
        assert turn.most < 3 * of_a_good_commit


def test_a_commit_that_takes_too_long_is_a_problem_with_its_file(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with here.running() as running:
        running.order("sync")
        with monkeypatch.context() as hurried:
            hurried.setattr("gitvs.adapters.process.deadline.MAX_JUDGING_SECONDS", 0.05)
            push_files(here, {"more.yaml": "---\n- 1\n" * 100_000})
            answer = running.order("sync")
        assert answer["exitCode"] == 4
        (problem,) = answer["problems"]
        assert problem.startswith("more.yaml:1:1: checking these manifests takes more than 0.05 s")
        revert(here, 3)
        assert running.order("sync")["exitCode"] == 0
        assert here.weights() == [3, 3]


def test_after_a_restart_the_applied_state_comes_from_the_store(here: Site) -> None:
    with here.running() as running:
        running.order("sync")
    here.chooser = hanging = Hanging()
    here.set_weight(77)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        hanging.has_begun.wait()
        here.set_weight(78)
        running.agent.work_queue.add_trigger("drift timer")
        eventually(lambda: here.weights() == [1, 1])
        hanging.may_end.set()
        assert running.order("sync")["exitCode"] == 0


def test_a_folder_is_judged_while_what_is_applied_is_kept(here: Site) -> None:
    here.settings = replace(here.settings, source=here.remote)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.chooser = hanging = Hanging()
        (here.remote / "web.yaml").write_text(service(weight=8))
        hanging.has_begun.wait()
        here.set_weight(77)
        running.agent.work_queue.add_trigger("address changed")
        eventually(lambda: here.weights() == [1, 1])
        hanging.may_end.set()
        eventually(lambda: here.weights() == [8, 8])
