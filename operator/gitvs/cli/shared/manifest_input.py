"""The manifests that a command reads: a folder as it is, or at a Git revision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from gitvs.adapters.files.directory_source import DirectorySource
from gitvs.adapters.process.deadline import Deadline
from gitvs.cli.shared.output import progress, show_message
from gitvs.core.errors import SourceError
from gitvs.core.manifests.load import load_manifest_files, no_manifests_problem
from gitvs.core.manifests.load_run import Manifests
from gitvs.core.model.history import Commit
from gitvs.core.problems import InvalidManifests, printable
from gitvs.ports import FollowedSource, Snapshot

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class LoadedManifests:
    """Valid manifests, and their commit if they come from one."""

    manifests: Manifests
    commit: Commit | None


def path_argument(function: F) -> F:
    """Add PATH, passed on as `path: Path`."""
    return click.argument(
        "path", type=click.Path(path_type=Path), default=Path(), callback=_existing_place
    )(function)


def _existing_place(_context: click.Context, _parameter: click.Parameter, path: Path) -> Path:
    """Return the path, unless it is relative to a folder that somebody has deleted."""
    try:
        path.absolute()
    except FileNotFoundError as error:
        raise SourceError(
            f"{path}: the folder that this runs in was deleted; change to another one"
        ) from error
    return path


def rev_option(function: F) -> F:
    """Add `--rev`, passed on as `rev: str | None`."""
    return click.option(
        "--rev", metavar="REV", help="Read the manifests of this Git revision, not the work tree."
    )(function)


def _source(path: Path, rev: str | None) -> FollowedSource:
    """Return where manifests come from; Git is loaded only for a revision."""
    if rev is None:
        return DirectorySource(path)
    source: FollowedSource = import_module("gitvs.adapters.git.manifests").GitManifests.for_folder(
        path, rev
    )
    return source


def read_snapshot(path: Path, rev: str | None) -> Snapshot:
    """Read manifest files, and report what was left out.

    Raises:
        SourceError: they cannot be read.
    """
    with progress("reading manifests"):
        snapshot = _source(path, rev).load()
    for name in snapshot.skipped:
        show_message(f"gitvs: {printable(name)}: left out, it is a link or a submodule")
    return snapshot


def load_manifests(path: Path, rev: str | None) -> LoadedManifests:
    """Read and validate manifests.

    Raises:
        SourceError: they cannot be read.
        InvalidManifests: with every problem; there are no manifests at all, too.
    """
    snapshot = read_snapshot(path, rev)
    if not snapshot.files:
        raise InvalidManifests([no_manifests_problem(printable(str(path)))])
    with progress("validating manifests"):
        manifests = load_manifest_files(snapshot.files, Deadline())
        return LoadedManifests(manifests, snapshot.commit)
