"""Any document, with any value of any type anywhere in it, is loaded or has problems."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitvs.core.manifests.file_cache import validate_file_compactly
from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.load_run import Manifests
from gitvs.core.manifests.render import render_director
from gitvs.core.problems import InvalidManifests, Problem
from tests.fuzz.strategies import damaged
from tests.support.effort import examples
from tests.support.manifests.writing import Doc
from tests.support.paths import CASES, EXAMPLES

SOUND_DOCUMENTS: list[Doc] = [
    document
    for path in (*sorted(EXAMPLES.rglob("*.yaml")), *sorted(CASES.glob("*-example/**/all.yaml")))
    for document in yaml.safe_load_all(path.read_text())
    if isinstance(document, dict) and str(document.get("apiVersion")).startswith("gitvs/")
]
KINDS = ("Director", "Service", "Pool", "Defaults", "Policy")
assert {document["kind"] for document in SOUND_DOCUMENTS} == set(KINDS)


def load(*files: ManifestFile) -> Manifests | None:
    """Load files and render every director; None if they have problems, which can be shown."""
    try:
        manifests = Loader(validate_file_compactly).load(files)
    except InvalidManifests as error:
        check_problems(error.problems)
        return None
    for name in manifests.director_names:
        render_director(manifests, name)
    return manifests


def check_problems(problems: Sequence[Problem]) -> None:
    """Check that there are problems, that each has a place, and that each can be shown."""
    assert problems
    for problem in problems:
        assert problem.line > 0
        assert problem.column > 0
        str(problem).encode()


def json_file(number: int, document: Any) -> ManifestFile:
    return ManifestFile(f"{number}.json", json.dumps(document).encode())


def yaml_file(number: int, document: Any) -> ManifestFile:
    text = yaml.safe_dump(document, allow_unicode=True)
    return ManifestFile(f"{number}.yaml", text.encode(errors="replace"))


def of_kind(kind: str, spec: Any) -> Doc:
    return {"apiVersion": "gitvs/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}


@settings(max_examples=examples(300))
@given(
    st.lists(damaged(*SOUND_DOCUMENTS), min_size=1, max_size=3),
    st.sampled_from([json_file, yaml_file]),
)
@example([of_kind("Service", None)], json_file)
@example([of_kind("Service", 5)], json_file)
@example([of_kind("Service", True)], json_file)
@example([of_kind("Service", [])], json_file)
@example([of_kind("Service", "text")], json_file)
def test_any_value_anywhere_gives_problems_at_most(several: list[Any], write: Any) -> None:
    load(*(write(number, document) for number, document in enumerate(several)))


@settings(max_examples=examples(300))
@given(st.data())
def test_any_damage_to_the_text_gives_problems_at_most(data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(SOUND_DOCUMENTS))
    write = data.draw(st.sampled_from([json_file, yaml_file]))
    file = write(0, document)
    damaged = bytearray(file.data)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(damaged)))
        end = data.draw(st.integers(start, min(start + 9, len(damaged))))
        damaged[start:end] = data.draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from(
                    [b"---\n", b"&a ", b"*a", b"<<: ", b"!!x ", b"\t", b"\\ud800", b'"']
                ),
            )
        )
    load(ManifestFile(file.path, bytes(damaged)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [None, True, 5, 0.5, "text", [], ["a"]])
def test_a_spec_of_another_type_is_one_problem_with_its_line(kind: str, value: Any) -> None:
    text = json.dumps(of_kind(kind, value)).replace('"spec"', '\n"spec"')
    with pytest.raises(InvalidManifests) as raised:
        Loader().load([ManifestFile("a.yaml", text.encode())])
    (problem,) = raised.value.problems
    assert (problem.file, problem.line, problem.rule) == ("a.yaml", 2, "wrong-type")


def test_an_empty_spec_hides_no_other_problem() -> None:
    text = yaml.safe_dump_all([of_kind("Service", None), of_kind("Pool", {"realServer": []})])
    with pytest.raises(InvalidManifests) as raised:
        Loader().load([ManifestFile("a.yaml", text.encode())])
    assert {problem.rule for problem in raised.value.problems} == {
        "wrong-type",
        "unknown-field",
        "missing-field",
    }
