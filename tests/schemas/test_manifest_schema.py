"""The schema of all manifests says of each document what the schema of its kind says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, combinations

import pytest
import yaml
from jsonschema import Draft202012Validator

from gitvs.core.manifests.schema import DOCUMENT_KINDS, schema_for
from tests.support.manifests.manifest_schema import FILE, composed
from tests.support.manifests.writing import (
    Doc,
    defaults,
    director,
    manifest_examples,
    policy,
    pool,
    server,
    service,
)
from tests.support.paths import ROOT

SOUND = [director(), service(), pool("p", server()), defaults({"scheduler": "sh"}), policy()]


def example_documents() -> Iterator[Doc]:
    for folder in manifest_examples(ROOT / "examples"):
        for file in sorted(folder.rglob("*.yaml")):
            yield from yaml.safe_load_all(file.read_text())


def is_valid(schema: str, document: Doc) -> bool:
    return bool(Draft202012Validator(schema_for(schema)).is_valid(document))


def faults(document: Doc) -> Iterator[Doc]:
    """Yield the document with one thing wrong, each time another."""
    yield {**document, "extra": 1}
    yield {**document, "apiVersion": "gitvs/v2"}
    yield {**document, "metadata": {"nam": "a"}}
    yield {**document, "spec": {**document.get("spec", {}), "extra": 1}}
    for field in document:
        yield {name: value for name, value in document.items() if name != field}
    for kind in DOCUMENT_KINDS:
        yield {**document, "kind": kind}


def test_it_is_what_the_schemas_of_the_kinds_make() -> None:
    written = json.loads(FILE.read_text())
    assert written == composed(), (
        "`python -m tests.support.manifests.manifest_schema` writes it anew"
    )
    Draft202012Validator.check_schema(written)


@pytest.mark.parametrize("document", SOUND, ids=DOCUMENT_KINDS)
def test_it_judges_a_document_as_its_kind_does(document: Doc) -> None:
    assert is_valid("Manifest", document)
    for fault in faults(document):
        kind = str(fault.get("kind", document["kind"]))
        assert is_valid("Manifest", fault) == is_valid(kind, fault), fault


def test_it_takes_every_document_of_the_examples() -> None:
    documents = list(example_documents())
    assert {d["kind"] for d in documents} >= {"Director", "Service", "Policy"}
    assert all(is_valid("Manifest", d) for d in documents)


def test_it_takes_exactly_one_of_two_fields_where_the_kind_does() -> None:
    fields = {"ports": [{"port": 80}], "firewallMark": 1, "pools": ["p"], "realServers": []}
    valid = []
    for names in chain.from_iterable(combinations(fields, n) for n in range(5)):
        document = {**service(), "spec": {name: fields[name] for name in names}}
        assert is_valid("Manifest", document) == is_valid("Service", document), names
        valid += [names] if is_valid("Manifest", document) else []
    assert len(valid) == 4


@pytest.mark.parametrize("kind", [None, "Servic", 5])
def test_it_takes_no_unknown_kind(kind: object) -> None:
    assert not is_valid("Manifest", {**service(), "kind": kind})
