"""One commit against another: what it would change on every director. Offline, without a kernel."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gitvs.core.errors import UnknownDirector
from gitvs.core.manifests.load import Loader, Manifests
from gitvs.core.manifests.render import Renderer, affected, holders
from gitvs.core.manifests.schema_messages import did_you_mean
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit
from gitvs.core.model.resources import IPAddress, Vip
from gitvs.core.planning.gates import LIFTABLE, UNKNOWN_GATE, Allowance, Gate, allowances
from gitvs.core.planning.plan import Change
from gitvs.core.planning.preview import preview
from gitvs.core.planning.proposal import Proposal, propose
from gitvs.core.planning.risks import risks, vip_risks
from gitvs.core.problems import InvalidManifests, Problem, printable
from gitvs.ports import Commits
from gitvs.preview.starting_point import Start, in_force, parting, short
from gitvs.report.host.observation_json import Seen
from gitvs.report.plan.plan_view import DirectorPlan, Presence, Side, SideKind, director_plan
from gitvs.report.plan.preview_view import Preview

_LIVE_GATES = ("conflict", "unsupported")


@dataclass(frozen=True, slots=True)
class Question:
    """What to compare. Without `directors` it is all of them; `seen` is what is live on some."""

    base: str
    head: str
    directors: tuple[str, ...] = ()
    allowed: frozenset[str] = frozenset()
    seen: Mapping[str, Seen] = field(default_factory=dict)


def compare(commits: Commits, question: Question, loader: Loader | None = None) -> Preview:
    """Return what the step from base to head would change.

    A loader that is used again reads again only what changed.

    Raises:
        SourceError: a revision or the folder is not there, or cannot be read.
        UnknownDirector: a director was asked for that neither side has.
    """
    loader = loader or Loader()
    remarks: list[str] = []
    head = commits.commit(question.head)
    base = parting(commits, commits.commit(question.base), head, remarks)
    snapshot = commits.snapshot(head.id)
    remarks += [
        f"{printable(name)}: left out, it is a link or a submodule" for name in snapshot.skipped
    ]
    if not snapshot.files:
        where = commits.folder or "the repository"
        remarks.append(f"no manifests (*.yaml, *.yml, *.json) in {where} at {head.id[:12]}")
    try:
        after = loader.load(snapshot.files)
    except InvalidManifests as error:
        sides = _side(base), _side(head)
        return Preview(
            *sides, problems=error.problems, remarks=tuple(remarks), folder=commits.folder
        )
    start = in_force(commits, base, loader, remarks)
    return _compared(commits, question, start, head, after, remarks)


def _compared(
    commits: Commits,
    question: Question,
    start: Start,
    head: Commit,
    after: Manifests,
    remarks: list[str],
) -> Preview:
    had = () if start.manifests is None else start.manifests.directors
    names = _chosen(question.directors, sorted({*had, *after.directors}))
    said = _allowances(commits, start.commit, head)
    remarks += _missing_messages(commits, list(said))
    remarks += _unknown_directors(said, {*had, *after.directors})
    live = _by_director(question.seen, names)
    remarks += _other_states(live, names, start.commit)
    old, new = _rendered(start.manifests, after, live)
    plans = []
    for name in (n for n in names if n in old or n in new):
        allowed = {a.gate for line in said.values() for a in line if a.holds_on(name)}
        plan = _plan(old.get(name), new.get(name), question.allowed | allowed, live.get(name))
        if plan.is_news or plan.repairs:
            plans.append(plan)
    return Preview(
        _side(start.commit),
        _side(head),
        plans=tuple(plans),
        unchanged=len(names) - len(plans),
        risks=vip_risks(old, new),
        remarks=tuple(remarks),
        problems=tuple(_unknown_gates(said)),
        folder=commits.folder,
    )


def _rendered(
    before: Manifests | None, after: Manifests, seen: Iterable[str]
) -> tuple[dict[str, Desired], dict[str, Desired]]:
    """Return the desired states of the directors that the step may change, and of those seen.

    Where a VIP is new, it may be on other directors already: these are needed too.
    """
    renderer = Renderer()
    if before is None:
        return {}, {name: renderer.render(after, name) for name in after.directors}
    old: dict[str, Desired] = {}
    new: dict[str, Desired] = {}

    def add(names: Collection[str]) -> None:
        for manifests, states in ((before, old), (after, new)):
            for name in (n for n in manifests.directors if n in names and n not in states):
                states[name] = renderer.render(manifests, name)

    add(affected(before, after).union(seen))
    came = frozenset[IPAddress]().union(*(_vips(new[n]) - _vips(old.get(n)) for n in new))
    add(holders(before, came) | holders(after, came))
    return old, new


def _by_director(states: Mapping[str, Seen], names: Collection[str]) -> dict[str, Seen]:
    """Return saved states by director: of a new host the name may do without its domain."""
    found = {}
    for name, seen in states.items():
        short_name = name.partition(".")[0]
        is_short = seen.applied is None and name not in names and short_name in names
        found[short_name if is_short else name] = seen
    return found


def _vips(desired: Desired | None) -> set[IPAddress]:
    return set() if desired is None else {vip.address for vip in desired.state.of(Vip)}


def _chosen(wanted: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UnknownDirector(f"neither side has a director {name}{hint}")
    return [name for name in known if not wanted or name in wanted]


def _plan(
    before: Desired | None, after: Desired | None, allowed: frozenset[str], seen: Seen | None
) -> DirectorPlan:
    """Return the plan of one director. One that disappears keeps what it has."""
    if after is None:
        assert before is not None, "a director is on one side at least"
        gone = director_plan(preview(before, before), applied=before)
        return replace(gone, presence=Presence.DISAPPEARS)
    proposal = preview(before, after, allowed)
    observation = None
    repairs: tuple[Change, ...] = ()
    if seen is not None:
        observation = seen.observation_for(after)
        repairs = _repairs(seen)
        proposal = replace(proposal, gates=(*_live_gates(proposal, seen), *proposal.gates))
    plan = director_plan(proposal, observation=observation, applied=before)
    return replace(
        plan,
        presence=Presence.APPEARS if before is None else Presence.STAYS,
        repairs=repairs,
        risks=risks(before, after, proposal.plan, observation),
    )


def _live_gates(proposal: Proposal, seen: Seen) -> Iterable[Gate]:
    """Return what stands against a proposal on its host alone."""
    live = _proposed(seen, proposal.desired, seen.applied).gates
    return [g for g in live if g.name in _LIVE_GATES and g not in proposal.gates]


def _repairs(seen: Seen) -> tuple[Change, ...]:
    """Return what the next sync of the host would repair, whatever is merged."""
    if seen.applied is None:
        return ()
    proposal = _proposed(seen, seen.applied, seen.applied)
    drift = director_plan(proposal, applied=seen.applied, ledger=seen.ledger).drift
    return tuple(change for change in proposal.plan.changes if change.key in drift)


def _proposed(seen: Seen, desired: Desired, applied: Desired | None) -> Proposal:
    observation = seen.observation_for(desired)
    return propose(desired, applied, observation, seen.ledger, seen.boottime, seen.mark)


def _allowances(commits: Commits, base: Commit, head: Commit) -> dict[str, list[Allowance]]:
    """Return what each commit since the base lifts, the newest first."""
    since = commits.since(base.id, head.id)
    return {commit_id: list(allowances(commits.message(commit_id))) for commit_id in since}


def _missing_messages(commits: Commits, read: Sequence[str]) -> Iterator[str]:
    """Yield that a clone was cut off on the way from the head to the base."""
    if read and commits.cut_off and not commits.first_parents(read[-1], 1):
        yield (
            f"what commits before {read[-1][:12]} say of gates is not known here; {commits.cut_off}"
        )


def _unknown_gates(said: Mapping[str, list[Allowance]]) -> Iterator[Problem]:
    for commit_id, of_commit in said.items():
        for allowance in of_commit:
            if allowance.gate not in LIFTABLE:
                hint = did_you_mean(allowance.gate, LIFTABLE) or f"; {', '.join(LIFTABLE)} are"
                message = f"Gitvs-Allow: {allowance.gate} is no gate that can be lifted{hint}"
                file = f"commit {commit_id[:12]}"
                yield Problem(file, allowance.line, 1, "", UNKNOWN_GATE, message)


def _unknown_directors(said: Mapping[str, list[Allowance]], known: Iterable[str]) -> Iterator[str]:
    names = sorted(known)
    for commit_id, of_commit in said.items():
        for name in (n for allowance in of_commit for n in allowance.directors):
            if name not in names:
                hint = did_you_mean(name, names)
                yield f"commit {commit_id[:12]} lifts a gate on {name}, which is no director{hint}"


def _other_states(states: Mapping[str, Seen], names: Iterable[str], base: Commit) -> Iterator[str]:
    """Yield what is odd about saved states: of other hosts, or of another commit."""
    listed = list(names)
    for name, seen in states.items():
        if name not in listed:
            yield f"the saved state of {name} is not used: there is no such director here"
        elif seen.commit != base.id:
            what = "no commit" if seen.commit is None else f"commit {seen.commit[:12]}"
            yield f"{name} had {what} in force when its state was saved, not {short(base)}"


def _side(commit: Commit) -> Side:
    return Side(SideKind.COMMIT, commit.id, commit.subject)
