"""The fetch job: whatever a fetch meets, the next one comes."""

from __future__ import annotations

from pathlib import Path
from queue import Queue

from gitvs.adapters.git.remote import GitRemote
from gitvs.agent.fetcher import Fetcher, FetchResult
from gitvs.core.model.history import Commit
from gitvs.core.settings import RemoteSettings
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
