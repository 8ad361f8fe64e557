"""The sections of a comment: a title, and items below it that may be cut at any number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gitvs.core.planning.gates import Gate
from gitvs.core.planning.risks import Risk
from gitvs.core.problems import Problem
from gitvs.report.markdown.escaping import (
    code,
    code_names,
    linked,
    prose,
    table_header,
    table_row,
)
from gitvs.report.plan.preview_view import DirectorGroup, Preview
from gitvs.report.plan.preview_words import (
    GATE_COLUMNS,
    gates_description,
    gates_with_directors,
    greatest_risk_text,
    risks_with_directors,
)

_MAX_NAMES = 100


@dataclass(frozen=True, slots=True)
class Section:
    """A title with items below it, of which the last are left out first."""

    title: str
    items: tuple[str, ...]


def sections_of(preview: Preview, groups: Iterable[DirectorGroup]) -> dict[str, Section]:
    """Return the sections in the order in which people read them."""
    remarks = tuple(f"- Note: {prose(text)}\n" for text in preview.remarks)
    return {
        "remarks": Section("", remarks),
        "problems": Section("### Problems\n\n", tuple(_problem_items(preview, preview.problems))),
        "warnings": Section("### Warnings\n\n", tuple(_problem_items(preview, preview.warnings))),
        "blocked": _gate_section(preview, is_allowed=False),
        "allowed": _gate_section(preview, is_allowed=True),
        "directors": _director_section(groups),
        "risks": _risk_section(preview),
    }


def _problem_items(preview: Preview, problems: Iterable[Problem]) -> Iterator[str]:
    for problem in problems:
        place = linked(
            code(preview.places.problem(problem).place), preview.places.problem_url(problem)
        )
        yield f"- {place} {code(problem.rule)}: {prose(preview.places.message(problem))}\n"


def _gate_section(preview: Preview, *, is_allowed: bool) -> Section:
    description = prose(gates_description(preview, is_allowed=is_allowed))
    rows = [
        _gate_row(*gate_and_directors)
        for gate_and_directors in gates_with_directors(preview, is_allowed=is_allowed)
    ]
    title = "### Allowed" if is_allowed else "### Blocked"
    return Section(f"{title}\n\n{description}\n\n{table_header(*GATE_COLUMNS)}", tuple(rows))


def _gate_row(gate: Gate, directors: list[str], message: str) -> str:
    cells = (prose(text) for text in (gate.measured, gate.limit, message))
    return table_row((code(gate.name), code_names(directors), *cells))


def _director_section(groups: Iterable[DirectorGroup]) -> Section:
    columns = (
        *("Directors", "Create>", "Update>", "Delete>", "Drain>"),
        *("After drains>", "Greatest risk"),
    )
    rows = [
        table_row(
            (
                code_names(group.directors, _MAX_NAMES),
                *(str(number) for number in group.plan.summary.values()),
                str(len(group.plan.after_drains)),
                prose(greatest_risk_text(group.plan)),
            )
        )
        for group in groups
    ]
    return Section(f"### Directors\n\n{table_header(*columns)}", tuple(rows))


def _risk_section(preview: Preview) -> Section:
    items = (
        _risk_item(*risk_and_directors)
        for risk_and_directors in risks_with_directors(preview).items()
    )
    return Section("### Good to know\n\n", tuple(items))


def _risk_item(risk: Risk, directors: list[str]) -> str:
    directors_text = f" on {code_names(directors)}" if directors else ""
    return f"- {code(risk.name)}{directors_text}: {prose(risk.message)}\n"
