"""What one commit would change on every director, compared with another. Offline."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap

from gitvs.core.errors import UncountedLines, UnknownDirector
from gitvs.core.manifests.load import Loader, no_manifests_problem
from gitvs.core.manifests.load_run import NO_DIRECTOR, Manifests
from gitvs.core.manifests.messages.schema_messages import did_you_mean
from gitvs.core.manifests.render import Renderer, affected_directors, directors_with_vips
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit
from gitvs.core.model.resources import IPAddress, Key, Vip
from gitvs.core.planning.gates import (
    LIVE_GATES,
    FoundLifts,
    Gate,
    Lift,
    director_leaves_gate,
    unknown_gate_warnings,
)
from gitvs.core.planning.offline_proposal import propose_preview
from gitvs.core.planning.plan import Change
from gitvs.core.planning.proposal import Proposal, propose
from gitvs.core.planning.risks import director_risks, vip_risks
from gitvs.core.problems import InvalidManifests, printable
from gitvs.ports import Commits, Snapshot
from gitvs.preview.commit_lifts import Allowances, CommitLifts, allowances_of
from gitvs.preview.starting_point import (
    StartingPoint,
    commit_text,
    find_fork_point,
    find_starting_point,
)
from gitvs.report.host.observation_json import ObservedHost
from gitvs.report.plan.plan_view import (
    DirectorPlan,
    PlanSide,
    PlanSideKind,
    Presence,
    director_plan,
)
from gitvs.report.plan.preview_view import Preview
from gitvs.report.text.places import Places


@dataclass(frozen=True, slots=True)
class Comparison:
    """What to compare. Empty `directors` means all.

    `saved_observations` are the saved states of some directors' hosts.
    """

    base: str
    head: str
    directors: tuple[str, ...] = ()
    allowed_gates: frozenset[str] = frozenset()
    saved_observations: Mapping[str, ObservedHost] = field(default_factory=dict)


def compare(commits: Commits, comparison: Comparison, loader: Loader | None = None) -> Preview:
    """Return what the step from base to head would change.

    A loader that was used before reads only what changed since.

    Raises:
        SourceError: a revision or the folder does not exist, or cannot be read.
        UnknownDirector: neither side has a director that was asked for.
    """
    loader = loader or Loader()
    remarks: list[str] = []
    head = commits.commit(comparison.head)
    base = find_fork_point(commits, commits.commit(comparison.base), head, remarks)
    has_folder = commits.has_folder(head.id)
    snapshot = commits.snapshot(head.id) if has_folder else Snapshot(())
    remarks += [
        f"{printable(Places(commits.folder).path(name))}: left out, it is a link or a submodule"
        for name in snapshot.skipped
    ]
    try:
        if not snapshot.files:
            where = f"{commits.folder or 'the repository'} at {commit_text(head)}"
            raise InvalidManifests([no_manifests_problem(where)])
        after = loader.load(snapshot.files)
        if not after.director_names:
            raise InvalidManifests([NO_DIRECTOR])
    except InvalidManifests as error:
        return Preview(
            _side(base),
            _side(head),
            problems=error.problems,
            warnings=error.warnings,
            remarks=tuple(remarks),
            folder=commits.folder,
        )
    starting_point = find_starting_point(commits, base, loader, remarks)
    return _compare_manifests(commits, comparison, starting_point, head, after, loader, remarks)


def _compare_manifests(
    commits: Commits,
    comparison: Comparison,
    starting_point: StartingPoint,
    head: Commit,
    after: Manifests,
    loader: Loader,
    remarks: list[str],
) -> Preview:
    base_directors = (
        () if starting_point.manifests is None else starting_point.manifests.director_names
    )
    names = _select_directors(
        comparison.directors, sorted({*base_directors, *after.director_names})
    )
    commit_ids = commits.since(starting_point.commit.id, head.id)
    allowances_by_commit = allowances_of(commits, commit_ids)
    commit_lifts = CommitLifts(
        commits, loader, allowances_by_commit, starting_point.commit.id, (head.id, after)
    )
    remarks += _shallow_clone_remarks(commits, list(allowances_by_commit))
    remarks += _unknown_director_remarks(
        allowances_by_commit, {*base_directors, *after.director_names}
    )
    saved_observations = _by_director(comparison.saved_observations, names)
    remarks += _other_observation_remarks(saved_observations, names, starting_point.commit)
    old, new = _render_directors(starting_point.manifests, after, saved_observations)
    plans = []
    uncounted: dict[str, str] = {}
    for name in (n for n in names if n in old or n in new):
        found_lifts, allowed = FoundLifts(), comparison.allowed_gates
        if name not in new and commit_lifts.lets_leave(name):
            allowed |= {"director-leaves"}
        if name in new:
            found_lifts = commit_lifts.find(old.get(name), new[name], comparison.allowed_gates)
        uncounted |= found_lifts.uncounted
        plan = _plan_director(
            old.get(name),
            new.get(name),
            allowed,
            found_lifts.lifts,
            saved_observations.get(name),
        )
        if plan.is_notable or plan.repairs or plan.unrepairable:
            plans.append(plan)
    return Preview(
        _side(starting_point.commit),
        _side(head),
        plans=tuple(plans),
        unchanged=len(names) - len(plans),
        risks=vip_risks(old, new),
        remarks=(*remarks, *map(str, starmap(UncountedLines, uncounted.items()))),
        folder=commits.folder,
        warnings=(*after.warnings, *unknown_gate_warnings(allowances_by_commit.items())),
    )


def _render_directors(
    before: Manifests | None, after: Manifests, observed_directors: Iterable[str]
) -> tuple[dict[str, Desired], dict[str, Desired]]:
    """Return the old and new desired states of changed and of observed directors.

    A VIP that is new on one director may be on others already: these are included too.
    """
    renderer = Renderer()
    if before is None:
        return {}, {name: renderer.render(after, name) for name in after.director_names}
    old: dict[str, Desired] = {}
    new: dict[str, Desired] = {}

    def add(names: Collection[str]) -> None:
        for manifests, states in ((before, old), (after, new)):
            for name in (n for n in manifests.director_names if n in names and n not in states):
                states[name] = renderer.render(manifests, name)

    add(affected_directors(before, after).union(observed_directors))
    new_vips = frozenset[IPAddress]().union(*(_vips(new[n]) - _vips(old.get(n)) for n in new))
    add(directors_with_vips(before, new_vips) | directors_with_vips(after, new_vips))
    return old, new


def _by_director(
    observations: Mapping[str, ObservedHost], names: Collection[str]
) -> dict[str, ObservedHost]:
    """Return saved states by director; a new host's name also matches without its domain."""
    found = {}
    for name, observation in observations.items():
        short_name = name.partition(".")[0]
        is_short = observation.applied is None and name not in names and short_name in names
        found[short_name if is_short else name] = observation
    return found


