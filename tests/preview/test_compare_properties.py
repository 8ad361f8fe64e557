"""Previews of any two commits are what agents do with them, whatever is in the manifests."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings

from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.manifests.file_cache import FileCache
from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import Loader, load_manifest_files
from gitvs.core.manifests.load_run import Manifests
from gitvs.core.manifests.render import Renderer, affected_directors, render_director
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit, Outcome
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX
from gitvs.core.problems import InvalidManifests
from gitvs.ports import Applied, Ports, Snapshot
from gitvs.preview.compare import Comparison, compare
from gitvs.reconcile.one_pass import PassResult, reconcile
from gitvs.report.plan.plan_json import plan_json
from gitvs.report.plan.plan_view import Presence
from tests.support.agreement import expect_same
from tests.support.effort import examples
from tests.support.manifests.manifest_strategies import (
    CONNTRACK,
    Files,
    edits,
    histories,
    manifest_files,
)
from tests.support.memory.kernel import MemoryKernel
from tests.support.stored_files import Texts, stored
from tests.support.sweep import TestClock


class Commits:
    """A straight line of commits in memory."""

    folder = cut_off = ""

    def __init__(self, history: Sequence[Files]) -> None:
        self._history = history

    def commit(self, revision: str) -> Commit:
        return Commit(revision)

    def has_folder(self, commit_id: str) -> bool:
        return True

    def snapshot(self, commit_id: str) -> Snapshot:
        files = manifest_files(self._history[int(commit_id)])
        return Snapshot([stored(file.path, file.data) for file in files], Commit(commit_id))

    def since(self, base: str, head: str) -> list[str]:
        return [str(n) for n in range(int(head), int(base), -1)]

    def message(self, commit_id: str) -> str:
        return ""

    def first_parents(self, commit_id: str, limit: int) -> list[str]:
        return self.since("-1", commit_id)[1:]

    def merge_bases(self, one: str, other: str) -> list[str]:
        return [min(one, other)]


@settings(max_examples=examples(25))
@given(histories(2))
def test_a_preview_is_what_agents_do(history: list[Files]) -> None:
    preview = compare(Commits(history), Comparison("0", "1"))
    before, after = (load_manifest_files(manifest_files(files)) for files in history)
    plans = {plan.director: plan for plan in preview.plans}
    assert preview.problems == ()
    assert len(plans) + preview.unchanged == len({*before.director_names, *after.director_names})
    came, gone = (preview.directors_with(p) for p in (Presence.APPEARS, Presence.DISAPPEARS))
    assert set(came) == set(after.director_names) - set(before.director_names)
    assert set(gone) == set(before.director_names) - set(after.director_names)
    for name in after.director_names:
        done = followed(name, before, after)
        if name in plans:
            expect_same(plans[name], done)
        else:
            assert done.outcome is Outcome.CONVERGED


@settings(max_examples=examples(25))
@given(edits())
def test_a_preview_with_what_is_known_of_files_says_what_one_without_says(
    history: list[Files],
) -> None:
    """Each commit after the one before: first with what earlier ones left, then with all of it."""
    commits, texts = Commits(history), Texts()
    questions = [Comparison(str(n - 1), str(n)) for n in range(1, len(history))]
    fresh = [plan_json(compare(commits, question)) for question in questions]
    for _ in range(2):
        loaders = [Loader(FileCache(texts).validate_file) for _ in questions]
        again = [compare(commits, q, known) for q, known in zip(questions, loaders, strict=True)]
        assert [plan_json(preview) for preview in again] == fresh
    assert texts.found or not texts.kept


@settings(max_examples=examples(25))
@given(histories(2))
def test_directors_that_may_change_are_all_that_do(history: list[Files]) -> None:
    before, after = (load_manifest_files(manifest_files(files)) for files in history)
    chosen = affected_directors(before, after)
    for name in {*before.director_names, *after.director_names} - chosen:
        old, new = render_director(before, name), render_director(after, name)
        assert replace(old, policy=new.policy, locations=new.locations) == new


@settings(max_examples=examples(40))
@given(edits())
def test_what_is_used_again_says_what_a_fresh_one_says(history: list[Files]) -> None:
    """A loader, and a renderer for each director, as agents keep them."""
    loader, renderers = Loader(), defaultdict[str, Renderer](Renderer)
    for files in history:
        again = outcome(loader.load, lambda m, name: renderers[name].render(m, name), files)
        assert again == outcome(load_manifest_files, render_director, files)


def outcome(
    loading: Callable[[Iterable[ManifestFile]], Manifests],
    rendering: Callable[[Manifests, str], Desired],
    files: Files,
) -> object:
    """What files come to: every problem, or the desired state of every director."""
    try:
        manifests = loading(manifest_files(files))
    except InvalidManifests as error:
        return error.problems
    return [rendering(manifests, name) for name in manifests.director_names]


def followed(name: str, before: Manifests, after: Manifests) -> PassResult:
    """The pass of the agent that has one commit in force, and gets the next."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder, SqliteStore(Path(folder)) as store:
        kernel = MemoryKernel(OWNER_ALIAS_PREFIX + store.id, extra_sysctls={CONNTRACK: (0,)})
        ports = Ports(kernel, store, TestClock())
        if name in before.director_names:
            for _ in range(2):
                first = reconcile(ports, target_of(ports, before, name))
                assert first.outcome in (Outcome.APPLIED, Outcome.CONVERGED)
        return reconcile(ports, target_of(ports, after, name))


FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def target_of(ports: Ports, manifests: Manifests, name: str) -> Applied:
    return Applied(render_director(manifests, name), None, ports.clock.now())
