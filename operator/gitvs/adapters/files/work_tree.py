"""Finds the work tree that a folder is in, without asking Git."""

from __future__ import annotations

from pathlib import Path


def nearest_git(folder: Path) -> Path | None:
    """Return the `.git` of an absolute folder or of the nearest one above it, or None.

    It is a folder, or a file in a linked work tree or a submodule.
    """
    candidates = (parent / ".git" for parent in (folder, *folder.parents))
    return next((git for git in candidates if git.exists()), None)
