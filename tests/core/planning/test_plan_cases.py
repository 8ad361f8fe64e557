"""Case folders: what is applied, what is wanted, and the plan between them.

A folder `tests/cases/plan-*` holds `manifests/`, `applied/` if something is in force already
(on a kernel that is as it says, with a connection to every real server), and `expected.yaml`:
the plan's changes in the order of execution, as `phase action key`, and the gates it meets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.render import render_director
from gitvs.core.model.desired import Desired
from gitvs.core.model.resources import RealServer
from gitvs.reconcile.one_pass import plan_pass
from tests.support.manifests.writing import folder
from tests.support.memory.kernel import MemoryKernel
from tests.support.paths import CASES
from tests.support.sweep import World


def desired(manifests: Path) -> Desired:
    """What a folder of manifests says of its director."""
    return render_director(load_manifest_files(folder(manifests)), "lb1")


def outcome(case: Path, state_dir: Path) -> dict[str, Any]:
    """Return what a case leads to, in the form of `expected.yaml`."""
    world = World(MemoryKernel("gitvs:test"), state_dir)
    if (case / "applied").exists():
        world.bring(desired(case / "applied"))
        for server in world.state().of_type(RealServer):
            world.kernel.set_connections(server, active=1)
    with world.store() as store:
        proposal = plan_pass(world.ports(store), desired(case / "manifests")).proposal
    return {
        "changes": [f"{c.phase} {c.action} {c.key}" for c in proposal.plan.changes],
        "gates": [f"{g.name}: {g.measured}" for g in proposal.gates],
    }


@pytest.mark.parametrize("case", sorted(CASES.glob("plan-*")), ids=lambda p: p.name)
def test_the_plan_of_a_case_is_the_expected_one(case: Path, tmp_path: Path) -> None:
    assert outcome(case, tmp_path) == yaml.safe_load((case / "expected.yaml").read_text())
