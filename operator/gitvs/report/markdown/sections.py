"""The sections of a comment: a title, and items below it of which any number may be shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gitvs.core.planning.gates import Gate
from gitvs.core.planning.risks import Risk
from gitvs.core.problems import Problem
from gitvs.report.markdown.escaping import code, header, names, prose, row
from gitvs.report.plan.preview_view import Group, Preview
from gitvs.report.plan.preview_words import (
    GATE_COLUMNS,
    gates_about,
    gates_told,
    greatest_risk,
    risks_told,
)

_MOST_NAMES = 100


@dataclass(frozen=True, slots=True)
class Section:
    """A title with items below it, of which the last are left out first."""

    title: str
    items: tuple[str, ...]


def sections_of(preview: Preview, groups: Iterable[Group]) -> dict[str, Section]:
    """Return the sections in the order in which people read them."""
    remarks = tuple(f"- Note: {prose(text)}\n" for text in preview.remarks)
    return {
        "remarks": Section("", remarks),
        "problems": Section("### Problems\n\n", tuple(map(_problem_item, preview.problems))),
        "blocked": _gate_section(preview, is_allowed=False),
        "allowed": _gate_section(preview, is_allowed=True),
        "directors": _director_section(groups),
        "risks": _risk_section(preview),
    }


def _problem_item(problem: Problem) -> str:
    where = code(f"{problem.file}:{problem.line}:{problem.column}")
    return f"- {where} {code(problem.rule)}: {prose(problem.message)}\n"


def _gate_section(preview: Preview, *, is_allowed: bool) -> Section:
    about = prose(gates_about(preview, is_allowed=is_allowed))
    rows = [_gate_row(*told) for told in gates_told(preview, is_allowed=is_allowed)]
    title = "### Allowed" if is_allowed else "### Blocked"
    return Section(f"{title}\n\n{about}\n\n{header(*GATE_COLUMNS)}", tuple(rows))


def _gate_row(gate: Gate, directors: list[str], message: str) -> str:
    told = (prose(text) for text in (gate.measured, gate.limit, message))
    return row((code(gate.name), names(directors), *told))


def _director_section(groups: Iterable[Group]) -> Section:
    columns = ("Directors", "Create>", "Update>", "Delete>", "Drain>", "Greatest risk")
    rows = [
        row(
            (
                names(group.directors, _MOST_NAMES),
                *(str(number) for number in group.plan.summary.values()),
                prose(greatest_risk(group.plan)),
            )
        )
        for group in groups
    ]
    return Section(f"### Directors\n\n{header(*columns)}", tuple(rows))


def _risk_section(preview: Preview) -> Section:
    items = (_risk_item(*told) for told in risks_told(preview).items())
    return Section("### Good to know\n\n", tuple(items))


def _risk_item(risk: Risk, directors: list[str]) -> str:
    where = f" on {names(directors)}" if directors else ""
    return f"- {code(risk.name)}{where}: {prose(risk.message)}\n"
