"""Findings, shown at locations in the manifests, in the forges' own formats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never
from urllib.parse import quote

from gitvs.core.model.resource_json import json_text
from gitvs.core.problems import printable

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


class FindingLevel(StrEnum):
    """How severe a finding is, in GitHub's words."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


class ForgeFormat(StrEnum):
    """The forge, or the standard, whose format is written."""

    GITHUB = "github"
    GITLAB = "gitlab"
    SARIF = "sarif"


_GITLAB_SEVERITY = {
    FindingLevel.ERROR: "blocker",
    FindingLevel.WARNING: "major",
    FindingLevel.NOTICE: "info",
}
_SARIF_LEVEL = {
    FindingLevel.ERROR: "error",
    FindingLevel.WARNING: "warning",
    FindingLevel.NOTICE: "note",
}

_REPOSITORY_ROOT = "."
"""The path of a finding about no file: some forges reject or drop findings without one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `path` is from the repository's root; None means that it is about no file.

    `line` and `column` count from 1; a column of 0 means none. `pointer` is a JSON pointer.
    """

    level: FindingLevel
    rule: str
    message: str
    path: str | None = None
    line: int = 1
    column: int = 0
    pointer: str = ""

    @property
    def fingerprint(self) -> str:
        """A hash that stays the same if only lines have moved."""
        parts = [self.path or "", self.pointer, self.rule, self.message]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def findings_text(
    findings: Sequence[Finding], forge_format: ForgeFormat, gitvs_version: str = ""
) -> str:
    """Return findings in a forge's format; `gitvs_version` is gitvs's own, for SARIF."""
    match forge_format:
        case ForgeFormat.GITHUB:
            return github_workflow_commands(findings)
        case ForgeFormat.GITLAB:
            return json_text(gitlab_code_quality(findings))
        case ForgeFormat.SARIF:
            return json_text(sarif_log(findings, gitvs_version))
        case _:
            assert_never(forge_format)


def github_workflow_commands(findings: Iterable[Finding]) -> str:
    """Return annotations for GitHub. Source: actions/toolkit, packages/core/src/command.ts."""
    return "".join(_github_workflow_command(finding) + "\n" for finding in findings)


def _github_workflow_command(finding: Finding) -> str:
    properties: dict[str, object] = {}
    if finding.path is not None:
        properties = {"file": finding.path, "line": finding.line}
        if finding.column:
            properties["col"] = finding.column
    properties["title"] = f"gitvs: {finding.rule}"
    joined = ",".join(f"{name}={_escaped_property(str(v))}" for name, v in properties.items())
    return f"::{finding.level} {joined}::{_escaped(finding.message)}"


def _escaped(text: str) -> str:
    return printable(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def gitlab_code_quality(findings: Iterable[Finding]) -> list[dict[str, object]]:
    """Return issues for GitLab. Source: GitLab documentation, Code Quality report format."""
    return [
        {
            "description": printable(finding.message),
            "check_name": printable(finding.rule),
            "fingerprint": finding.fingerprint,
            "severity": _GITLAB_SEVERITY[finding.level],
            "location": {
                "path": printable(finding.path or "") or _REPOSITORY_ROOT,
                "lines": {"begin": finding.line},
            },
        }
        for finding in findings
    ]


def sarif_log(findings: Sequence[Finding], gitvs_version: str = "") -> dict[str, Any]:
    """Return a SARIF log. Source: SARIF 2.1.0, sections 3.13, 3.14 and 3.27."""
    rules = sorted({finding.rule for finding in findings})
    driver: dict[str, Any] = {"name": "gitvs", "rules": [{"id": printable(rule)} for rule in rules]}
    if gitvs_version:
        driver["version"] = gitvs_version
    results = [_sarif_result(finding, rules.index(finding.rule)) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_result(finding: Finding, rule_index: int) -> dict[str, Any]:
    return {
        "ruleId": printable(finding.rule),
        "ruleIndex": rule_index,
        "level": _SARIF_LEVEL[finding.level],
        "message": {"text": printable(finding.message)},
        "locations": [_sarif_location(finding)],
        "partialFingerprints": {"gitvs/v1": finding.fingerprint},
    }


def _sarif_location(finding: Finding) -> dict[str, Any]:
    region = {"startLine": finding.line}
    if finding.column:
        region["startColumn"] = finding.column
    artifact = {"uri": _relative_uri(finding.path or _REPOSITORY_ROOT)}
    return {
        "physicalLocation": {"artifactLocation": artifact, "region": region},
        "logicalLocations": [{"fullyQualifiedName": printable(finding.pointer) or "/"}],
    }


def _relative_uri(path: str) -> str:
    """Return a path as a relative URI reference. Source: RFC 3986, section 4.2."""
    return quote(path, safe="/-._~", errors="surrogateescape")
