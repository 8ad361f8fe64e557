"""Finds the manifests that a sparse checkout leaves out of its work tree."""

from __future__ import annotations

import os
from pathlib import Path

from gitvs.adapters.git.hardened_git import HardenedGit
from gitvs.core.manifests.syntax.yaml_documents import is_manifest

_LEFT_OUT = "S "
"""What `git ls-files -t` writes before a file that the checkout skips. Source: git-ls-files(1)."""


def files_left_out(folder: Path) -> list[str]:
    """Return the manifests that Git has in a folder and its sparse checkout has not, sorted.

    Raises:
        SourceError: the folder is in no repository, or Git cannot read it.
    """
    git = HardenedGit(folder, owner=folder.stat())
    entries = os.fsdecode(git.run("ls-files", "-t", "-z")).split("\0")
    names = {e.removeprefix(_LEFT_OUT) for e in entries if e.startswith(_LEFT_OUT)}
    return sorted(n for n in names if is_manifest(n) and not (folder / n).exists())
