"""The script of the soak: its seed says all, and each commit is what it is called."""

from __future__ import annotations

import pytest

from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.render import render_director
from gitvs.core.model.resources import RealServer
from gitvs.core.model.state import State
from gitvs.core.problems import InvalidManifests
from tests.support.soak import BROADCAST, STEADY_PORT, STEADY_VIP, Mishap, Push, script

SEEDS = range(5)


def state_of(text: str) -> State:
    return render_director(
        load_manifest_files([ManifestFile("all.yaml", text.encode())]), "lb1"
    ).state


def steady_weights(text: str) -> list[int]:
    """The weights of the first two real servers of the steady service."""
    servers = state_of(text).of_type(RealServer)
    steady = [s for s in servers if s.service_key == f"tcp {STEADY_VIP}:{STEADY_PORT}"]
    return [s.weight for s in steady if str(s.address) in ("10.0.2.1", "10.0.2.2")]


def test_a_seed_writes_the_same_script_again_and_another_one_another() -> None:
    assert script(1, 30) == script(1, 30)
    assert script(1, 30) != script(2, 30)


@pytest.mark.parametrize("commits", [12, 60])
def test_a_script_has_something_of_everything(commits: int) -> None:
    for seed in SEEDS:
        steps = script(seed, commits)
        assert len(steps) == commits
        assert {step.push for step in steps} == set(Push)
        assert {deed.mishap for step in steps for deed in step.deeds} == set(Mishap)


def test_good_commits_are_sound_and_keep_the_steady_service() -> None:
    for step in (s for seed in SEEDS for s in script(seed, 40) if s.is_good):
        assert all(steady_weights(step.text))
        assert len(steady_weights(step.text)) == 2
        assert BROADCAST not in step.text


def test_bad_commits_are_bad_in_their_way() -> None:
    for step in (s for seed in SEEDS for s in script(seed, 40)):
        match step.push:
            case Push.INVALID:
                with pytest.raises(InvalidManifests):
                    state_of(step.text)
            case Push.REFUSED:
                assert BROADCAST in {
                    str(s.address) for s in state_of(step.text).of_type(RealServer)
                }
            case Push.BLOCKED:
                assert steady_weights(step.text) == [0, 0]
