"""What a page says of all directors: the verdict, problems, gates, a table of them, risks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from gitvs.core.planning.gates import Gate
from gitvs.core.planning.risks import Risk
from gitvs.core.problems import Problem
from gitvs.report.html.elements import NOTHING, Html, element, joined, names, prose, row, table
from gitvs.report.plan.plan_view import DirectorPlan, PlanOutcome, Presence
from gitvs.report.plan.preview_view import Group, Preview
from gitvs.report.plan.preview_words import (
    GATE_COLUMNS,
    LEAVES,
    counts_text,
    gates_about,
    gates_told,
    greatest_risk,
    risks_told,
    verdict_text,
)


def opening(preview: Preview) -> Html:
    """Return what stands on top: the verdict, of what, and how many directors it is about."""
    words = verdict_text(preview)
    folder = element("code", preview.folder)
    notes = [element("p", "Note: ", prose(text), class_="note") for text in preview.remarks]
    return element(
        "header",
        element("h1", words[0].upper() + words[1:]),
        element(
            "p",
            *("From ", element("b", str(preview.base)), " to ", element("b", str(preview.head))),
            *((", manifests in ", folder) if preview.folder else ()),
        ),
        element("p", counts_text(preview)),
        *_come_and_go(preview),
        *notes,
        class_=f"verdict {preview.verdict}",
    )


def _come_and_go(preview: Preview) -> Iterable[Html]:
    if appear := preview.named(Presence.APPEARS):
        yield element("p", "New: ", names(appear), class_="names")
    if leave := preview.named(Presence.DISAPPEARS):
        words = ("Left the manifests: ", names(leave), "; ", prose(LEAVES))
        yield element("p", *words, class_="note names")


def sections(preview: Preview, groups: Sequence[Group]) -> Iterable[Html]:
    """Yield the sections in the order in which people read them."""
    yield _section("Problems", "", ("Where", "Rule", "Problem"), map(_problem, preview.problems))
    yield _gates(preview, "Blocked", is_allowed=False)
    yield _gates(preview, "Allowed", is_allowed=True)
    columns = ("Directors", "Outcome", "Create>", "Update>", "Delete>", "Drain>", "Greatest risk")
    yield _section("Directors", "", columns, map(_director, count(1), groups))
    risks = (_risk(*told) for told in risks_told(preview).items())
    yield _section("Good to know", "", ("Risk", "Directors", "What it means"), risks)


def _section(title: str, about: str, columns: Iterable[str], rows: Iterable[Html]) -> Html:
    """Return a section; nothing if it has no rows."""
    shown = list(rows)
    if not shown:
        return NOTHING
    lead = element("p", prose(about)) if about else NOTHING
    content = table(columns, element("tbody", *shown))
    sort = title.split()[0].lower()
    return element("section", element("h2", title), lead, content, class_=f"scope {sort}")


def _problem(problem: Problem) -> Html:
    where = element("code", f"{problem.file}:{problem.line}:{problem.column}")
    told = element("td", prose(problem.message), class_="told")
    return row(element("td", where), element("td", element("code", problem.rule)), told)


def _gates(preview: Preview, title: str, *, is_allowed: bool) -> Html:
    rows = (_gate(*told) for told in gates_told(preview, is_allowed=is_allowed))
    return _section(title, gates_about(preview, is_allowed=is_allowed), GATE_COLUMNS, rows)


def _gate(gate: Gate, directors: list[str], message: str) -> Html:
    return row(
        element("td", element("code", gate.name)),
        _names_cell(directors),
        element("td", gate.measured),
        element("td", element("i", "limit ", class_="narrow"), gate.limit),
        element("td", prose(message), class_="told"),
    )


def _names_cell(directors: Sequence[str]) -> Html:
    number = f"{len(directors)}: " if len(directors) > 5 else ""
    shown = names(directors) if directors else "several"
    return element("td", element("div", number, shown, class_="names"))


def _director(number: int, group: Group) -> Html:
    plan = group.plan
    link = element("a", names(group.directors), href=f"#group-{number}")
    risk = greatest_risk(plan)
    return row(
        element("td", element("div", link, class_="names")),
        element("td", outcome(plan)),
        *(
            element("td", str(changes), class_=f"number {action}" if changes else "number none")
            for action, changes in plan.summary.items()
        ),
        element("td", prose(risk), class_="told"),
    )


def outcome(plan: DirectorPlan) -> Html:
    """Return in a word what becomes of a director."""
    word = {Presence.APPEARS: "new", Presence.DISAPPEARS: "leaves"}.get(plan.presence)
    badges = [plan.outcome.value] if plan.outcome is not PlanOutcome.NONE or not word else []
    badges += [word] if word else []
    return joined(element("span", text, class_=f"badge {text}") for text in badges)


def _risk(risk: Risk, directors: list[str]) -> Html:
    told = element("td", prose(risk.message), class_="told")
    return row(element("td", element("code", risk.name)), _names_cell(directors), told)
