"""Previews of any two commits are what agents do with them, whatever is in the manifests."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings

from gitvs.adapters.store.store import SqliteStore
from gitvs.core.manifests.file_cache import KnownFiles
from gitvs.core.manifests.load import Loader, Manifests, load
from gitvs.core.manifests.render import Renderer, affected, render
from gitvs.core.model.desired import Desired, ManifestFile
from gitvs.core.model.history import Commit, Result
from gitvs.core.planning.ownership import MARK_PREFIX
from gitvs.core.problems import InvalidManifests
from gitvs.ports import Applied, Snapshot
from gitvs.preview.compare import Question, compare
from gitvs.reconcile.one_pass import Pass, reconcile
from gitvs.reconcile.transaction import Ports
from gitvs.report.plan.plan_json import plan_document
from gitvs.report.plan.plan_view import Presence
from tests.support.agreement import expect_same
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


@settings(max_examples=25, deadline=None)
@given(histories(2))
def test_a_preview_is_what_agents_do(history: list[Files]) -> None:
    preview = compare(Commits(history), Question("0", "1"))
    before, after = (load(manifest_files(files)) for files in history)
    plans = {plan.director: plan for plan in preview.plans}
    assert preview.problems == ()
    assert len(plans) + preview.unchanged == len({*before.directors, *after.directors})
    came, gone = (preview.named(p) for p in (Presence.APPEARS, Presence.DISAPPEARS))
    assert set(came) == set(after.directors) - set(before.directors)
    assert set(gone) == set(before.directors) - set(after.directors)
    for name in after.directors:
        done = followed(name, before, after)
        if name in plans:
            expect_same(plans[name], done)
        else:
            assert done.result is Result.CONVERGED


@settings(max_examples=25, deadline=None)
@given(edits())
def test_a_preview_with_what_is_known_of_files_says_what_one_without_says(
    history: list[Files],
) -> None:
    """Each commit after the one before: first with what earlier ones left, then with all of it."""
    commits, texts = Commits(history), Texts()
    questions = [Question(str(n - 1), str(n)) for n in range(1, len(history))]
    fresh = [plan_document(compare(commits, question)) for question in questions]
    for _ in range(2):
        loaders = [Loader(KnownFiles(texts).read) for _ in questions]
        again = [compare(commits, q, known) for q, known in zip(questions, loaders, strict=True)]
        assert [plan_document(preview) for preview in again] == fresh
    assert texts.found or not texts.kept


@settings(max_examples=25, deadline=None)
@given(histories(2))
def test_directors_that_may_change_are_all_that_do(history: list[Files]) -> None:
    before, after = (load(manifest_files(files)) for files in history)
    chosen = affected(before, after)
    for name in {*before.directors, *after.directors} - chosen:
        old, new = render(before, name), render(after, name)
        assert replace(old, policy=new.policy, sources=new.sources) == new


@settings(max_examples=40, deadline=None)
@given(edits())
def test_what_is_used_again_says_what_a_fresh_one_says(history: list[Files]) -> None:
    """A loader, and a renderer for each director, as agents keep them."""
    loader, renderers = Loader(), defaultdict[str, Renderer](Renderer)
    for files in history:
        again = outcome(loader.load, lambda m, name: renderers[name].render(m, name), files)
        assert again == outcome(load, render, files)


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
    return [rendering(manifests, name) for name in manifests.directors]


def followed(name: str, before: Manifests, after: Manifests) -> Pass:
    """The pass of the agent that has one commit in force, and gets the next."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder, SqliteStore(Path(folder)) as store:
        kernel = MemoryKernel(MARK_PREFIX + store.id, more_sysctls={CONNTRACK: (0,)})
        ports = Ports(kernel, store, TestClock())
        if name in before.directors:
            for _ in range(2):
                first = reconcile(ports, target_of(ports, before, name))
                assert first.result in (Result.APPLIED, Result.CONVERGED)
        return reconcile(ports, target_of(ports, after, name))


FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def target_of(ports: Ports, manifests: Manifests, name: str) -> Applied:
    return Applied(render(manifests, name), None, ports.clock.now())
