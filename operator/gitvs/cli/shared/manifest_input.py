"""The manifests that a command reads: a folder as it is, or at a Git revision."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from gitvs.adapters.files.directory_source import DirectorySource
from gitvs.adapters.files.work_tree import nearest_git
from gitvs.adapters.process.deadline import Deadline
from gitvs.cli.shared.completion import revisions
from gitvs.cli.shared.output import progress, show_message
from gitvs.core.errors import SourceError
from gitvs.core.manifests.load import load_manifest_files, no_manifests_problem
from gitvs.core.manifests.load_run import Manifests
from gitvs.core.model.history import Commit
from gitvs.core.problems import InvalidManifests, Problem, printable
from gitvs.ports import ManifestSource, Snapshot
from gitvs.report.text.places import Places
from gitvs.report.text.problems import warning_text

F = TypeVar("F", bound=Callable[..., Any])

_MAX_NAMES = 3


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
            f"{path}: the current folder was deleted; change to another one"
        ) from error
    return path


def rev_option(function: F) -> F:
    """Add `--rev`, passed on as `rev: str | None`."""
    return click.option(
        "--rev",
        metavar="REV",
        shell_complete=revisions,
        help="Read the manifests of this Git revision, not the work tree.",
    )(function)


def _source(path: Path, rev: str | None) -> ManifestSource:
    """Return where manifests come from; Git is loaded only for a revision."""
    if rev is None:
        return DirectorySource(path)
    source: ManifestSource = import_module("gitvs.adapters.git.manifests").GitManifests.for_folder(
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
    places = Places(folder_in_repository(path))
    for name in snapshot.skipped:
        shown = printable(places.path(name))
        show_message(f"gitvs: {shown}: left out, it is a link or a submodule")
    return snapshot


def load_manifests(path: Path, rev: str | None) -> LoadedManifests:
    """Read and validate manifests, and show warnings, for a command that goes on with them.

    Raises:
        SourceError, InvalidManifests: as from `validate_manifests`.
    """
    places = Places(folder_in_repository(path))
    try:
        loaded = validate_manifests(path, rev)
    except InvalidManifests as error:
        problems = [places.problem(problem) for problem in error.problems]
        raise InvalidManifests(problems, error.may_have_more) from error
    if loaded.manifests.director_names:  # without one the command ends with that
        for warning in loaded.manifests.warnings:
            show_message(f"gitvs: {warning_text(places.problem(warning))}")
    return loaded


def validate_manifests(path: Path, rev: str | None) -> LoadedManifests:
    """Read and validate manifests.

    Raises:
        SourceError: they cannot be read.
        InvalidManifests: with every problem; there are no manifests at all, too.
    """
    snapshot = read_snapshot(path, rev)
    if not snapshot.files:
        raise InvalidManifests([no_manifests_problem(printable(str(path)))])
    sparse_warnings = tuple(_sparse_warnings(path, rev))
    with progress("validating manifests"):
        try:
            manifests = load_manifest_files(snapshot.files, Deadline())
        except InvalidManifests as error:
            error.warnings += sparse_warnings
            raise
    manifests = replace(manifests, warnings=(*manifests.warnings, *sparse_warnings))
    return LoadedManifests(manifests, snapshot.commit)


def _sparse_warnings(path: Path, rev: str | None) -> Iterator[Problem]:
    """Yield a warning if a sparse checkout leaves manifests out."""
    names = [] if rev is not None else files_left_out(path)
    if names:
        more = len(names) - _MAX_NAMES
        paths = map(Places(folder_in_repository(path)).path, names[:_MAX_NAMES])
        shown = ", ".join(map(printable, paths))
        message = (
            f"{shown}{f' and {more} more' * (more > 0)}: left out of this sparse checkout, so not"
            " read; `git sparse-checkout disable` brings all files back, and --rev HEAD reads them"
            " from Git"
        )
        yield Problem(".", 0, 0, "", "sparse-checkout", message)


def files_left_out(path: Path) -> list[str]:
    """Return the manifests that a sparse checkout leaves out of a folder.

    Git is asked, and loaded, only where a sparse checkout was ever set up.
    """
    if not _may_be_sparse(path.absolute()):
        return []
    sparse_checkout = import_module("gitvs.adapters.git.sparse_checkout")
    with suppress(SourceError, OSError):  # Git's complaints belong to commands that need Git
        return list(sparse_checkout.files_left_out(path))
    return []


def folder_in_repository(path: Path) -> str:
    """Return the path of a folder in the work tree that it is in, to write places from its root.

    Outside of a work tree it is from the current folder; empty if it is not below that. Git is not
    asked: a wrong answer would only make a location harder to read.
    """
    folder = Path(os.path.normpath(path.absolute()))
    git = nearest_git(folder)
    root = Path.cwd() if git is None else git.parent
    if not folder.is_relative_to(root) or folder == root:
        return ""
    return folder.relative_to(root).as_posix()


def _may_be_sparse(folder: Path) -> bool:
    git = nearest_git(folder)
    # The settings of a linked work tree are elsewhere.
    return git is not None and (os.path.isfile(git) or os.path.exists(git / "info/sparse-checkout"))