def _vips(desired: Desired | None) -> set[IPAddress]:
    return set() if desired is None else {vip.address for vip in desired.state.of_type(Vip)}


def _select_directors(wanted: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UnknownDirector(f"neither side has a director {name}{hint}")
    return [name for name in known if not wanted or name in wanted]


def _plan_director(
    before: Desired | None,
    after: Desired | None,
    allowed_gates: frozenset[str],
    lifts: Sequence[Lift],
    saved: ObservedHost | None,
) -> DirectorPlan:
    """Return the plan of one director. A director that disappears keeps its objects."""
    if after is None:
        assert before is not None, "a director is on one side at least"
        gate = director_leaves_gate(before.director)
        gate = replace(gate, is_allowed=gate.name in allowed_gates)
        disappearing = director_plan(propose_preview(before, before), applied=before)
        return replace(disappearing, presence=Presence.DISAPPEARS, gates=(gate,))
    proposal = propose_preview(before, after, allowed_gates, lifts)
    observation = None
    repairs: tuple[Change, ...] = ()
    unrepairable: Mapping[Key, str] = {}
    if saved is not None:
        observation = saved.observation_for(after)
        repairs, unrepairable = _repairs(saved)
        proposal = replace(proposal, gates=(*_live_gates(proposal, saved), *proposal.gates))
    plan = director_plan(proposal, observation=observation, applied=before)
    return replace(
        plan,
        presence=Presence.APPEARS if before is None else Presence.STAYS,
        repairs=repairs,
        unrepairable=unrepairable,
        risks=director_risks(before, after, proposal.plan, observation),
    )


def _live_gates(proposal: Proposal, saved: ObservedHost) -> Iterable[Gate]:
    """Return the gates of a proposal that only the state of its host shows."""
    host_gates = _propose_for_host(saved, proposal.desired, saved.applied).gates
    return [g for g in host_gates if g.name in LIVE_GATES and g not in proposal.gates]


def _repairs(saved: ObservedHost) -> tuple[tuple[Change, ...], Mapping[Key, str]]:
    """Return what the next pass repairs, and what it cannot repair, regardless of the merge."""
    if saved.applied is None:
        return (), {}
    proposal = _propose_for_host(saved, saved.applied, saved.applied)
    drift = director_plan(proposal, applied=saved.applied, ledger=saved.ledger).drift
    repairs = tuple(change for change in proposal.plan.changes if change.key in drift)
    return repairs, proposal.unrepairable


def _propose_for_host(saved: ObservedHost, desired: Desired, applied: Desired | None) -> Proposal:
    observation = saved.observation_for(desired)
    return propose(
        desired, applied, observation, saved.ledger, saved.boottime_seconds, saved.owner_alias
    )


def _shallow_clone_remarks(commits: Commits, read_commit_ids: Sequence[str]) -> Iterator[str]:
    """Yield a remark if a shallow clone lacks commits between the base and the head."""
    if read_commit_ids and commits.cut_off and not commits.first_parents(read_commit_ids[-1], 1):
        yield (
            f"`Gitvs-Allow` lines of commits before {read_commit_ids[-1][:12]} could not"
            f" be read; {commits.cut_off}"
        )


def _unknown_director_remarks(
    allowances_by_commit: Allowances, known: Iterable[str]
) -> Iterator[str]:
    names = sorted(known)
    for commit_id, commit_allowances in allowances_by_commit.items():
        for name in (n for allowance in commit_allowances for n in allowance.directors):
            if name not in names:
                hint = did_you_mean(name, names)
                yield f"commit {commit_id[:12]} lifts a gate on {name}, which is no director{hint}"


def _other_observation_remarks(
    observations: Mapping[str, ObservedHost], names: Iterable[str], base: Commit
) -> Iterator[str]:
    """Yield remarks on saved states of unknown directors, or of another commit."""
    listed = list(names)
    for name, saved in observations.items():
        if name not in listed:
            yield f"the saved state of {name} is not used: there is no such director here"
        elif saved.commit != base.id:
            what = "no commit" if saved.commit is None else f"commit {saved.commit[:12]}"
            yield f"{name} had {what} in force when its state was saved, not {commit_text(base)}"


def _side(commit: Commit) -> PlanSide:
    return PlanSide(PlanSideKind.COMMIT, commit.id, commit.subject)
