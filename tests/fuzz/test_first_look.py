"""jsonschema-rs only takes a first look: what it finds valid, jsonschema finds valid, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitvs.core.manifests.schema import DOCUMENT_KINDS, schema_problems, violations
from gitvs.core.manifests.syntax.source_positions import Document, ParsedContent, SourcePosition
from tests.fuzz.strategies import VALUES, damaged
from tests.fuzz.test_manifests import SOUND_DOCUMENTS, of_kind
from tests.support.effort import examples
from tests.support.manifests.writing import director, pool, server, service
from tests.support.work import work_of

SOUND = [d for d in SOUND_DOCUMENTS if d["kind"] in DOCUMENT_KINDS]


def document_of(data: Any) -> Document:
    return Document("a.yaml", ParsedContent(data, SourcePosition(1, 1)))


@settings(max_examples=examples(500))
@given(
    st.one_of(
        damaged(*SOUND),
        st.builds(of_kind, st.sampled_from(DOCUMENT_KINDS), VALUES),
    )
)
@example(service("a", ports=[{"port": 443.0}]))
@example(service("a", ports=[{"port": 1e308}]))
@example(service("a", ports=[{"port": True}]))
@example(service("a", ports=[{"port": 2**65}]))
@example(service("a", firewallMark=7.0))
@example(service("a\n"))
@example(service("a", drain={"timeout": "٣s"}))
@example(service("a", directors={"names": ["x", "x"]}))
@example(service("a", vips=[5]))
@example(service("a", pools=[None]))
@example(service("a", realServers=[server(weight=1.0)]))
@example(pool("p", server(labels={"a": float("nan")})))
@example(director("d", sysctls={"net.ipv4.ip_forward": True}))
@example(director("d", addresses={"": []}))
def test_any_document_is_judged_as_without_a_first_look(data: Any) -> None:
    if not isinstance(data, dict) or data.get("apiVersion") != "gitvs/v1":
        return
    if data.get("kind") not in DOCUMENT_KINDS:
        return
    document = document_of(data)
    assert schema_problems(document) == violations(document, document.kind)


@pytest.mark.parametrize("data", SOUND, ids=lambda data: data["kind"])
def test_the_judge_does_not_see_a_sound_document(data: Any) -> None:
    document = document_of(data)
    schema_problems(document)
    calls = work_of(lambda: schema_problems(document)).calls
    assert calls * 3 < work_of(lambda: violations(document, document.kind)).calls


VALIDATE = """
import sys
from pathlib import Path
if sys.argv[1] == "without":
    sys.modules["jsonschema_rs"] = None
from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load_run import validate_file
file = ManifestFile("a.yaml", Path(sys.argv[2]).read_bytes())
for document, problems in validate_file(file).documents:
    print(document.kind, *problems, sep="\\n")
print("had" if sys.modules.get("jsonschema_rs") else "had not", file=sys.stderr)
"""


def test_without_jsonschema_rs_the_same_is_found(tmp_path: Path) -> None:
    wrong = [service("a", ports=[{"port": 443.0}]), service("a", vip=[]), pool("p", {})]
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump_all([*SOUND, *wrong]))
    (found, had), (found_without, had_not) = (validated(word, path) for word in ("with", "without"))
    assert (had, had_not) == ("had\n", "had not\n")
    assert found == found_without
    assert "[missing-field]" in found


def validated(word: str, path: Path) -> tuple[str, str]:
    command = [sys.executable, "-c", VALIDATE, word, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr
