"""The folded details of a page, for each group of directors with the same changes.

Changes in the order of execution, then each virtual service that changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from gitvs.core.planning.plan import Change
from gitvs.report.html.elements import (
    EMPTY_HTML,
    Html,
    code_names,
    comma_separated,
    element,
    labelled_fields,
    prose,
    row,
    table,
)
from gitvs.report.html.sections import outcome_badges
from gitvs.report.html.services import service_details
from gitvs.report.plan.health_view import (
    HEALTH_TITLE,
    health_counts_text,
    health_lines,
)
from gitvs.report.plan.plan_view import DirectorPlan, Presence, summary_text
from gitvs.report.plan.preview_view import DirectorGroup
from gitvs.report.plan.preview_words import LEFT_MANIFESTS_NOTE
from gitvs.report.plan.removals import AFTER_DRAINS_TITLE, removals_text
from gitvs.report.plan.service_view import ServiceView
from gitvs.report.text.changes import (
    BY_HAND_TITLE,
    FOREIGN_TITLE,
    REPAIRS_TITLE,
    SIGNS_AND_COLOURS,
    UNREPAIRABLE_TITLE,
    fields_of_change,
    notes_of_change,
)
from gitvs.report.text.operations import operation_text

_CHANGE_COLUMNS = ("", "Change", "Object", "Value, or old → new")


def group_details(
    group_number: int, group: DirectorGroup, services: Iterable[ServiceView], *, is_open: bool
) -> Html:
    """Return the details of a group with its changed services.

    The page links to them as `#group-NUMBER`.
    """
    content = element("div", *_group_content(group, services), id=f"group-{group_number}")
    return element(
        "details", _group_title(group), content, class_="group scope", open="open" * is_open
    )


def _group_title(group: DirectorGroup) -> Html:
    nonzero_counts = {action: number for action, number in group.plan.summary.items() if number}
    counts = (
        summary_text(nonzero_counts),
        removals_text([group.plan]),
        health_counts_text([group.plan.health]),
    )
    director_count = (
        element("b", f"{len(group.directors)} directors: ") if len(group.directors) > 1 else ""
    )
    return element(
        "summary",
        element("span", director_count, code_names(group.directors), class_="names"),
        outcome_badges(group.plan),
        element("span", "; ".join(filter(None, counts)) or "no change", class_="counts"),
        class_="title",
    )


def _group_content(group: DirectorGroup, services: Iterable[ServiceView]) -> Iterator[Html]:
    plan = group.plan
    if len(group.directors) == 1:
        digest = element("code", plan.desired_digest)
        yield element("p", "Digest of the desired state: ", digest, class_="dim")
    if plan.presence is Presence.DISAPPEARS:
        yield element("p", "Left the manifests; ", prose(LEFT_MANIFESTS_NOTE), class_="note")
    yield _text_section(BY_HAND_TITLE, map(operation_text, plan.operations.all))
    yield _changes_section(plan)
    yield _text_section(HEALTH_TITLE, health_lines(plan.health))
    yield _more_changes_section(plan, AFTER_DRAINS_TITLE, plan.after_drains)
    yield _more_changes_section(plan, REPAIRS_TITLE, plan.repairs)
    yield _text_section(UNREPAIRABLE_TITLE, plan.unrepairable.values())
    yield from map(service_details, services)
    yield _text_section(FOREIGN_TITLE, plan.foreign_names)


def _text_section(title: str, lines: Iterable[str]) -> Html:
    rows = [row(element("td", element("code", text))) for text in lines]
    if not rows:
        return EMPTY_HTML
    return _collapsible(title, len(rows), table((), element("tbody", *rows)))


def _collapsible(title: str, count: int, content: Html) -> Html:
    title_element = element(
        "summary", element("b", title), element("span", str(count), class_="counts")
    )
    return element("details", title_element, content, class_="scope", open="open")


def _changes_section(plan: DirectorPlan) -> Html:
    phases = groupby(plan.plan.changes, key=lambda change: str(change.phase))
    bodies = [_phase_body(plan, phase, changes) for phase, changes in phases]
    if not bodies:
        return EMPTY_HTML
    count = len(plan.plan.changes)
    return _collapsible(
        "Changes, in the order of execution", count, table(_CHANGE_COLUMNS, *bodies)
    )


def _more_changes_section(plan: DirectorPlan, title: str, changes: Sequence[Change]) -> Html:
    """Return changes that are not part of the plan itself."""
    if not changes:
        return EMPTY_HTML
    body = element("tbody", *(_change_row(plan, change) for change in changes))
    return _collapsible(title, len(changes), table(_CHANGE_COLUMNS, body))


def _phase_body(plan: DirectorPlan, phase: str, changes: Iterable[Change]) -> Html:
    heading = element("th", phase, scope="rowgroup", colspan="4", class_="title")
    rows = (_change_row(plan, change) for change in changes)
    return element("tbody", element("tr", heading, class_="phase"), *rows, class_="scope")


def _change_row(plan: DirectorPlan, change: Change) -> Html:
    sign, _ = SIGNS_AND_COLOURS[change.action]
    description = comma_separated(
        (*labelled_fields(fields_of_change(change)), *notes_of_change(change, plan.drift))
    )
    return row(
        element("td", element("span", sign, aria_hidden="true"), class_="sign"),
        element("td", str(change.action), class_="action"),
        element("td", element("code", change.key)),
        element("td", description, class_="told"),
        class_=str(change.action),
    )
