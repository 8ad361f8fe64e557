"""Finds where a change starts: the commit in force on agents that follow the base."""

from __future__ import annotations

from dataclasses import dataclass

from gitvs.core.errors import SourceError, UnusableManifests
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.load_run import Manifests
from gitvs.core.model.history import Commit
from gitvs.core.problems import InvalidManifests
from gitvs.ports import Commits

MAX_COMMITS_BACK = 50
"""How many commits before an unusable one are tried."""


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """What the change starts from; `manifests` is None if everything is new."""

    commit: Commit
    manifests: Manifests | None


def find_fork_point(commits: Commits, base: Commit, head: Commit, remarks: list[str]) -> Commit:
    """Return the commit that the change starts from: where head forked from base."""
    fork_points = commits.merge_bases(base.id, head.id)
    if base.id in fork_points or head.id in fork_points:
        return base
    if fork_points:
        fork_point = commits.commit(fork_points[0])
        count = len(commits.since(fork_point.id, base.id))
        remarks.append(
            f"{commit_text(base)} has {count} commit{'s' * (count > 1)} that"
            f" {commit_text(head)} lacks: compared from their common ancestor,"
            f" {commit_text(fork_point)}"
        )
        if len(fork_points) > 1:
            remarks.append(
                f"they have {len(fork_points)} common ancestors, because they were"
                " merged into each other: what is new here may be in"
                f" {commit_text(base)} already; merge that into {commit_text(head)} to"
                " see the rest"
            )
        return fork_point
    if commits.cut_off:
        raise SourceError(
            f"commits {base.id[:12]} and {head.id[:12]} have nothing in common here;"
            f" {commits.cut_off}"
        )
    remarks.append(f"{commit_text(base)} and {commit_text(head)} have no commit in common")
    return base


def find_starting_point(
    commits: Commits, base: Commit, loader: Loader, remarks: list[str]
) -> StartingPoint:
    """Return the commit that agents apply at the base: the newest usable one up to it."""
    reason = ""
    older = commits.first_parents(base.id, MAX_COMMITS_BACK)
    for commit_id in (base.id, *older):
        try:
            starting_point = StartingPoint(
                commits.commit(commit_id), _load_usable(commits, commit_id, loader)
            )
        except _UnusableCommit as error:
            reason = reason or str(error)
            continue
        if starting_point.commit.id != base.id:
            remarks += [
                f"{commit_text(base)} {reason}, so that agents stay with an older commit",
                f"compared from {commit_text(starting_point.commit)}, the newest sound commit",
            ]
        return starting_point
    where = f"among the {len(older)} " if len(older) == MAX_COMMITS_BACK else ""
    remarks.append(
        f"{commit_text(base)} {reason}, and no sound one is {where}before it: everything is new"
    )
    return StartingPoint(base, None)


class _UnusableCommit(Exception):
    """Why agents do not apply a commit."""


def _load_usable(commits: Commits, commit_id: str, loader: Loader) -> Manifests:
    """Return the manifests of a commit that agents apply.

    Raises:
        _UnusableCommit: they do not apply it.
    """
    if not commits.has_folder(commit_id):
        raise _UnusableCommit(f"has no folder {commits.folder}")
    try:
        snapshot = commits.snapshot(commit_id)
        if not snapshot.files:
            raise _UnusableCommit("has no manifests")
        return loader.load(snapshot.files)
    except InvalidManifests as error:
        count = len(error.problems)
        raise _UnusableCommit(f"is invalid ({count} problem{'s' * (count > 1)})") from error
    except UnusableManifests as error:
        raise _UnusableCommit(f"cannot be read ({error})") from error


def commit_text(commit: Commit) -> str:
    """Return a commit as remarks name it."""
    return f"commit {commit.id[:12]}"
