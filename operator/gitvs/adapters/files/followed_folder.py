"""A folder of manifests that an agent follows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gitvs.adapters.files.directory_source import DirectorySource
from gitvs.core.errors import SourceError
from gitvs.core.model.history import Commit
from gitvs.ports import Snapshot


class FollowedFolder:
    """Implements `FollowedSource` for a folder, which has no commits: there is nothing to fetch."""

    has_commits = False

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._source = DirectorySource(folder)

    def fetch(self, accepted_head: str | None) -> Commit | None:
        return None

    def manifests_of(self, commit_id: str | None) -> FollowedFolder:
        return self

    @contextmanager
    def open_snapshot(self) -> Iterator[Snapshot]:
        """Read all manifest files, sorted by path.

        Raises:
            SourceError: the folder, or a file in it, could not be read, and why.
        """
        yield self._source.load()

    def commit_messages(
        self, base: str | None, known: Container[str] = ()
    ) -> Iterator[tuple[str, str]]:
        return iter(())

    def verify_signature(self, commit_id: str) -> str:
        raise _no_commits()

    def check_rewritten_commit(self, abbreviated_id: str) -> Commit:
        raise _no_commits()

    def resolve(self, revision: str) -> str:
        raise _no_commits()

    def is_ancestor(self, older: str, newer: str) -> bool:
        return False

    def keep_commits(self, commit_ids: Iterable[str]) -> None:
        pass

    def maintain(self) -> None:
        pass


def _no_commits() -> SourceError:
    return SourceError("the manifests come from a folder, which has no commits")
