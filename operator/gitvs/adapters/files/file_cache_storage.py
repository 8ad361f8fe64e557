"""Keeps texts by key in one file of the user's cache folder, from one process to the next.

All of it is derived, and safe to delete. What cannot be read, or is not ours alone to write,
is as good as not there, and no failure to write is one of the command's: a cache makes
commands faster and nothing else. It protects from damage and from other users; whoever may
write as this user may as well exchange gitvs itself.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from itertools import chain
from pathlib import Path

MAX_CACHE_BYTES = 64 * 1024 * 1024
"""Of the file. The largest load of manifests needs the half of it."""

_DIGEST_BYTES = 16
_FILE_NAME, _NEW_FILE_NAME = "files", "files.new"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

log = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """Return where this user's caches of gitvs are; None without a home.

    Source: XDG Base Directory Specification: a path that is not absolute is ignored.
    """
    for name, subfolder in (("XDG_CACHE_HOME", "gitvs"), ("HOME", ".cache/gitvs")):
        if (value := os.environ.get(name, "")).startswith("/"):
            return Path(value, subfolder)
    return None


class FileCacheStorage:
    """Texts of one line each, by key. `edition` says what they follow from beside their keys.

    `unusable_reason` is why what is there is not used, where people should know.
    """

    def __init__(self, folder: Path, edition: str) -> None:
        self.unusable_reason = ""
        self._folder = folder
        self._edition = edition.encode()
        self._stored_lines: dict[bytes, bytes] = {}
        self._used_lines: dict[bytes, bytes] = {}
        self._has_new_lines = False
        try:
            self._stored_lines = self._read()
        except _UntrustedFile as error:
            self.unusable_reason = str(error)
        except OSError as error:
            log.debug("cache not read reason=%s", error)

    def get(self, key: str) -> bytes | None:
        """Return a text as it was put; None where it is damaged."""
        encoded_key = key.encode()
        line = self._stored_lines.get(encoded_key)
        if line is None:
            return None
        text = line[len(encoded_key) + 2 * _DIGEST_BYTES + 2 :]
        if line != self._make_line(encoded_key, text):
            return None
        self._used_lines[encoded_key] = line
        return text

    def put(self, key: str, text: bytes) -> None:
        """Keep a text."""
        encoded_key = key.encode()
        self._used_lines[encoded_key] = self._make_line(encoded_key, text)
        self._has_new_lines = True

    def _make_line(self, encoded_key: bytes, text: bytes) -> bytes:
        digest = blake2b(b" ".join((self._edition, encoded_key, text)), digest_size=_DIGEST_BYTES)
        return b" ".join((encoded_key, digest.hexdigest().encode(), text))

    def _read(self) -> dict[bytes, bytes]:
        with _open_folder(self._folder) as folder:
            descriptor = os.open(_FILE_NAME, _READ_FLAGS, dir_fd=folder)
            with open(descriptor, "rb") as file:
                _require_trusted(descriptor, self._folder / _FILE_NAME)
                edition, *lines = (file.read(MAX_CACHE_BYTES) or b"").split(b"\n")
        if edition != self._edition:
            return {}
        return {line.partition(b" ")[0]: line for line in lines}

    def save(self) -> None:
        """Write what is new, with what was used before what was not, as far as there is room."""
        if not self._has_new_lines:
            return
        try:
            if _make_folder(self._folder):
                self._write(b"\n".join(self._lines_to_keep()))
        except (_UntrustedFile, OSError) as error:
            log.debug("cache not written reason=%s", error)

    def _lines_to_keep(self) -> Iterator[bytes]:
        remaining_bytes = MAX_CACHE_BYTES - len(self._edition)
        yield self._edition
        unused = (line for name, line in self._stored_lines.items() if name not in self._used_lines)
        for line in chain(self._used_lines.values(), unused):
            remaining_bytes -= len(line) + 1
            if remaining_bytes < 0:
                return
            yield line

    def _write(self, data: bytes) -> None:
        """Put a file in the place of the last one.

        Two processes may do it at once: then the later one goes on writing what the earlier put
        into place, and whoever reads in between finds fewer texts.
        """
        with _open_folder(self._folder) as folder:
            _remove(_NEW_FILE_NAME, folder)  # of a process that was killed
            try:
                descriptor = os.open(_NEW_FILE_NAME, _WRITE_FLAGS, 0o600, dir_fd=folder)
                with open(descriptor, "wb") as file:
                    file.write(data)
                os.rename(_NEW_FILE_NAME, _FILE_NAME, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                _remove(_NEW_FILE_NAME, folder)


def _remove(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


class _UntrustedFile(Exception):
    """Somebody else may have written what is there."""


@contextmanager
def _open_folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _FOLDER_FLAGS)
    try:
        _require_trusted(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _require_trusted(descriptor: int, path: Path) -> None:
    """Refuse what others can write.

    Raises:
        _NotOurs: in words.
    """
    file_stat = os.fstat(descriptor)
    if file_stat.st_uid != os.geteuid():
        raise _UntrustedFile(f"{path} belongs to another user (uid {file_stat.st_uid})")
    if file_stat.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _UntrustedFile(f"{path} may be written by others; `chmod go-w` it, or delete it")


def _make_folder(folder: Path) -> bool:
    """Make the folder, unless root would make it in somebody's home."""
    nearest_existing = next(parent for parent in folder.parents if parent.exists())
    if nearest_existing.stat().st_uid not in (0, os.geteuid()):
        return False
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return True
