"""Problems in manifests, for people, for programs, and for the forges' own displays.

Every format holds every problem. Forges want paths from the repository's root: `prefix` is
the chosen folder in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import assert_never

from gitvs.core.problems import Problem
from gitvs.report.findings import Finding, Level, code_quality, sarif, workflow_commands


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
            return workflow_commands(_findings(problems, prefix))
        case ProblemFormat.GITLAB:
            return _json(code_quality(_findings(problems, prefix)))
        case ProblemFormat.SARIF:
            return _json(sarif(_findings(problems, prefix), version))
        case _:
            assert_never(format)


def counted(number: int, noun: str) -> str:
    """Return `1 problem` or `3 problems`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _findings(problems: Sequence[Problem], prefix: str) -> list[Finding]:
    return [finding_of(problem, prefix) for problem in problems]


def finding_of(problem: Problem, prefix: str) -> Finding:
    """Return a problem as a forge shows it; `prefix` is the chosen folder in the repository."""
    folder = prefix.strip("/")
    path = f"{folder}/{problem.file}" if folder else problem.file
    return Finding(
        Level.ERROR,
        problem.rule,
        problem.message,
        path,
        problem.line,
        problem.column,
        problem.pointer,
    )


def _document(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "pointer": problem.pointer,
        "rule": problem.rule,
        "message": problem.message,
    }
