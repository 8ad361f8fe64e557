"""Reads manifests from a folder: a work tree, or any other."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitvs.core.errors import SourceError
from gitvs.core.manifests.files import MAX_READ_BYTES, ManifestFile, TotalSizeLimit, utf8_name
from gitvs.core.manifests.syntax.yaml_documents import is_manifest
from gitvs.ports import Snapshot

_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DirectorySource:
    """Every manifest file below a folder, except hidden files, links and other repositories.

    So a work tree has the same manifests as its commit: submodules are not followed in a commit
    either.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> Snapshot:
        """Read all manifest files, sorted by path.

        Raises:
            SourceError: the folder, or a file in it, could not be read, and why.
        """
        with _as_source_errors(self._folder):
            is_folder = stat.S_ISDIR(self._folder.stat().st_mode)
        if not is_folder:
            raise SourceError(f"{self._folder} is not a folder; give the folder with the manifests")
        names, skipped = self._find_names()
        total = TotalSizeLimit()
        files = []
        for name in sorted(names):
            data = self._read_file(name)
            total.add_file(len(data))
            files.append(ManifestFile(name, data))
        return Snapshot(files, skipped=tuple(sorted(skipped)))

    def _find_names(self) -> tuple[list[str], list[str]]:
        """Return the names of all manifest files, and of what is skipped.

        These are links to manifests or folders, and folders that are repositories of their own.
        """
        names: list[str] = []
        skipped: list[str] = []
        unread_folders = [""]
        while unread_folders:
            parent = unread_folders.pop()
            entries = self._list_folder(parent)
            if parent and any(entry.name == ".git" for entry in entries):
                skipped.append(utf8_name(parent.rstrip("/")))
                continue
            for entry in (e for e in entries if not e.name.startswith(".")):
                name = parent + entry.name
                if entry.is_symlink():
                    if is_manifest(name) or _may_lead_to_folder(entry):
                        skipped.append(utf8_name(name))
                elif entry.is_dir(follow_symlinks=False):
                    unread_folders.append(f"{name}/")
                elif is_manifest(name):
                    names.append(utf8_name(name))
        return names, skipped

    def _list_folder(self, parent: str) -> list[os.DirEntry[str]]:
        folder = self._folder / parent
        with _as_source_errors(folder), os.scandir(folder) as entries:
            return list(entries)

    def _read_file(self, name: str) -> bytes:
        path = self._folder / name
        with _as_source_errors(path):
            descriptor = os.open(path, _OPEN_FLAGS)
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise SourceError(f"{path} is named like a manifest, but is not a file")
                return file.read(MAX_READ_BYTES)


def _may_lead_to_folder(link: os.DirEntry[str]) -> bool:
    """Whether a link leads to a folder, or to something that cannot be looked at."""
    try:
        return link.is_dir()
    except OSError:  # a link to itself, or into a folder that may not be entered
        return True


@contextmanager
def _as_source_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
