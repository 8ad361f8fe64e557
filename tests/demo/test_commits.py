"""The commits of `make demo` still fit the quickstart; the kernel tests tell the story."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.problems import InvalidManifests
from tests.demo import commits
from tests.demo.commits import Commit
from tests.demo.story import QUICKSTART
from tests.support.manifests.writing import folder


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(QUICKSTART, tmp_path / "balancers"))


@pytest.mark.parametrize(
    "commit", [c for c in commits.ALL if c is not commits.MISTYPED], ids=lambda c: c.message
)
def test_a_commit_of_the_demo_is_sound(work_tree: Path, commit: Commit) -> None:
    commits.DRAIN.write(work_tree)
    if commit is not commits.DRAIN:
        commit.write(work_tree)
    assert load_manifest_files(folder(work_tree)).director_names == ("lb-ams", "lb-lax")


def test_the_bad_commit_of_the_demo_has_two_problems(work_tree: Path) -> None:
    commits.DRAIN.write(work_tree)
    commits.MISTYPED.write(work_tree)
    with pytest.raises(InvalidManifests) as caught:
        load_manifest_files(folder(work_tree))
    assert [p.rule for p in caught.value.problems] == ["unknown-field", "out-of-range"]
