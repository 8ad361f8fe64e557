"""Reads manifests at a revision, from a repository's objects."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from gitvs.adapters.git.find_repository import find_repository
from gitvs.adapters.git.hardened_git import GitFailed
from gitvs.adapters.git.object_reader import DamagedObject
from gitvs.adapters.git.objects import Folder, GitObjects, TreeEntry, open_objects
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
    tree_id = objects.find_tree_id(commit_id, folder)
    folders = _changed_folders(objects, commit_id, tree_id) or _all_folders(
        objects, commit_id, tree_id
    )
    manifests = sorted(
        (found for folder in folders.values() for found in folder.manifests),
        key=lambda found: found[0].path,
    )
    total = TotalSizeLimit()
    total.add_file(sum(min(size, MAX_READ_BYTES) for _, size in manifests))
    objects.expect([(file.blob_id, size) for file, size in manifests if size < MAX_READ_BYTES])
    objects.known_folders = folders
    skipped = sorted(path for folder in folders.values() for path in folder.skipped)
    files = [file for file, _ in manifests]
    return Snapshot(files, objects.read_commit(commit_id), tuple(skipped))


_MAX_CHANGED_FOLDERS = 8
"""Each is listed by a process of its own; if there are more, one process lists everything."""


def _changed_folders(
    objects: GitObjects, commit_id: str, tree_id: str
) -> Mapping[str, Folder] | None:
    """Return the folders of a commit, of which few differ from those listed last; None if many do.

    Of 10,000 files in 100 folders, one of which changed, listing all takes 45 ms of processor
    time, Git's part included: half of what the agent does for such a commit. This takes 9 ms.
    """
    known = objects.known_folders
    found: dict[str, Folder] = {}
    remaining, changed_count = [("", tree_id)], 0
    while remaining and known:
        path, tree_id = remaining.pop()
        folder = known.get(path)
        if folder is None or folder.tree_id != tree_id:
            changed_count += 1
            if changed_count > _MAX_CHANGED_FOLDERS:
                return None
            entries = objects.list_folder(tree_id, path)
            folder = _folder(objects, commit_id, path, tree_id, entries)
        found[path] = folder
        remaining += [(f"{entry.path}/", entry.object_id) for entry in folder.subfolders]
    return found


def _all_folders(objects: GitObjects, commit_id: str, tree_id: str) -> Mapping[str, Folder]:
    tree_ids, entries_by_path = {"": tree_id}, defaultdict[str, list[TreeEntry]](list)
    for entry in objects.list_everything(tree_id):
        entries_by_path[entry.path[: entry.path.rfind("/") + 1]].append(entry)
        if entry.is_folder:
            tree_ids[f"{entry.path}/"] = entry.object_id
    for path in entries_by_path.keys() - tree_ids.keys():
        raise _ambiguous(commit_id, entries_by_path[path][0], _NAME_PROBLEM)
    return {
        path: _folder(objects, commit_id, path, tree_id, entries_by_path[path])
        for path, tree_id in tree_ids.items()
    }


def _folder(
    objects: GitObjects, commit_id: str, path: str, tree_id: str, entries: Sequence[TreeEntry]
) -> Folder:
    """Return one folder.

    Raises:
        SourceError: the folder can be read in several ways.
        UnusableManifests: the name of a file is not UTF-8.
    """
    refuse_ambiguous_folder(commit_id, path, entries)
    named = [entry for entry in entries if is_manifest(entry.path)]
    manifests = [
        (GitFile(utf8_name(e.path), e.object_id, partial(_read_limited, objects, e)), e.size)
        for e in named
        if e.is_file
    ]
    skipped = [e.path for e in named if e.is_symlink] + [e.path for e in entries if e.is_submodule]
    subfolders = tuple(entry for entry in entries if entry.is_folder)
    return Folder(tree_id, subfolders, tuple(manifests), tuple(skipped))


def refuse_ambiguous_folder(commit_id: str, path: str, entries: Sequence[TreeEntry]) -> None:
    """Refuse what another reader could read differently; a fetch refuses it in older commits too.

    Git sorts a folder byte by byte, and the names of folders as if they ended with a slash.

    Raises:
        SourceError: the message names the path of an entry.
    """
    seen: set[str] = set()
    previous = b""
    for entry in entries:
        place = os.fsencode(f"{entry.path}/" if entry.is_folder else entry.path)
        if "/" in entry.path[len(path) :] or _NAME_OF_NO_FILE.search(entry.path):
            raise _ambiguous(commit_id, entry, _NAME_PROBLEM)
        if entry.path in seen:
            raise _ambiguous(commit_id, entry, "is there twice")
        if place < previous:
            raise _ambiguous(commit_id, entry, "is out of order")
        previous = place
        seen.add(entry.path)


_NAME_PROBLEM = "has a name that no checkout can have"


def _ambiguous(commit_id: str, entry: TreeEntry, problem: str) -> SourceError:
    return SourceError(
        f"commit {commit_id[:12]} is ambiguous: {printable(entry.path)} {problem}."
        " Agents refuse its whole branch; rewrite the commit with Git's own tools"
    )


def _read_limited(objects: GitObjects, entry: TreeEntry) -> bytes:
    """Return a file's content; for a file that is too large, zeros, which the loader rejects."""
    is_too_large = entry.size >= MAX_READ_BYTES
    return bytes(MAX_READ_BYTES) if is_too_large else objects.read(entry.object_id)
