"""Stores texts by key in one file of the user's cache folder, for later processes.

All of it is derived and can be deleted. A file that cannot be read, or that other users can
write, is treated as missing, and a failed write does not fail the command: the cache only makes
commands faster. It protects against damage and other users. Anyone who can write as this user
could replace gitvs itself too.
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
"""Limit of the file size; the largest load of manifests needs half of it."""

_DIGEST_BYTES = 16
_FILE_NAME, _NEW_FILE_NAME = "files", "files.new"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

log = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """Return this user's cache folder for gitvs; None if there is no home folder.

    Source: XDG Base Directory Specification: a path that is not absolute is ignored.
    """
    for name, subfolder in (("XDG_CACHE_HOME", "gitvs"), ("HOME", ".cache/gitvs")):
        if (value := os.environ.get(name, "")).startswith("/"):
            return Path(value, subfolder)
    return None


class FileCacheStorage:
    """Texts of one line each, by key.

    `edition` identifies everything besides the key that the texts depend on. `unusable_reason`
    says why an existing file is not used, if the user should know; otherwise it is empty.
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
        """Return a stored text; None if it is missing or damaged."""
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
        """Store a text."""
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
        """Write the file if there are new texts; over the limit, unused ones are dropped first."""
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
        """Replace the file.

        Two processes may do this at the same time. Then the later one continues to write the
        file that the earlier one put into place, and a process that reads in between finds
        fewer texts.
        """
        with _open_folder(self._folder) as folder:
            _remove(_NEW_FILE_NAME, folder)  # left by a process that was killed
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
    """Another user may have written the file or folder."""


@contextmanager
def _open_folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _FOLDER_FLAGS)
    try:
        _require_trusted(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _require_trusted(descriptor: int, path: Path) -> None:
    """Reject what other users can write.

    Raises:
        _UntrustedFile: the message says why.
    """
    file_stat = os.fstat(descriptor)
    if file_stat.st_uid != os.geteuid():
        raise _UntrustedFile(f"{path} belongs to another user (uid {file_stat.st_uid})")
    if file_stat.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _UntrustedFile(
            f"{path} is writable by other users; run `chmod go-w` on it, or delete it"
        )


def _make_folder(folder: Path) -> bool:
    """Make the folder and return True, unless root would make it in another user's home."""
    nearest_existing = next(parent for parent in folder.parents if parent.exists())
    if nearest_existing.stat().st_uid not in (0, os.geteuid()):
        return False
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return True
