"""A year of a large company: every preview is what applying the two commits really does.

200 directors and 2,000 services, 30 commits. One director of each site, and all that come,
are really there, each with a kernel (in memory), a store, and passes as the agent makes them.
The others must have plans like those of their site that are there.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitvs.adapters.git.commits import GitCommits, open_commits
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.cli import GC_THRESHOLDS
from gitvs.core.allowances import parse_allowances
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.load_run import Manifests
from gitvs.core.manifests.render import render_director
from gitvs.core.model.history import Commit, Outcome
from gitvs.core.planning.gates import LIFTABLE_GATES
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX
from gitvs.ports import Applied, Ports
from gitvs.preview.compare import Comparison, compare
from gitvs.reconcile.one_pass import PassOptions, PassResult, reconcile
from gitvs.report.plan.plan_view import DirectorPlan, Presence
from gitvs.report.plan.preview_view import Preview
from tests.support.agreement import expect_same
from tests.support.git.repositories import Repository
from tests.support.manifests.estate import Step, history
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import TestClock

HOSTS_PER_SITE = 1
CONNTRACK = "net.ipv4.vs.conntrack"


@pytest.fixture(autouse=True)
def _collections_as_in_the_command() -> Iterator[None]:
    usual = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    yield
    gc.set_threshold(*usual)


@dataclass
class Sides:
    """A commit, as agents know it."""

    commit: Commit
    manifests: Manifests
    messages: list[str]


class Host:
    """A director that is really there."""

    def __init__(self, name: str, state_dir: Path, closing: ExitStack) -> None:
        self.name = name
        self.clock = TestClock()
        self.store = closing.enter_context(SqliteStore(state_dir))
        kernel = MemoryKernel(OWNER_ALIAS_PREFIX + self.store.id, extra_sysctls={CONNTRACK: (0,)})
        self.ports = Ports(kernel, self.store, self.clock)

    def follow(self, side: Sides, allowed: frozenset[str]) -> PassResult:
        """Make the pass of an agent that has a new commit."""
        desired = render_director(side.manifests, self.name)
        target = Applied(desired, side.commit, self.clock.now())
        return reconcile(self.ports, target, PassOptions(allowed))

    def settle(self, side: Sides) -> None:
        """Have a commit in force whatever gates say, with no drain left."""
        self.follow(side, frozenset(LIFTABLE_GATES))
        self.clock.seconds += 3600
        assert self.follow(side, frozenset()).outcome in (Outcome.APPLIED, Outcome.CONVERGED)


class Company:
    """The repository, and its directors."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.folder = folder
        self.repository = Repository(folder / "repository")
        self.hosts: dict[str, Host] = {}
        self.loader, self.agents_loader = Loader(), Loader()
        self.commits: GitCommits = None  # type: ignore[assignment]  # after the first commit
        self.closing = closing

    def push(self, step: Step) -> Sides:
        """Commit, and return what agents read."""
        for path in self.repository.folder.glob("sites/*/*.yaml"):
            path.unlink()
        commit_id = self.repository.commit(step.files, step.message)
        if self.commits is None:
            self.commits = self.closing.enter_context(open_commits(self.repository.folder))
        manifests = self.agents_loader.load(self.commits.snapshot(commit_id).files)
        return Sides(self.commits.commit(commit_id), manifests, [step.message])

    def host(self, name: str) -> Host:
        if name not in self.hosts:
            self.hosts[name] = Host(name, self.folder / name, self.closing)
        return self.hosts[name]

    def preview(self, base: Sides, head: Sides) -> Preview:
        return compare(self.commits, Comparison(base.commit.id, head.commit.id), self.loader)


def test_every_preview_is_what_a_real_apply_does(tmp_path: Path) -> None:
    steps = history()
    outcomes = []
    with ExitStack() as closing:
        company = Company(tmp_path, closing)
        base = company.push(steps[0])
        for name in base.manifests.director_names:
            if int(name[2]) < HOSTS_PER_SITE:
                company.host(name).settle(base)
        for step in steps[1:]:
            head = company.push(step)
            preview = company.preview(base, head)
            expect_real(company, preview, base, head)
            outcomes.append(str(preview.verdict))
            base = head
    assert len(outcomes) == 30
    assert {"none", "changes", "blocked"} == set(outcomes)


def expect_real(company: Company, preview: Preview, base: Sides, head: Sides) -> None:
    """A preview is what happens, on every director that is there."""
    plans = {plan.director: plan for plan in preview.plans}
    assert set(preview.directors_with(Presence.APPEARS)) == set(
        head.manifests.director_names
    ) - set(base.manifests.director_names)
    total = len({*base.manifests.director_names, *head.manifests.director_names})
    assert preview.unchanged == total - len(plans)
    for name in preview.directors_with(Presence.DISAPPEARS):
        company.hosts.pop(name, None)
    for name in preview.directors_with(Presence.APPEARS):
        company.host(name)
    there: dict[str, DirectorPlan] = {}
    for name, host in company.hosts.items():
        given = (a for message in head.messages for a in parse_allowances(message))
        allowed = frozenset(a.gate for a in given if a.applies_to(name))
        if name in plans:
            expect_same(plans[name], host.follow(head, allowed))
            host.settle(head)
            there[site_of(name)] = plans[name]
    expect_rest_unchanged(company, head, set(plans))
    for name, plan in plans.items():
        if plan.presence is Presence.STAYS:
            like = there[site_of(name)]
            assert plan.plan == like.plan
            assert [(g.key, g.measured) for g in plan.gates] == [
                (g.key, g.measured) for g in like.gates
            ]


def expect_rest_unchanged(company: Company, head: Sides, changed: set[str]) -> None:
    """Directors without a plan have nothing to do; a few of them say so."""
    rest = sorted(set(company.hosts) - changed)
    for name in rest[:: max(1, len(rest) // 3)]:
        assert company.hosts[name].follow(head, frozenset()).outcome is Outcome.CONVERGED


def site_of(name: str) -> str:
    return name.split(".")[1]
