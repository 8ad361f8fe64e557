"""The sections of a comment: a title, and items below it of which any number may be shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from gitvs.core.gates import Gate
from gitvs.core.problems import Problem
from gitvs.core.risks import Risk
from gitvs.report.markdown_text import code, header, names, prose, row
from gitvs.report.plan_view import DirectorPlan, Presence
from gitvs.report.preview_view import Group, Preview

_T = TypeVar("_T")
_MOST_NAMES = 100
_BLOCKED = "### Blocked\n\nNothing is changed on these directors until every gate is allowed."
_ALLOWED = "### Allowed\n\nOver a limit, and let through by `Gitvs-Allow` or `--allow`."


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


def _with_directors(told: Iterable[tuple[str, Iterable[_T]]]) -> dict[_T, list[str]]:
    """Return what is told of directors, each once, with all of whom it is told."""
    found: dict[_T, list[str]] = {}
    for director, items in told:
        for item in items:
            found.setdefault(item, []).append(director)
    return found


def _gate_section(preview: Preview, *, is_allowed: bool) -> Section:
    gates = _with_directors((plan.director, plan.gates) for plan in preview.plans)
    columns = ("Gate", "Directors", "Measured", "Limit", "What it means, and how to allow it")
    rows = [_gate_row(gate, of) for gate, of in gates.items() if gate.allowed is is_allowed]
    title = _ALLOWED if is_allowed else _BLOCKED
    return Section(f"{title}{_policy(preview)}\n\n{header(*columns)}", tuple(rows))


def _gate_row(gate: Gate, directors: list[str]) -> str:
    told = (prose(text) for text in (gate.measured, gate.limit, gate.message))
    return row((code(gate.name), names(directors), *told))


def _policy(preview: Preview) -> str:
    """Return where the limits are set."""
    sources = {plan.policy_source for plan in preview.plans if plan.gates}
    where = sorted(f"{source.file}:{source.line}" for source in sources if source is not None)
    return f" The Policy is in {names(where)}." if where else ""


def _director_section(groups: Iterable[Group]) -> Section:
    columns = ("Directors", "Create>", "Update>", "Delete>", "Drain>", "Greatest risk")
    rows = [
        row(
            (
                names(group.directors, _MOST_NAMES),
                *(str(number) for number in group.plan.summary.values()),
                _greatest_risk(group.plan),
            )
        )
        for group in groups
    ]
    return Section(f"### Directors\n\n{header(*columns)}", tuple(rows))


def _greatest_risk(plan: DirectorPlan) -> str:
    """Return what stands most against a plan: a gate, that its director leaves, a risk."""
    for is_allowed, word in ((False, "blocked"), (True, "allowed")):
        gates = list(dict.fromkeys(g.name for g in plan.gates if g.allowed is is_allowed))
        if gates:
            return f"{word}: {names(gates)}"
    if plan.presence is Presence.DISAPPEARS:
        return "no longer in the manifests"
    risks = names(list(dict.fromkeys(risk.name for risk in plan.risks)), 1)
    return risks or ("drift that the next sync repairs" if plan.repairs else "")


def _risk_section(preview: Preview) -> Section:
    of_plans = _with_directors((plan.director, plan.risks) for plan in preview.plans)
    told: dict[Risk, list[str]] = {**{risk: [] for risk in preview.risks}, **of_plans}
    return Section("### Good to know\n\n", tuple(_risk_item(*pair) for pair in told.items()))


def _risk_item(risk: Risk, directors: list[str]) -> str:
    where = f" on {names(directors)}" if directors else ""
    return f"- {code(risk.name)}{where}: {prose(risk.message)}\n"
