"""Builders of manifests for tests: plain functions with defaults. JSON is YAML."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.load_run import Manifests
from gitvs.core.problems import InvalidManifests, Problem

Doc = dict[str, Any]


class _LeftOut:
    """Stands for a field that is not written; its text is the same in every process."""

    def __repr__(self) -> str:
        return "left out"


LEFT_OUT = _LeftOut()


def manifest_examples(examples: Path) -> list[Path]:
    """Return the folders of examples that hold manifests: not those about CI and monitoring."""
    others = {"ci", "monitoring", "push"}
    return sorted(p for p in examples.iterdir() if p.is_dir() and p.name not in others)


def document(kind: str, name: str | None, spec: Doc | None, **metadata: Any) -> Doc:
    built: Doc = {"apiVersion": "gitvs/v1", "kind": kind}
    if name is not None:
        metadata = {"name": name, **metadata}
    if metadata:
        built["metadata"] = metadata
    if spec is not None:
        built["spec"] = {k: v for k, v in spec.items() if v is not LEFT_OUT}
    return built


def director(name: str = "lb1", labels: Doc | None = None, **spec: Any) -> Doc:
    metadata = {} if labels is None else {"labels": labels}
    return document("Director", name, spec, **metadata)


def service(name: str = "web", **spec: Any) -> Doc:
    """A sound Service; LEFT_OUT takes a field away."""
    sound: Doc = {
        "vips": ["203.0.113.10"],
        "ports": [{"port": 443}],
        "realServers": [server()],
    }
    if "firewallMark" in spec:
        del sound["ports"]
    if "pools" in spec:
        del sound["realServers"]
    return document("Service", name, {**sound, **spec})


def server(address: str = "10.0.3.5", **fields: Any) -> Doc:
    return {"address": address, **fields}


def pool(name: str = "web", *servers: Doc) -> Doc:
    return document("Pool", name, {"realServers": list(servers)})


def defaults(services: Doc | None = None, directors: Doc | None = None) -> Doc:
    sections = {"services": services, "directors": directors}
    return document("Defaults", None, {k: v for k, v in sections.items() if v is not None})


def policy(**spec: Any) -> Doc:
    return document("Policy", None, spec)


def file_of(path: str, *documents: Doc) -> ManifestFile:
    text = "".join(f"---\n{json.dumps(d, ensure_ascii=False, indent=1)}\n" for d in documents)
    return ManifestFile(path, text.encode())


def text_file(path: str, text: str) -> ManifestFile:
    return ManifestFile(path, text.encode())


def loaded(*documents: Doc) -> Manifests:
    """Load documents as one file."""
    return load_manifest_files([file_of("all.yaml", *documents)])


def problems_in(*files: ManifestFile) -> list[Problem]:
    """Return the problems of files; none where they are sound."""
    try:
        load_manifest_files(files)
    except InvalidManifests as error:
        return list(error.problems)
    return []


def problems_of(*documents: Doc) -> list[Problem]:
    return problems_in(file_of("all.yaml", *documents))


def rules_of(problems: Iterable[Problem]) -> list[str]:
    return [problem.rule for problem in problems]


def folder(path: Path) -> list[ManifestFile]:
    """Read every file below a folder, as a directory source does."""
    found = sorted(p for p in path.rglob("*") if p.is_file())
    return [ManifestFile(p.relative_to(path).as_posix(), p.read_bytes()) for p in found]
