"""Reads manifests at a revision, from a repository's objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from gitvs.adapters.git.objects import Entry, GitObjects, opened
from gitvs.adapters.git.repository import find_repository
from gitvs.core.manifests.limits import MAX_READ_BYTES, TotalSize, readable_name
from gitvs.core.manifests.syntax.yaml_documents import is_manifest
from gitvs.core.model.desired import ManifestFile, StoredFile
from gitvs.ports import Snapshot


class GitSource:
    """The manifests of one folder of a repository, at a revision. `revision` may be a branch."""

    def __init__(self, git_dir: Path, folder: str, revision: str) -> None:
        self._git_dir = git_dir
        self._folder = folder
        self._revision = revision

    @classmethod
    def at(cls, path: Path, revision: str) -> GitSource:
        """Return the source for a folder in a work tree or a bare repository.

        Raises:
            SourceError: it is in no repository.
        """
        git_dir, folder = find_repository(path)
        return cls(git_dir, folder, revision)

    def load(self) -> Snapshot:
        """Read all manifest files of the folder, sorted by path.

        Raises:
            SourceError: no such revision or folder, or the repository cannot be read.
        """
        with self.opened() as found:
            return replace(found, files=[ManifestFile(f.path, f.data) for f in found.files])

    @contextmanager
    def opened(self) -> Iterator[Snapshot]:
        """Find all manifest files of the folder; within the block each is read when asked for.

        Raises:
            SourceError: as `load`; in the block too, where a file is read.
        """
        with opened(self._git_dir) as objects:
            yield snapshot_of(objects, objects.resolve(self._revision), self._folder)

    def messages(self, base: str | None) -> list[str]:
        """Return the messages of the commits since `base`, the newest first.

        Raises:
            SourceError: the repository cannot be read.
        """
        with opened(self._git_dir) as objects:
            since = objects.since(base, objects.resolve(self._revision))
            return [objects.message(commit_id) for commit_id in since]


def snapshot_of(objects: GitObjects, commit_id: str, folder: str) -> Snapshot:
    """Find all manifest files of a commit's folder, sorted by path; each is read when asked for.

    Raises:
        SourceError: no such folder, or the repository cannot be read.
    """
    entries = objects.files(objects.folder(commit_id, folder))
    manifests = [entry for entry in entries if is_manifest(entry.name)]
    files = _files(objects, [entry for entry in manifests if entry.is_file])
    skipped = [e.name for e in manifests if e.is_symlink]
    skipped += [e.name for e in entries if e.is_submodule]
    return Snapshot(files, objects.commit(commit_id), tuple(sorted(skipped)))


def _files(objects: GitObjects, entries: list[Entry]) -> list[StoredFile]:
    total = TotalSize()
    for entry in entries:
        total.add(min(entry.size, MAX_READ_BYTES))
    return [
        StoredFile(readable_name(e.name), e.id, partial(_read, objects, e.id, e.size))
        for e in sorted(entries, key=lambda e: e.name)
    ]


def _read(objects: GitObjects, object_id: str, size: int) -> bytes:
    """Read a file; of one that is too large, only as much is made up as the loader refuses."""
    return bytes(MAX_READ_BYTES) if size >= MAX_READ_BYTES else objects.read(object_id)
