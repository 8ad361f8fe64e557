"""What a page shows, folded, of directors to which the same happens.

Changes in the order of execution, then each virtual service that changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from gitvs.core.planning.plan import Change
from gitvs.report.html.elements import (
    NOTHING,
    Html,
    element,
    labelled,
    listed,
    names,
    prose,
    row,
    table,
)
from gitvs.report.html.sections import outcome
from gitvs.report.html.services import service
from gitvs.report.plan.plan_view import DirectorPlan, Presence, summary_text
from gitvs.report.plan.preview_view import Group
from gitvs.report.plan.preview_words import LEAVES
from gitvs.report.plan.service_view import changed_services
from gitvs.report.text.change_words import BY_HAND, FOREIGN, REPAIRS, SIGNS, told_fields, told_notes
from gitvs.report.text.operations import operation_text

_COLUMNS = ("", "Change", "Object", "Value, or old → new")


def details(number: int, group: Group, *, is_open: bool) -> Html:
    """Return all there is to tell of a group; `#group-NUMBER` is its place in the page."""
    content = element("div", *_content(group), id=f"group-{number}")
    return element("details", _title(group), content, class_="group scope", open="open" * is_open)


def _title(group: Group) -> Html:
    changes = {action: number for action, number in group.plan.summary.items() if number}
    count = element("b", f"{len(group.directors)} directors: ") if len(group.directors) > 1 else ""
    return element(
        "summary",
        element("span", count, names(group.directors), class_="names"),
        outcome(group.plan),
        element("span", summary_text(changes) or "no change", class_="counts"),
        class_="title",
    )


def _content(group: Group) -> Iterator[Html]:
    plan = group.plan
    if len(group.directors) == 1:
        digest = element("code", plan.desired_digest)
        yield element("p", "Digest of the desired state: ", digest, class_="dim")
    if plan.presence is Presence.DISAPPEARS:
        yield element("p", "Left the manifests; ", prose(LEAVES), class_="note")
    yield _listed(BY_HAND, map(operation_text, plan.operations.all))
    yield _changes(plan)
    yield _repairs(plan)
    yield from map(service, changed_services(plan))
    yield _listed(FOREIGN, plan.foreign)


def _listed(title: str, lines: Iterable[str]) -> Html:
    items = [row(element("td", element("code", text))) for text in lines]
    if not items:
        return NOTHING
    return _folded(title, len(items), table((), element("tbody", *items)))


def _folded(title: str, count: int, content: Html) -> Html:
    shown = element("summary", element("b", title), element("span", str(count), class_="counts"))
    return element("details", shown, content, class_="scope", open="open")


def _changes(plan: DirectorPlan) -> Html:
    phases = groupby(plan.plan.changes, key=lambda change: str(change.phase))
    bodies = [_phase(plan, phase, changes) for phase, changes in phases]
    if not bodies:
        return NOTHING
    count = len(plan.plan.changes)
    return _folded("Changes, in the order of execution", count, table(_COLUMNS, *bodies))


def _repairs(plan: DirectorPlan) -> Html:
    if not plan.repairs:
        return NOTHING
    body = element("tbody", *(_change(plan, change) for change in plan.repairs))
    return _folded(REPAIRS, len(plan.repairs), table(_COLUMNS, body))


def _phase(plan: DirectorPlan, phase: str, changes: Iterable[Change]) -> Html:
    heading = element("th", phase, scope="rowgroup", colspan="4", class_="title")
    rows = (_change(plan, change) for change in changes)
    return element("tbody", element("tr", heading, class_="phase"), *rows, class_="scope")


def _change(plan: DirectorPlan, change: Change) -> Html:
    sign, _ = SIGNS[change.action]
    text = listed((*labelled(told_fields(change)), *told_notes(change, plan.drift)))
    return row(
        element("td", element("span", sign, aria_hidden="true"), class_="sign"),
        element("td", str(change.action), class_="action"),
        element("td", element("code", change.key)),
        element("td", text, class_="told"),
        class_=str(change.action),
    )
