"""Where a change starts: the commit that agents which follow the base have in force."""

from __future__ import annotations

from dataclasses import dataclass

from gitvs.core.errors import SourceError, UnusableManifests
from gitvs.core.manifests.load import Loader, Manifests
from gitvs.core.model.history import Commit
from gitvs.core.problems import InvalidManifests
from gitvs.ports import Commits

FARTHEST_BACK = 50
"""How many commits before an invalid one are tried."""


@dataclass(frozen=True, slots=True)
class Start:
    """What the change goes from; no manifests: nothing."""

    commit: Commit
    manifests: Manifests | None


def parting(commits: Commits, base: Commit, head: Commit, remarks: list[str]) -> Commit:
    """Return the commit that the change goes from: where head parted from base."""
    forks = commits.merge_bases(base.id, head.id)
    if base.id in forks or head.id in forks:
        return base
    if forks:
        parted = commits.commit(forks[0])
        count = len(commits.since(parted.id, base.id))
        remarks.append(
            f"{short(base)} has {count} commit{'s' * (count > 1)} that {short(head)} lacks:"
            f" compared from where they parted, {short(parted)}"
        )
        if len(forks) > 1:
            remarks.append(
                f"they parted {len(forks)} times, being merged into each other: what is new here"
                f" may be in {short(base)} already; merge that into {short(head)} to see the rest"
            )
        return parted
    if commits.cut_off:
        raise SourceError(
            f"commits {base.id[:12]} and {head.id[:12]} have nothing in common here;"
            f" {commits.cut_off}"
        )
    remarks.append(f"{short(base)} and {short(head)} have no commit in common")
    return base


def in_force(commits: Commits, base: Commit, loader: Loader, remarks: list[str]) -> Start:
    """Return what agents that follow the base have in force: the newest sound commit up to it."""
    why = ""
    older = commits.first_parents(base.id, FARTHEST_BACK)
    for commit_id in (base.id, *older):
        try:
            start = Start(commits.commit(commit_id), _sound(commits, commit_id, loader))
        except _Unsound as error:
            why = why or str(error)
            continue
        if start.commit.id != base.id:
            remarks += [
                f"{short(base)} {why}, so that agents stay with an older commit",
                f"compared from {short(start.commit)}, the newest sound commit",
            ]
        return start
    where = f"among the {len(older)} " if len(older) == FARTHEST_BACK else ""
    remarks.append(f"{short(base)} {why}, and no sound one is {where}before it: everything is new")
    return Start(base, None)


class _Unsound(Exception):
    """Why agents do not take a commit."""


def _sound(commits: Commits, commit_id: str, loader: Loader) -> Manifests:
    """Return the manifests of a commit that agents take.

    Raises:
        _Unsound: they do not.
    """
    if not commits.has_folder(commit_id):
        raise _Unsound(f"has no folder {commits.folder}")
    try:
        return loader.load(commits.snapshot(commit_id).files)
    except InvalidManifests as error:
        count = len(error.problems)
        raise _Unsound(f"is invalid ({count} problem{'s' * (count > 1)})") from error
    except UnusableManifests as error:
        raise _Unsound(f"cannot be read ({error})") from error


def short(commit: Commit) -> str:
    """Return a commit as remarks name it."""
    return f"commit {commit.id[:12]}"
