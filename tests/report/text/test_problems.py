"""Problems in every format: complete, escaped, and shaped as the forges want them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitvs.core.problems import Problem
from gitvs.report.text.counts import count_text
from gitvs.report.text.problems import ProblemFormat, report_problems

FIRST = Problem("web.yaml", 3, 5, "/spec/ports/0/port", "wrong-type", "a number is wanted")
NASTY = Problem(
    "team a/50%,b:c.yaml",
    1,
    1,
    "",
    "unknown-field",
    'no field "x,y:z" at 100%\r\n::error::<script> @team | `x` → é',
)

SARIF_SHAPE: dict[str, Any] = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "items": {"$ref": "#/$defs/run"}},
    },
    "$defs": {
        "run": {
            "required": ["tool", "results"],
            "properties": {
                "tool": {
                    "required": ["driver"],
                    "properties": {
                        "driver": {
                            "required": ["name", "rules"],
                            "properties": {
                                "name": {"type": "string"},
                                "version": {"type": "string"},
                                "rules": {
                                    "type": "array",
                                    "uniqueItems": True,
                                    "items": {"required": ["id"]},
                                },
                            },
                        }
                    },
                },
                "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
            },
            "additionalProperties": False,
        },
        "result": {
            "required": ["message"],
            "properties": {
                "ruleId": {"type": "string"},
                "ruleIndex": {"type": "integer", "minimum": 0},
                "level": {"enum": ["none", "note", "warning", "error"]},
                "message": {"required": ["text"], "properties": {"text": {"type": "string"}}},
                "locations": {"type": "array", "items": {"$ref": "#/$defs/location"}},
                "partialFingerprints": {"additionalProperties": {"type": "string"}},
            },
            "additionalProperties": False,
        },
        "location": {
            "required": ["physicalLocation"],
            "properties": {
                "physicalLocation": {
                    "required": ["artifactLocation", "region"],
                    "properties": {
                        "artifactLocation": {
                            "properties": {"uri": {"pattern": r"^[A-Za-z0-9/._~%-]+$"}}
                        },
                        "region": {
                            "properties": {
                                "startLine": {"type": "integer", "minimum": 1},
                                "startColumn": {"type": "integer", "minimum": 1},
                            },
                            "additionalProperties": False,
                        },
                    },
                },
                "logicalLocations": {"type": "array"},
            },
            "additionalProperties": False,
        },
    },
}
"""What of the SARIF 2.1.0 schema our documents touch."""


def report(form: str, *problems: Problem, prefix: str = "") -> str:
    return report_problems(problems, ProblemFormat(form), folder=prefix, gitvs_version="1.2.3")


def test_text_is_one_line_for_each_problem() -> None:
    assert report("text", FIRST, FIRST) == ("web.yaml:3:5: a number is wanted [wrong-type]\n" * 2)


def test_json_has_every_field() -> None:
    assert json.loads(report("json", FIRST)) == {
        "folder": "",
        "problems": [
            {
                "file": "web.yaml",
                "line": 3,
                "column": 5,
                "pointer": "/spec/ports/0/port",
                "rule": "wrong-type",
                "message": "a number is wanted",
            }
        ],
        "warnings": [],
    }


def test_github_gets_workflow_commands() -> None:
    assert report("github", FIRST, prefix="manifests") == (
        "::error file=manifests/web.yaml,line=3,col=5,title=gitvs%3A wrong-type"
        "::a number is wanted\n"
    )


def test_github_commands_cannot_be_smuggled_in() -> None:
    (line,) = report("github", NASTY).splitlines()
    assert line.startswith("::error file=team a/50%25%2Cb%3Ac.yaml,line=1,")
    assert line.endswith('::no field "x,y:z" at 100%25%0D%0A::error::<script> @team | `x` → é')


def test_gitlab_gets_code_quality_issues() -> None:
    (issue,) = json.loads(report("gitlab", FIRST, prefix="manifests/"))
    assert len(issue.pop("fingerprint")) == 64
    assert issue == {
        "description": "a number is wanted",
        "check_name": "wrong-type",
        "severity": "blocker",
        "location": {"path": "manifests/web.yaml", "lines": {"begin": 3}},
    }


def test_a_fingerprint_survives_a_move_and_tells_problems_apart() -> None:
    moved = Problem("web.yaml", 30, 5, FIRST.pointer, FIRST.rule, FIRST.message)
    issues = json.loads(report("gitlab", FIRST, moved, NASTY))
    first, second, third = (issue["fingerprint"] for issue in issues)
    assert first == second != third


def test_sarif_has_the_shape_of_2_1_0() -> None:
    log = json.loads(report("sarif", FIRST, NASTY, FIRST))
    errors = [e.message for e in Draft202012Validator(SARIF_SHAPE).iter_errors(log)]
    assert errors == []
    (run,) = log["runs"]
    assert run["tool"]["driver"] == {
        "name": "gitvs",
        "version": "1.2.3",
        "rules": [{"id": "unknown-field"}, {"id": "wrong-type"}],
    }
    assert [r["ruleIndex"] for r in run["results"]] == [1, 0, 1]
    location = run["results"][1]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"] == {"uri": "team%20a/50%25%2Cb%3Ac.yaml"}


@pytest.mark.parametrize("form", list(ProblemFormat))
def test_no_problems_are_a_report_too(form: ProblemFormat) -> None:
    text = report(form)
    match form:
        case ProblemFormat.TEXT | ProblemFormat.GITHUB:
            assert text == ""
        case ProblemFormat.JSON:
            assert json.loads(text) == {"folder": "", "problems": [], "warnings": []}
        case ProblemFormat.GITLAB:
            assert json.loads(text) == []
        case ProblemFormat.SARIF:
            assert json.loads(text)["runs"][0]["results"] == []


@pytest.mark.parametrize("form", list(ProblemFormat))
def test_every_problem_is_reported_in_every_format(form: ProblemFormat) -> None:
    problems = [Problem(f"{n}.yaml", n, 1, "", "rule", f"message-{n}-") for n in range(1, 51)]
    text = report(form, *problems)
    assert all(f"message-{n}-" in text for n in range(1, 51))


def test_counts_are_said_as_people_do() -> None:
    assert [count_text(n, "problem") for n in (0, 1, 2)] == [
        "0 problems",
        "1 problem",
        "2 problems",
    ]


HOSTILE = Problem(
    "\x1b[2Jteam\u202e.yaml", 1, 1, "", "unknown-field", "\x9b31m no field \u2066\x7f\nof this kind"
)


@pytest.mark.parametrize("format", list(ProblemFormat))
def test_no_format_carries_what_a_terminal_or_a_page_obeys(format: ProblemFormat) -> None:
    text = report_problems([HOSTILE], format, folder="lb")
    assert all(c.isprintable() or c == "\n" for c in text)
    for value in texts_in(json.loads(text)) if text.startswith(("[", "{")) else ():
        if format is not ProblemFormat.JSON:  # whose reader is a program: it gets the very text
            assert all(c.isprintable() or c == "\n" for c in value)


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    return [t for v in value for t in texts_in(v)] if isinstance(value, list) else [str(value)]
