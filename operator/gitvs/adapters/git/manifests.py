"""Reads manifests at a revision, from a repository's objects."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from gitvs.adapters.git.find_repository import find_repository
from gitvs.adapters.git.hardened_git import GitFailed
from gitvs.adapters.git.object_reader import DamagedObject
from gitvs.adapters.git.objects import GitObjects, TreeEntry, open_objects
from gitvs.core.errors import SourceError
from gitvs.core.manifests.files import (
    MAX_READ_BYTES,
    GitFile,
    ManifestFile,
    TotalSizeLimit,
    utf8_name,
)
from gitvs.core.manifests.syntax.yaml_documents import is_manifest
from gitvs.core.problems import printable
from gitvs.ports import Snapshot

_NAME_OF_NO_FILE = re.compile(r"(?:^|/)(?:\.{0,2}|\.git|git~1)(?:/|$)", re.IGNORECASE)
"""A path with a name that Git never checks out."""


class GitManifests:
    """The manifests of one folder of a repository, at a revision, which may be a branch."""

    def __init__(
        self,
        open_objects: Callable[[], AbstractContextManager[GitObjects]],
        folder: str,
        revision: str,
        report_damage: Callable[[], None] = lambda: None,
    ) -> None:
        """`report_damage` is called if the repository turns out to be damaged."""
        self._open_objects = open_objects
        self._folder = folder
        self._revision = revision
        self._report_damage = report_damage

    @classmethod
    def for_folder(cls, path: Path, revision: str) -> GitManifests:
        """Return the source for a folder in a work tree or a bare repository.

        Raises:
            SourceError: the folder is not in a repository.
        """
        git_dir, folder = find_repository(path)
        return cls(partial(open_objects, git_dir), folder, revision)

    def load(self) -> Snapshot:
        """Read all manifest files of the folder, sorted by path.

        Raises:
            SourceError: no such revision or folder, or the repository cannot be read.
        """
        with self.open_snapshot() as snapshot:
            return replace(snapshot, files=[ManifestFile(f.path, f.data) for f in snapshot.files])

    @contextmanager
    def open_snapshot(self) -> Iterator[Snapshot]:
        """Find all manifest files of the folder; inside the block, each is read on demand.

        Raises:
            SourceError: as `load`; also inside the block, when a file is read.
        """
        try:
            with self._open_objects() as objects:
                yield snapshot_of(objects, objects.resolve(self._revision), self._folder)
        except (DamagedObject, GitFailed):
            self._report_damage()
            raise

    def commit_messages(
        self, base: str | None, known: Container[str] = ()
    ) -> Iterator[tuple[str, str]]:
        """Yield the commits since `base` with their messages, the newest first, one at a time.

        Those of `known` commits are not read, and empty here.

        Raises:
            SourceError: the repository cannot be read.
        """
        with self._open_objects() as objects:
            commit_ids = objects.commits_since(base, objects.resolve(self._revision))
            for commit_id in commit_ids:
                yield commit_id, "" if commit_id in known else objects.read_message(commit_id)


def snapshot_of(objects: GitObjects, commit_id: str, folder: str) -> Snapshot:
    """Find all manifest files of a commit's folder, sorted by path; each is read on demand.

    Raises:
        SourceError: no such folder, or the repository cannot be read, or not in one way only.
    """
    entries = objects.list_files(objects.find_tree_id(commit_id, folder))
    refuse_ambiguous_tree(commit_id, entries)
    manifests = [entry for entry in entries if is_manifest(entry.path)]
    files = _stored_files(objects, [entry for entry in manifests if entry.is_file])
    skipped = [e.path for e in manifests if e.is_symlink]
    skipped += [e.path for e in entries if e.is_submodule]
    return Snapshot(files, objects.read_commit(commit_id), tuple(sorted(skipped)))


def refuse_ambiguous_tree(commit_id: str, entries: Sequence[TreeEntry]) -> None:
    """Refuse what another reader could read differently; a fetch refuses it in older commits too.

    Git sorts trees so that the paths of everything in them ascend byte by byte.

    Raises:
        SourceError: the message names the path.
    """
    folders = _folders_of(entries)
    previous = b""
    for entry in entries:
        path = os.fsencode(entry.path)
        if _NAME_OF_NO_FILE.search(entry.path):
            problem = "has a name that no checkout can have"
        elif path == previous or entry.path in folders:
            problem = "is there twice"
        elif path < previous:
            problem = "is out of order"
        else:
            previous = path
            continue
        raise SourceError(
            f"commit {commit_id[:12]} cannot be read in one way only: {printable(entry.path)}"
            f" {problem}. Agents refuse its whole branch; rewrite the commit with Git's own tools"
        )


def _folders_of(entries: Iterable[TreeEntry]) -> set[str]:
    """Return the paths of all folders that these entries are in."""
    folders: set[str] = set()
    for entry in entries:
        folder = entry.path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def _stored_files(objects: GitObjects, entries: list[TreeEntry]) -> list[GitFile]:
    total = TotalSizeLimit()
    for entry in entries:
        total.add_file(min(entry.size, MAX_READ_BYTES))
    entries = sorted(entries, key=lambda entry: entry.path)
    objects.expect(entry for entry in entries if entry.size < MAX_READ_BYTES)
    return [
        GitFile(
            utf8_name(e.path), e.object_id, partial(_read_limited, objects, e.object_id, e.size)
        )
        for e in entries
    ]


def _read_limited(objects: GitObjects, object_id: str, size: int) -> bytes:
    """Return a file's content; for one that is too large, zeros that the loader rejects."""
    return bytes(MAX_READ_BYTES) if size >= MAX_READ_BYTES else objects.read(object_id)
