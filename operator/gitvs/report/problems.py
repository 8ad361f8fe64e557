"""Problems in manifests, for people, for programs, and for the forges' own displays.

Every format holds every problem. Forges want paths from the repository's root: `prefix` is
the chosen folder in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, assert_never
from urllib.parse import quote

from gitvs.core.problems import Problem

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


class ProblemFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    GITLAB = "gitlab"
    SARIF = "sarif"


def report_problems(
    problems: Sequence[Problem], format: ProblemFormat, *, prefix: str = "", version: str = ""
) -> str:
    """Return problems in a format, every line ended; text and github say nothing of none.

    `version` is gitvs's own, which SARIF names.
    """
    match format:
        case ProblemFormat.TEXT:
            return "".join(f"{problem}\n" for problem in problems)
        case ProblemFormat.JSON:
            return _json({"problems": [_document(p) for p in problems]})
        case ProblemFormat.GITHUB:
            return "".join(_github(p, prefix) + "\n" for p in problems)
        case ProblemFormat.GITLAB:
            return _json([_gitlab(p, prefix) for p in problems])
        case ProblemFormat.SARIF:
            return _json(_sarif(problems, prefix, version))
        case _:
            assert_never(format)


def counted(number: int, noun: str) -> str:
    """Return `1 problem` or `3 problems`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _path(problem: Problem, prefix: str) -> str:
    folder = prefix.strip("/")
    return f"{folder}/{problem.file}" if folder else problem.file


def _document(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "pointer": problem.pointer,
        "rule": problem.rule,
        "message": problem.message,
    }


def _github(problem: Problem, prefix: str) -> str:
    """A workflow command. Source: actions/toolkit, packages/core/src/command.ts."""
    properties = {
        "file": _path(problem, prefix),
        "line": problem.line,
        "col": problem.column,
        "title": f"gitvs: {problem.rule}",
    }
    joined = ",".join(f"{name}={_escaped_property(str(v))}" for name, v in properties.items())
    return f"::error {joined}::{_escaped(problem.message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _gitlab(problem: Problem, prefix: str) -> dict[str, object]:
    """A code quality issue. Source: GitLab documentation, Code Quality report format."""
    return {
        "description": problem.message,
        "check_name": problem.rule,
        "fingerprint": _fingerprint(problem, prefix),
        "severity": "blocker",
        "location": {"path": _path(problem, prefix), "lines": {"begin": problem.line}},
    }


def _fingerprint(problem: Problem, prefix: str) -> str:
    """Name a problem by what it is about, so that it is the same one when lines move."""
    parts = [_path(problem, prefix), problem.pointer, problem.rule, problem.message]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _sarif(problems: Sequence[Problem], prefix: str, version: str) -> dict[str, Any]:
    """A SARIF log. Source: SARIF 2.1.0, sections 3.13, 3.14 and 3.27."""
    rules = sorted({p.rule for p in problems})
    driver: dict[str, Any] = {"name": "gitvs", "rules": [{"id": rule} for rule in rules]}
    if version:
        driver["version"] = version
    results = [_sarif_result(p, rules.index(p.rule), prefix) for p in problems]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_result(problem: Problem, rule_index: int, prefix: str) -> dict[str, Any]:
    physical = {
        "artifactLocation": {"uri": _uri(_path(problem, prefix))},
        "region": {"startLine": problem.line, "startColumn": problem.column},
    }
    return {
        "ruleId": problem.rule,
        "ruleIndex": rule_index,
        "level": "error",
        "message": {"text": problem.message},
        "locations": [
            {
                "physicalLocation": physical,
                "logicalLocations": [{"fullyQualifiedName": problem.pointer or "/"}],
            }
        ],
        "partialFingerprints": {"gitvs/v1": _fingerprint(problem, prefix)},
    }


def _uri(path: str) -> str:
    """A relative URI reference. Source: RFC 3986, section 4.2."""
    return quote(path, safe="/-._~")
