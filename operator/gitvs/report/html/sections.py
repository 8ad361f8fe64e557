"""The sections of a page about all directors: verdict, problems, gates, directors, risks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from gitvs.core.planning.gates import Gate
from gitvs.core.planning.risks import Risk
from gitvs.core.problems import Problem
from gitvs.report.html.elements import (
    EMPTY_HTML,
    Html,
    code_names,
    element,
    joined,
    linked,
    prose,
    row,
    table,
)
from gitvs.report.plan.plan_view import DirectorPlan, PlanOutcome, PlanSide, Presence
from gitvs.report.plan.preview_view import DirectorGroup, Preview
from gitvs.report.plan.preview_words import (
    GATE_COLUMNS,
    LEFT_MANIFESTS_NOTE,
    counts_text,
    gates_description,
    gates_with_directors,
    greatest_risk_text,
    risks_with_directors,
    verdict_text,
)


def overview(preview: Preview) -> Html:
    """Return the top of the page: the verdict, base and head, and the number of directors."""
    verdict = verdict_text(preview)
    folder = element("code", preview.folder)
    notes = [element("p", "Note: ", prose(text), class_="note") for text in preview.remarks]
    return element(
        "header",
        element("h1", verdict[0].upper() + verdict[1:]),
        element(
            "p",
            *("From ", _side(preview, preview.base), " to ", _side(preview, preview.head)),
            *((", manifests in ", folder) if preview.folder else ()),
        ),
        element("p", counts_text(preview)),
        *_presence_notes(preview),
        *notes,
        class_=f"verdict {preview.verdict}",
    )


def _side(preview: Preview, side: PlanSide) -> Html:
    return linked(element("b", str(side)), preview.places.commit_url(side.commit))


def _presence_notes(preview: Preview) -> Iterable[Html]:
    if appearing := preview.directors_with(Presence.APPEARS):
        yield element("p", "New: ", code_names(appearing), class_="names")
    if disappearing := preview.directors_with(Presence.DISAPPEARS):
        words = ("Left the manifests: ", code_names(disappearing), "; ", prose(LEFT_MANIFESTS_NOTE))
        yield element("p", *words, class_="note names")


def sections(preview: Preview, groups: Sequence[DirectorGroup]) -> Iterable[Html]:
    """Yield the sections in the order in which people read them."""
    yield _section(
        "Problems", "", ("Where", "Rule", "Problem"), _problem_rows(preview, preview.problems)
    )
    yield _section(
        "Warnings", "", ("Where", "Rule", "Warning"), _problem_rows(preview, preview.warnings)
    )
    yield _gate_section(preview, "Blocked", is_allowed=False)
    yield _gate_section(preview, "Allowed", is_allowed=True)
    columns = (
        *("Directors", "Outcome", "Create>", "Update>", "Delete>", "Drain>"),
        *("After drains>", "Greatest risk"),
    )
    yield _section("Directors", "", columns, map(_group_row, count(1), groups))
    risks = (
        _risk_row(*risk_and_directors)
        for risk_and_directors in risks_with_directors(preview).items()
    )
    yield _section("Good to know", "", ("Risk", "Directors", "What it means"), risks)


def _section(title: str, description: str, columns: Iterable[str], rows: Iterable[Html]) -> Html:
    """Return a section; nothing if it has no rows."""
    row_list = list(rows)
    if not row_list:
        return EMPTY_HTML
    introduction = element("p", prose(description)) if description else EMPTY_HTML
    content = table(columns, element("tbody", *row_list))
    css_class = title.split()[0].lower()
    return element(
        "section", element("h2", title), introduction, content, class_=f"scope {css_class}"
    )


def _problem_rows(preview: Preview, problems: Iterable[Problem]) -> Iterable[Html]:
    return (_problem_row(preview, problem) for problem in problems)


def _problem_row(preview: Preview, problem: Problem) -> Html:
    place = element("code", preview.places.problem(problem).place)
    position = linked(place, preview.places.problem_url(problem))
    message_cell = element("td", prose(preview.places.message(problem)), class_="told")
    return row(element("td", position), element("td", element("code", problem.rule)), message_cell)


def _gate_section(preview: Preview, title: str, *, is_allowed: bool) -> Html:
    rows = (_gate_row(*cells) for cells in gates_with_directors(preview, is_allowed=is_allowed))
    return _section(title, gates_description(preview, is_allowed=is_allowed), GATE_COLUMNS, rows)


def _gate_row(gate: Gate, directors: list[str], message: str) -> Html:
    return row(
        element("td", element("code", gate.name)),
        _names_cell(directors),
        element("td", gate.measured),
        element("td", element("i", "limit ", class_="narrow"), gate.limit),
        element("td", prose(message), class_="told"),
    )


def _names_cell(directors: Sequence[str]) -> Html:
    count_prefix = f"{len(directors)}: " if len(directors) > 5 else ""
    shown_names = code_names(directors) if directors else "several"
    return element("td", element("div", count_prefix, shown_names, class_="names"))


def _group_row(group_number: int, group: DirectorGroup) -> Html:
    plan = group.plan
    link = element("a", code_names(group.directors), href=f"#group-{group_number}")
    risk = greatest_risk_text(plan)
    return row(
        element("td", element("div", link, class_="names")),
        element("td", outcome_badges(plan)),
        *(
            element(
                "td",
                str(change_count),
                class_=f"number {action}" if change_count else "number none",
                data_label=label,
            )
            for label, action, change_count in (
                *((str(action), action, number) for action, number in plan.summary.items()),
                ("after drains", "delete", len(plan.after_drains)),
            )
        ),
        element("td", prose(risk), class_="told"),
    )


def outcome_badges(plan: DirectorPlan) -> Html:
    """Return a director's outcome and presence as badges of one word."""
    presence_word = {Presence.APPEARS: "new", Presence.DISAPPEARS: "leaves"}.get(plan.presence)
    badge_words = (
        [plan.outcome.value] if plan.outcome is not PlanOutcome.NONE or not presence_word else []
    )
    badge_words += [presence_word] if presence_word else []
    return joined(element("span", text, class_=f"badge {text}") for text in badge_words)


def _risk_row(risk: Risk, directors: list[str]) -> Html:
    message_cell = element("td", prose(risk.message), class_="told")
    return row(element("td", element("code", risk.name)), _names_cell(directors), message_cell)
