"""One schema for manifests of every kind, put together from the schemas of the kinds.

Editors want one file, whole in itself. `python -m tests.support.manifests.manifest_schema`
writes it.
"""

from __future__ import annotations

import json
from typing import Any

from gitvs.core.manifests.schema import DOCUMENT_KINDS, schema_for
from tests.support.paths import SCHEMAS

FILE = SCHEMAS / "manifest.schema.json"

_HEAD: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:gitvs:v1:manifest",
    "title": "Manifest",
    "description": "A document of any kind; `kind` decides which fields it has.",
    "type": "object",
    "properties": {
        "apiVersion": {
            "title": "API version",
            "description": "Always gitvs/v1.",
            "const": "gitvs/v1",
        },
        "kind": {
            "title": "Kind",
            "description": "What this document is.",
            "enum": list(DOCUMENT_KINDS),
        },
    },
    "required": ["apiVersion", "kind"],
}


def composed() -> dict[str, Any]:
    """Return the schema: `if` chooses by kind, so a wrong document is judged as its kind alone."""
    definitions: dict[str, Any] = {}
    for kind in DOCUMENT_KINDS:
        schema = {k: v for k, v in schema_for(kind).items() if k not in ("$schema", "$id")}
        own = schema.pop("$defs")
        definitions[kind] = _moved(schema, kind)
        definitions |= {f"{kind}.{name}": _moved(one, kind) for name, one in own.items()}
    return {**_HEAD, "allOf": [_choice(kind) for kind in DOCUMENT_KINDS], "$defs": definitions}


def _choice(kind: str) -> dict[str, Any]:
    is_kind = {"properties": {"kind": {"const": kind}}, "required": ["kind"]}
    return {"if": is_kind, "then": {"$ref": f"#/$defs/{kind}"}}


def _moved(part: Any, kind: str) -> Any:
    """Return a part of a kind's schema with its references to where its definitions are now."""
    if isinstance(part, list):
        return [_moved(one, kind) for one in part]
    if not isinstance(part, dict):
        return part
    if "oneOf" in part:
        return _one_of_two(part)
    moved = {name: _moved(one, kind) for name, one in part.items()}
    if "$ref" in moved:
        moved["$ref"] = moved["$ref"].replace("#/$defs/", f"#/$defs/{kind}.")
    return moved


def _one_of_two(choice: dict[str, Any]) -> dict[str, Any]:
    """Return a choice between two fields in such a way that editors underline the one too many."""
    first, second = (one["required"] for one in choice["oneOf"])
    too_many = {"properties": {second[0]: False}, "errorMessage": choice["errorMessage"]}
    return {"anyOf": choice["oneOf"], "if": {"required": first}, "then": too_many}


if __name__ == "__main__":
    FILE.write_text(json.dumps(composed(), indent=2, ensure_ascii=False) + "\n")
