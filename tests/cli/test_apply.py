"""Which commits' messages lift gates for `gitvs apply --rev`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitvs.cli.apply import _find_commit_lifts
from gitvs.cli.shared.manifest_input import load_manifests
from gitvs.core.manifests.render import render_director
from gitvs.core.planning.gates import evaluate_gates
from gitvs.ports import Applied
from tests.support.git.repositories import Repository
from tests.support.manifests.writing import Doc, director, file_of, server, service

LINES = "Off\n\nGitvs-Allow: last-real-server\nGitvs-Allow: capacity-drop"
OFF = {"realServers": [server(weight=0)]}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def commit(repository: Repository, *documents: Doc, message: str = "Change") -> str:
    return repository.commit({"all.yaml": file_of("", director("lb1"), *documents).data}, message)


def verdicts(repository: Repository, base: str, head: str) -> set[bool]:
    """Whether the gates of the step are lifted."""
    before, after = (load_manifests(repository.folder, rev) for rev in (base, head))
    applied = Applied(render_director(before.manifests, "lb1"), before.commit, datetime.now(UTC))
    desired = render_director(after.manifests, "lb1")
    lifts = _find_commit_lifts(repository.folder, after, applied, desired)
    return {gate.is_allowed for gate in evaluate_gates(applied.desired, desired, (), lifts)}


def test_a_line_lifts_gates_up_to_its_commit_and_no_further(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    other = service("db", vips=["203.0.113.11"])
    base = commit(repository, service(), other)
    first = commit(repository, service(**OFF), other, message=LINES)
    assert verdicts(repository, base, first) == {True}
    second = commit(repository, service(**OFF), service("db", vips=["203.0.113.11"], **OFF))
    assert verdicts(repository, base, second) == {True, False}
    assert capsys.readouterr().err == ""


def test_lines_that_are_not_counted_are_told(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    base = commit(repository, service())
    invalid = commit(repository, service(scheduler="x"), message=f"{LINES}\nGitvs-Allow: nope")
    head = commit(repository, service(**OFF))
    assert verdicts(repository, base, head) == {False}
    assert capsys.readouterr().err.splitlines() == [
        f'gitvs: commit {invalid[:12]}:5:1: warning: Gitvs-Allow: "nope" is no gate that can be'
        " lifted; empty-state, mass-removal, last-real-server, capacity-drop, protected-vip,"
        " other-director, director-leaves are [unknown-gate]",
        f"gitvs: `Gitvs-Allow` in commit {invalid[:12]} is ignored: it is invalid (1 problem)",
    ]
