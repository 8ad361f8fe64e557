"""Reads a repository's commits, and the manifests of one folder in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gitvs.adapters.git.find_repository import find_repository
from gitvs.adapters.git.manifests import snapshot_of
from gitvs.adapters.git.objects import SHALLOW_ADVICE, GitObjects, open_objects
from gitvs.core.model.history import Commit
from gitvs.ports import Snapshot


class GitCommits:
    """Implements `ports.Commits` from the objects of one repository only.

    `work_tree` is the folder in the work tree; None in a bare repository.
    """

    def __init__(self, objects: GitObjects, folder: str, work_tree: Path | None = None) -> None:
        self._objects = objects
        self.folder = folder.rstrip("/")
        self.work_tree = work_tree

    def commit(self, revision: str) -> Commit:
        return self._objects.read_commit(self._objects.resolve(revision))

    def has_folder(self, commit_id: str) -> bool:
        return self._objects.has_folder(commit_id, self.folder)

    def snapshot(self, commit_id: str) -> Snapshot:
        return snapshot_of(self._objects, commit_id, self.folder)

    def since(self, base_id: str, head_id: str) -> Sequence[str]:
        return self._objects.commits_since(base_id, head_id)

    def message(self, commit_id: str) -> str:
        return self._objects.read_message(commit_id)

    def first_parents(self, commit_id: str, limit: int) -> Sequence[str]:
        return self._objects.first_parents(commit_id, limit)

    def merge_bases(self, first_id: str, second_id: str) -> Sequence[str]:
        return self._objects.merge_bases(first_id, second_id)

    @property
    def cut_off(self) -> str:
        return SHALLOW_ADVICE if self._objects.is_shallow else ""


@contextmanager
def open_commits(path: Path) -> Iterator[GitCommits]:
    """Open the commits of the repository that a folder is in.

    Raises:
        SourceError: the folder is not in a repository.
    """
    git_dir, folder = find_repository(path)
    with open_objects(git_dir) as objects:
        work_tree = None if path.resolve().is_relative_to(git_dir) else path
        yield GitCommits(objects, folder, work_tree)
