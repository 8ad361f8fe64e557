"""Finds the commits whose messages lift the gates of a step, from Git alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from gitvs.core.allowances import Allowance, parse_allowances
from gitvs.core.errors import SourceError, forked_earlier_text
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.load_run import Manifests
from gitvs.core.manifests.render import Renderer
from gitvs.core.model.desired import Desired
from gitvs.core.planning.gates import FoundLifts, find_lifts
from gitvs.core.problems import InvalidManifests
from gitvs.ports import Commits
from gitvs.report.text.counts import count_text

Allowances = Mapping[str, Sequence[Allowance]]
"""What the message of each commit allows, the newest first."""


def allowances_of(commits: Commits, commit_ids: Iterable[str]) -> Allowances:
    """Return what the messages of these commits allow."""
    return {
        commit_id: list(parse_allowances(commits.message(commit_id))) for commit_id in commit_ids
    }


class CommitLifts:
    """The lifts of one step, on one director after another; a commit is read once.

    Who signed a commit is not known here: only agents have a signature policy.
    """

    def __init__(
        self,
        commits: Commits,
        loader: Loader,
        allowances: Allowances,
        base_id: str | None,
        head: tuple[str, Manifests],
    ) -> None:
        """The step leads from commit `base_id` to `head`, a commit with its manifests."""
        self._commits = commits
        self._base_id = base_id
        self._loader = loader
        self._allowances = allowances
        self._renderer = Renderer()
        self._manifests: dict[str, Manifests | str] = dict([head])

    def find(
        self, applied: Desired | None, desired: Desired, allowed: Collection[str]
    ) -> FoundLifts:
        """Return the lifts of the step on the director of `desired`, as `find_lifts` does."""
        return find_lifts(
            applied,
            desired,
            allowed,
            self._allowances.items(),
            lambda commit_id: self._desired_at(commit_id, desired.director),
        )

    def lets_leave(self, director: str) -> bool:
        """Whether a commit that removes a director allows that in its message."""
        return any(
            self._has_left(commit_id, director)
            for commit_id, allowances in self._allowances.items()
            if any(a.gate == "director-leaves" and a.applies_to(director) for a in allowances)
        )

    def _has_left(self, commit_id: str, director: str) -> bool:
        manifests = self._manifests_at(commit_id)
        return not isinstance(manifests, str) and director not in manifests.director_names

    def _manifests_at(self, commit_id: str) -> Manifests | str:
        if commit_id not in self._manifests:
            self._manifests[commit_id] = self._load(commit_id)
        return self._manifests[commit_id]

    def _desired_at(self, commit_id: str, director: str) -> Desired | str:
        manifests = self._manifests_at(commit_id)
        if isinstance(manifests, str):
            return manifests
        if director not in manifests.director_names:
            return f"it has no director {director}"
        return self._renderer.render(manifests, director)

    def _load(self, commit_id: str) -> Manifests | str:
        """Return the manifests of a commit, or why its lines are not counted."""
        base_id = self._base_id
        if base_id is not None and self._commits.merge_bases(base_id, commit_id) != [base_id]:
            return forked_earlier_text(base_id)
        try:
            return self._loader.load(self._commits.snapshot(commit_id).files)
        except InvalidManifests as error:
            return f"it is invalid ({count_text(len(error.problems), 'problem')})"
        except SourceError as error:
            return str(error)
