"""Case folders: manifests, and the problems or the rendered state that come of them.

A folder `tests/cases/manifest-*` holds `manifests/` and `expected.yaml`, which says either
`problems` (as `file:line:column rule`) or `directors` (the objects of each, by key).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.render import render_director
from gitvs.core.model.resource_json import resource_json
from gitvs.core.problems import InvalidManifests
from tests.support.manifests.writing import folder
from tests.support.paths import CASES


def outcome(case: Path) -> dict[str, Any]:
    """Return what a case leads to, in the form of `expected.yaml`."""
    try:
        manifests = load_manifest_files(folder(case / "manifests"))
    except InvalidManifests as error:
        return {
            "problems": [f"{p.file}:{p.line}:{p.column} {p.rule}" for p in error.problems],
        }
    directors = {}
    for name in manifests.director_names:
        state = render_director(manifests, name).state
        directors[name] = {str(key): resource_json(resource) for key, resource in state.items()}
    return {"directors": directors}


@pytest.mark.parametrize("case", sorted(CASES.glob("manifest-*")), ids=lambda p: p.name)
def test_the_manifests_of_a_case_lead_to_what_it_expects(case: Path) -> None:
    assert outcome(case) == yaml.safe_load((case / "expected.yaml").read_text())
