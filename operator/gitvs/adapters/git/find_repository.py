"""Finds the repository that a folder belongs to."""

from __future__ import annotations

import os
from pathlib import Path

from gitvs.adapters.git.hardened_git import GitFailed, HardenedGit
from gitvs.core.errors import SourceError


def find_repository(path: Path) -> tuple[Path, str]:
    """Return the repository that a folder belongs to, and the folder's path inside it.

    The folder need not exist: it may be only in an older commit.

    Raises:
        SourceError: the folder is not in a repository.
    """
    wanted = path.absolute()
    existing = next(p for p in (wanted, *wanted.parents) if p.is_dir())
    missing = "" if wanted == existing else wanted.relative_to(existing).as_posix()
    git = HardenedGit(existing, owner=existing.stat())
    try:
        output = git.run("rev-parse", "--absolute-git-dir", "--show-prefix")
    except GitFailed as error:
        raise SourceError(
            f"{path} is in no Git repository ({error.error_text}); leave the revision out to read"
            " the files as they are"
        ) from error
    lines, _, _ = os.fsdecode(output).rpartition("\n")
    git_dir, _, prefix = lines.partition("\n")
    folder = _path_in_repository(existing, Path(git_dir), Path(prefix)) / missing
    return Path(git_dir), "" if folder == Path() else folder.as_posix()


def _path_in_repository(path: Path, git_dir: Path, prefix: Path) -> Path:
    """Return a folder's path in its repository; `prefix` is that path with all links followed.

    A symbolic link inside the repository is not resolved, because agents do not follow it
    either.
    """
    resolved = path.resolve()
    if resolved.is_relative_to(git_dir):  # a folder of a bare repository: Git has no prefix for it
        return resolved.relative_to(git_dir)
    work_tree = resolved.parents[len(prefix.parts) - 1] if prefix.parts else resolved
    work_tree_as_given = next((p for p in (path, *path.parents) if p.resolve() == work_tree), None)
    if work_tree_as_given is None or ".." in path.parts:
        return prefix
    return path.relative_to(work_tree_as_given)
