"""Which commit a rollback goes back to.

A rollback skips commits that change nothing on this director, which their digests show. An older
gitvs recorded no digest, or one of another form. Such commits are rendered again, one after
another, until one differs.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitvs.agent.judge import Judge, Subject
from gitvs.core.errors import SourceError
from gitvs.core.model.history import HistoryEntry, Outcome
from gitvs.core.model.state_digest import state_and_health_digest
from gitvs.ports import Applied, FollowedSource, Ports

MAX_RENDERED_COMMITS = 3
"""How many commits without a digest are rendered; the worker does nothing else meanwhile."""


def find_rollback_commit(judge: Judge, ports: Ports, revision: str) -> str:
    """Return the full id of a commit: the named one, or by default an earlier one.

    Raises:
        SourceError: there is none, or it is not on the branch.
    """
    source, store = judge.source, ports.store
    if not source.has_commits:
        raise SourceError("the manifests come from a folder: there is no commit to go back to")
    entries = [
        entry
        for entry in store.history()
        if entry.outcome in (Outcome.APPLIED, Outcome.CONVERGED) and entry.commit is not None
    ]
    applied_before = {entry.commit.id for entry in entries if entry.commit is not None}
    revision = revision or _find_different_commit(source, judge.apart(), ports, entries)
    commit_id = _resolve(source, revision)
    head = store.accepted_head()
    if head is None or not source.is_ancestor(commit_id, head):
        raise SourceError(f"commit {commit_id[:12]} is not part of the branch that is followed")
    # An applied commit was trusted, even if its key expired since.
    if commit_id not in applied_before:
        source.verify_signature(commit_id)
    return commit_id


def _resolve(source: FollowedSource, revision: str) -> str:
    """Return the full id of the commit that a person names; the copy has no other refs for them."""
    try:
        return source.resolve(revision)
    except SourceError as error:
        raise SourceError(
            f"{revision} is not the id of one commit of the branch that is followed here."
            " `gitvs history` lists the commits: give an id from it, or none to go back to the"
            " last one that was different. Nothing was changed"
        ) from error


def _find_different_commit(
    source: FollowedSource, judge: Judge, ports: Ports, entries: Iterable[HistoryEntry]
) -> str:
    """Return the newest commit before the applied one that was different on this director.

    Raises:
        SourceError: there is none.
    """
    applied = ports.store.applied()
    if applied is not None and applied.commit_id is not None:
        quarantined = ports.store.quarantined(ports.kernel.incarnation())
        seen = {applied.commit_id, *(q.commit_id for q in quarantined)}
        digest, rendered_count = state_and_health_digest(applied.desired), 0
        for entry in entries:
            commit_id = "" if entry.commit is None else entry.commit.id
            if commit_id in seen or not source.is_ancestor(commit_id, applied.commit_id):
                continue
            seen.add(commit_id)
            rendered_count += not entry.state_digest
            if rendered_count > MAX_RENDERED_COMMITS:
                raise SourceError(
                    f"commit {commit_id[:12]} and earlier ones were recorded by an older"
                    " gitvs, which did not record what they meant on this director:"
                    " give a commit"
                )
            if _digest_of(judge, entry, commit_id) not in ("", digest):
                return commit_id
    raise SourceError(
        "no earlier commit with a different state of this director was applied: give a commit"
    )


def _digest_of(judge: Judge, entry: HistoryEntry, commit_id: str) -> str:
    """Return the digest of a commit's desired state here; empty if it cannot be rendered."""
    if entry.state_digest:
        return entry.state_digest
    judge.request(Subject(commit_id, commit_id, is_trusted=True))
    rendered = judge.rendered(commit_id)
    return state_and_health_digest(rendered.desired) if isinstance(rendered, Applied) else ""
