"""The fetch job: whatever a fetch meets, the next one comes."""

from __future__ import annotations

from pathlib import Path
from queue import Queue

import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.agent.fetcher import Fetcher, FetchResult
from gitvs.core.settings import RemoteSettings
from tests.support.git.repositories import Repository


@pytest.mark.parametrize("is_there", [True, False])
def test_a_bug_in_reading_a_commit_does_not_end_the_fetching(
    tmp_path: Path, is_there: bool
) -> None:
    url = tmp_path / "remote"
    if is_there:
        Repository(url).commit({"web.yaml": ""})
    remote = GitRemote(tmp_path / "state", RemoteSettings(str(url), allow_local=True))
    told: Queue[FetchResult] = Queue()
    fetcher = Fetcher(remote, _bug, told.put)
    fetcher.accepted_head = None if is_there else "0" * 40
    fetcher.start()
    for number in (1, 2):
        assert fetcher.request_fetch() == number
        fetched = told.get(timeout=10)
        assert fetched.request_number == number
        assert "met a bug: ValueError" in str(fetched.error)
    fetcher.stop()


def _bug(commit_id: str) -> None:
    raise ValueError(commit_id)
