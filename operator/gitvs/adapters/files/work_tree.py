"""Finds the work tree or repository that a folder is in, without asking Git.

What cannot be read, and what is neither a file nor a folder, counts as missing. A wrong answer only
makes a location harder to read, or leaves a word out of completion.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_MAX_LINK_BYTES = 16 * 1024
"""More than the path that a `.git` file or a `commondir` holds: Linux allows 4,096 bytes."""


def nearest_git(folder: Path) -> Path | None:
    """Return the `.git` of an absolute folder or of the nearest one above it, or None.

    It is a folder, or a file in a linked work tree or a submodule.
    """
    candidates = (parent / ".git" for parent in (folder, *folder.parents))
    return next((git for git in candidates if _is_file_or_folder(git)), None)


def repository_of(folder: Path) -> Path | None:
    """Return the folder with the refs of the repository that an absolute folder is in, or None.

    That is `.git`, what a linked work tree leads to, or a bare repository.
    """
    for parent in (folder, *folder.parents):
        if _is_file_or_folder(parent / ".git"):
            return _common_folder(parent / ".git")
        # Source: git, setup.c, is_git_directory: what makes a folder a repository.
        if os.path.isfile(parent / "HEAD") and all(
            os.path.isdir(parent / name) for name in ("objects", "refs")
        ):
            return parent
    return None


def read_regular_file(file: Path, max_bytes: int) -> bytes:
    """Return the first bytes of a file; nothing of a FIFO or a device, which might never end.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as opened:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return opened.read(max_bytes) if is_regular else b""


def _common_folder(git: Path) -> Path:
    if os.path.isdir(git):
        return git
    folder = git.parent / _read_path(git).removeprefix("gitdir:").strip()
    common = folder / "commondir"
    return folder / _read_path(common) if os.path.isfile(common) else folder


def _read_path(file: Path) -> str:
    return os.fsdecode(read_regular_file(file, _MAX_LINK_BYTES)).strip()


def _is_file_or_folder(path: Path) -> bool:
    return os.path.isfile(path) or os.path.isdir(path)
