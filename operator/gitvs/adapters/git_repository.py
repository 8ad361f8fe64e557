"""Finds the repository that a folder belongs to."""

from __future__ import annotations

import os
from pathlib import Path

from gitvs.adapters.git_process import GitFailed, HardenedGit
from gitvs.core.errors import SourceError


def find_repository(path: Path) -> tuple[Path, str]:
    """Return the repository that a folder belongs to, and the folder's path inside it.

    The folder itself need not be there: it may be in an older commit alone.

    Raises:
        SourceError: it is in no repository.
    """
    wanted = path.absolute()
    existing = next(p for p in (wanted, *wanted.parents) if p.is_dir())
    missing = "" if wanted == existing else wanted.relative_to(existing).as_posix()
    git = HardenedGit(existing, owner=existing.stat())
    try:
        answer = git.run("rev-parse", "--absolute-git-dir", "--show-prefix")
    except GitFailed as error:
        raise SourceError(
            f"{path} is in no Git repository ({error.text}); leave the revision out to read the"
            " files as they are"
        ) from error
    lines, _, _ = os.fsdecode(answer).rpartition("\n")
    git_dir, _, prefix = lines.partition("\n")
    inside = existing.resolve()
    if inside.is_relative_to(git_dir):  # as a bare repository's folders have to be given
        prefix = (inside / "_").relative_to(git_dir).as_posix()[:-1]
    return Path(git_dir), prefix + missing
