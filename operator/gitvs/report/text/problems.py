"""Problems in manifests, for people, for programs, and in the forges' own formats.

Every format has every problem, with paths from the repository's root; `folder` is the path of the
chosen folder in the repository. In JSON, `folder` is a field of its own, and paths are relative to
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import assert_never

from gitvs.core.model.resource_json import json_text
from gitvs.core.problems import Problem, printable_line
from gitvs.report.text.findings import (
    Finding,
    FindingLevel,
    ForgeFormat,
    findings_text,
)
from gitvs.report.text.places import Places


class ProblemFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    GITLAB = "gitlab"
    SARIF = "sarif"


def report_problems(
    problems: Sequence[Problem],
    format: ProblemFormat,
    *,
    warnings: Sequence[Problem] = (),
    folder: str = "",
    gitvs_version: str = "",
) -> str:
    """Return problems in a format; text and github are empty if there are none.

    Every line ends with a newline. `gitvs_version` is gitvs's own, for SARIF.
    """
    match format:
        case ProblemFormat.TEXT:
            in_repository = Places(folder).problem
            lines = [
                *(str(in_repository(problem)) for problem in problems),
                *(warning_text(in_repository(warning)) for warning in warnings),
            ]
            return "".join(f"{text}\n" for text in lines)
        case ProblemFormat.JSON:
            return json_text(
                {
                    "folder": folder,
                    "problems": [p.as_json() for p in problems],
                    "warnings": [p.as_json() for p in warnings],
                }
            )
        case ProblemFormat.GITHUB | ProblemFormat.GITLAB | ProblemFormat.SARIF:
            findings = [finding_of(problem, folder) for problem in problems]
            findings += [finding_of(p, folder, FindingLevel.WARNING) for p in warnings]
            return findings_text(findings, ForgeFormat(format.value), gitvs_version)
        case _:
            assert_never(format)


def warning_text(warning: Problem) -> str:
    """Return a warning as one line, with the word `warning`."""
    return printable_line(f"{warning.place}: warning: {warning.message} [{warning.rule}]")


def finding_of(problem: Problem, folder: str, level: FindingLevel = FindingLevel.ERROR) -> Finding:
    """Return a problem as a forge shows it; `folder` is the chosen folder in the repository."""
    if not problem.line:
        return Finding(level, problem.rule, problem.message)
    return Finding(
        level,
        problem.rule,
        Places(folder).message(problem),
        Places(folder).path(problem.file),
        problem.line,
        problem.column,
        problem.pointer,
    )
