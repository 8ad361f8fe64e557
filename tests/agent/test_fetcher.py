"""The fetch job: whatever a fetch meets, the next one comes."""

from __future__ import annotations

from pathlib import Path
from queue import Queue
from threading import Event, Semaphore

import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.agent import fetcher as fetcher_module
from gitvs.agent.fetcher import Fetcher, FetchResult
from gitvs.core.model.history import Commit
from gitvs.core.settings import RemoteSettings
from tests.support.agents import eventually
from tests.support.git.repositories import Repository


def test_a_bug_in_fetching_does_not_end_the_fetching(
    tmp_path: Path,
) -> None:
    url = tmp_path / "remote"
    Repository(url).commit({"web.yaml": ""})
    remote = BuggyRemote(tmp_path / "state", RemoteSettings(str(url), allow_local=True))
    told: Queue[FetchResult] = Queue()
    fetcher = Fetcher(remote, told.put)
    fetcher.start()
    for number in (1, 2):
        assert fetcher.request_fetch() == number
        fetched = told.get(timeout=120)
        assert fetched.request_number == number
        assert "met a bug, ValueError" in str(fetched.error)
    fetcher.stop()


class BuggyRemote(GitRemote):
    """A remote with a bug that its answer meets."""

    def fetch(self, accepted_head: str | None) -> Commit:
        raise ValueError(accepted_head)


class CountingRemote(GitRemote):
    """A remote that counts fetches; each takes until `may_end` is released."""

    def __init__(self, folder: Path) -> None:
        url = folder / "remote"
        self.commit = Commit(Repository(url).commit({"web.yaml": ""}))
        super().__init__(folder / "state", RemoteSettings(str(url), allow_local=True))
        self.fetches = 0
        self.began = Semaphore(0)
        self.may_end = Semaphore(0)

    def fetch(self, accepted_head: str | None) -> Commit:
        self.fetches += 1
        self.began.release()
        assert self.may_end.acquire(timeout=20)
        return self.commit

    def verify_signature(self, commit_id: str) -> str:
        return ""


def test_pushes_during_a_fetch_cause_one_more_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher_module, "MIN_PUSH_INTERVAL_SECONDS", 0.0)
    remote = CountingRemote(tmp_path)
    told: Queue[FetchResult] = Queue()
    fetcher = Fetcher(remote, told.put)
    fetcher.start()
    fetcher.announce_push()
    assert remote.began.acquire(timeout=20)
    for _ in range(1000):
        fetcher.announce_push()
    for _ in range(2):
        remote.may_end.release()
        assert told.get(timeout=20).head == remote.commit
    fetcher.request_fetch()
    remote.may_end.release()
    assert told.get(timeout=20).request_number == 1
    assert remote.fetches == 3
    fetcher.stop()


def test_a_flood_of_pushes_causes_no_fetch_before_the_interval_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher_module, "MIN_PUSH_INTERVAL_SECONDS", 3600.0)
    remote = CountingRemote(tmp_path)
    remote.may_end.release(10)
    told: Queue[FetchResult] = Queue()
    fetcher = Fetcher(remote, told.put)
    fetcher.start()
    for _ in range(1000):
        fetcher.announce_push()
    assert remote.began.acquire(timeout=20)
    told.get(timeout=20)
    for _ in range(1000):
        fetcher.announce_push()
    assert not remote.began.acquire(timeout=0.5), "it waits"
    assert fetcher.request_fetch() == 1, "an operator does not wait"
    assert told.get(timeout=20).request_number == 1
    assert remote.fetches == 2
    assert fetcher._seconds_to_push() is None, "that fetch has served all of them"
    fetcher.stop()


def test_a_push_soon_after_a_fetch_is_fetched_once_the_interval_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher_module, "MIN_PUSH_INTERVAL_SECONDS", 0.3)
    remote = CountingRemote(tmp_path)
    remote.may_end.release(10)
    told: Queue[FetchResult] = Queue()
    fetcher = Fetcher(remote, told.put)
    fetcher.start()
    fetcher.request_fetch()
    told.get(timeout=20)
    fetcher.announce_push()
    told.get(timeout=20)
    assert remote.fetches == 2
    fetcher.stop()


def test_a_push_that_waits_does_not_keep_the_thread_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher_module, "MIN_PUSH_INTERVAL_SECONDS", 3600.0)
    remote = CountingRemote(tmp_path)
    remote.may_end.release(10)
    done = Event()
    fetcher = Fetcher(remote, lambda result: done.set())
    fetcher.start()
    fetcher.announce_push()
    assert done.wait(20)
    fetcher.announce_push()
    fetcher.stop()
    eventually(lambda: not fetcher.is_alive())
    assert remote.fetches == 1
