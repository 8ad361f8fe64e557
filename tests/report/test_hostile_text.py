"""Whatever names and messages hold, no format lets it out as a command."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitvs.cli.shared.report_outputs import ReportFormat, render_report
from gitvs.core.problems import Problem
from gitvs.report.text.problems import ProblemFormat, report_problems
from tests.support.effort import examples
from tests.support.html_preview import dressed

PIECES = (
    *("\x1b[2J", "\x9b31m", "\x07", "\x00", "\x7f", "\u202e", "\u2066", "\u200b", "\ufeff"),
    *("\n", "\r\n", "\r", "\u2028", "\x85", "%0A", "%0D", "%25", "::error::x", "::", " ", "\t"),
    *("##[error]", "##[", "##", "`", "|", "<b>", "@team", "a.yaml", "section_start:1:x\r\x1b[0K"),
)
HOSTILE = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), min_size=1, max_size=5)
FORGE_JSON = (ReportFormat.GITLAB, ReportFormat.SARIF)


def expect_no_command(text: str, form: str) -> None:
    """Nothing but what gitvs writes itself is obeyed by a terminal or the log of a CI job."""
    assert all(c.isprintable() or c == "\n" for c in text)
    if form not in (ReportFormat.JSON, *FORGE_JSON):  # whose readers are programs
        assert "##[" not in text
    begins = [line.lstrip() for line in text.split("\n")]
    commands = [line for line in begins if line.startswith("::")]
    if form == ReportFormat.GITHUB:
        levels = ("::error ", "::warning ", "::notice ")
        assert all(line.startswith(levels) for line in begins if line)
        assert all(line.split("::")[2].isprintable() for line in commands)
    else:
        assert commands == []
    if form in FORGE_JSON:
        assert all(t.isprintable() for t in texts_in(json.loads(text)))


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    return [t for v in value for t in texts_in(v)] if isinstance(value, list) else [str(value)]


@pytest.mark.parametrize("form", list(ProblemFormat))
@given(HOSTILE.map("".join))
@example("::error::x")
@example(" ::error::x")
@example("x\n::error::x")
@example("##[error]x")
@example(":")
@settings(max_examples=examples(100))
def test_no_name_is_a_command_among_problems(form: ProblemFormat, text: str) -> None:
    problems = [Problem(text, line, 1, text, "rule", f"it is in {text}") for line in (0, 1)]
    harmless = [Problem("x", line, 1, "x", "rule", "it is in x") for line in (0, 1)]
    reported = report_problems(problems, form, warnings=problems, folder=text)
    expect_no_command(reported, form)
    expected = report_problems(harmless, form, warnings=harmless, folder="x")
    assert reported.count("\n") == expected.count("\n")


@pytest.mark.parametrize("form", list(ReportFormat))
@given(HOSTILE.map("".join))
@example("::error::x")
@example("x\n::error::x")
@example("##[error]x")
@settings(max_examples=examples(15))
def test_no_name_is_a_command_in_a_preview(form: ReportFormat, text: str) -> None:
    expect_no_command(render_report(dressed(text), form), form)
