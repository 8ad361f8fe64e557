"""The collapsed details of a comment, for each group of directors with the same changes.

Changes in the order of execution, as a coloured diff, then each virtual service that changes,
with its real servers. Both can be cut after any item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from gitvs.core.planning.plan import Action, Change
from gitvs.report.markdown.escaping import (
    code,
    collapsible,
    diff_block,
    html_names,
    linked,
    prose,
    table_header,
    table_row,
)
from gitvs.report.plan.health_view import HEALTH_TITLE, health_lines
from gitvs.report.plan.plan_view import DirectorPlan
from gitvs.report.plan.preview_view import DirectorGroup
from gitvs.report.plan.removals import AFTER_DRAINS_TITLE, changes_text
from gitvs.report.plan.server_row import ServerRow
from gitvs.report.plan.service_view import ServiceView, changed_services
from gitvs.report.text.changes import REPAIRS_TITLE, UNREPAIRABLE_TITLE, change_text, location_text
from gitvs.report.text.counts import count_text
from gitvs.report.text.fields import fields_text

_DIFF_SIGNS = {Action.CREATE: "+", Action.DELETE: "-"}


@dataclass(frozen=True, slots=True)
class ServiceText:
    """A virtual service with all its real servers, and with those that change alone."""

    full_text: str
    short_text: str


@dataclass(frozen=True, slots=True)
class GroupDetails:
    """The details of a group. `changes` are lines of a diff, each with its heading."""

    title: str
    changes: tuple[tuple[str, str], ...]
    services: tuple[ServiceText, ...]


def details_of(group: DirectorGroup) -> GroupDetails:
    """Return the details of a group."""
    plan = group.plan
    return GroupDetails(
        f"{html_names(group.directors)}: {changes_text(plan)}",
        (
            *((str(c.phase), _change_line(plan, c)) for c in plan.plan.changes),
            *((HEALTH_TITLE, f"! {text}") for text in health_lines(plan.health)),
            *((AFTER_DRAINS_TITLE, _change_line(plan, c)) for c in plan.after_drains),
            *((REPAIRS_TITLE, _change_line(plan, c)) for c in plan.repairs),
            *((UNREPAIRABLE_TITLE, f"! {reason}") for reason in plan.unrepairable.values()),
        ),
        tuple(_service_text(view) for view in changed_services(plan)),
    )


def details_text(
    details: Iterable[GroupDetails], change_count: int, service_count: int, full_service_count: int
) -> str:
    """Return the first `change_count` changes and `service_count` services as one text.

    `full_service_count` is how many of the services also show their unchanged real servers.
    """
    parts = []
    for group_details in details:
        content = _diff_text(group_details.changes[:change_count])
        change_count -= min(change_count, len(group_details.changes))
        for service in group_details.services[:service_count]:
            is_full = service.full_text == service.short_text or full_service_count > 0
            content += "\n" + (service.full_text if is_full else service.short_text)
            full_service_count -= service.full_text != service.short_text
        service_count -= min(service_count, len(group_details.services))
        if content:
            parts.append(collapsible(group_details.title, content))
    return "\n".join(parts)


def _diff_text(changes: Iterable[tuple[str, str]]) -> str:
    lines: list[str] = []
    for heading, group in groupby(changes, key=lambda pair: pair[0]):
        lines += [f"@@ {heading} @@", *(line for _, line in group)]
    return f"#### In the order of execution\n\n{diff_block(lines)}" if lines else ""


def _change_line(plan: DirectorPlan, change: Change) -> str:
    """Return a change with the sign that colours it: `!` if neither created nor deleted."""
    sign = _DIFF_SIGNS.get(change.action, "!")
    text = change_text(change, plan.drift)
    return f"{sign} {change.action} {change.key}" + (f"  {text}" if text else "")


def _service_text(view: ServiceView) -> ServiceText:
    drain_note = _shared_drain_note(view)
    heading = f"#### {code(view.key)}\n\n{_service_description(view)}{_capacity(view)}\n"
    if drain_note:
        heading += f"\nEach draining real server: {prose(drain_note)}\n"
    changed = [server for server in view.servers if server.action is not None]
    unchanged_count = len(view.servers) - len(changed)
    unchanged_note = (
        f"\n{count_text(unchanged_count, 'real server')} not shown: as before\n"
        if unchanged_count
        else ""
    )
    return ServiceText(
        heading + _server_table(view, view.servers, drain_note),
        heading + _server_table(view, changed, drain_note) + unchanged_note,
    )


def _shared_drain_note(view: ServiceView) -> str:
    """Return what is true of several draining real servers, to be said once; empty if nothing."""
    notes = Counter(s.connections_text for s in view.servers if s.action is Action.DRAIN)
    [(note, count)] = notes.most_common(1) or [("", 0)]
    return note.removeprefix("drain: ") if count > 1 else ""


def _service_description(view: ServiceView) -> str:
    """Return where a service was written, and what happens to the service itself."""
    parts = []
    if (location := view.location) is not None:
        place = linked(code(location_text(location)), view.location_url)
        parts.append(f"{code(location.service or 'service')} in {place}")
    notes = (view.action_text, fields_text(view.fields), view.note)
    text = ", ".join([*parts, *(prose(part) for part in notes if part)])
    return f"Virtual service: {text}\n\n" if text else ""


def _capacity(view: ServiceView) -> str:
    shares = f"; {prose(view.shares_note)}" if view.shares_note else ""
    return f"Capacity: {view.capacity_text}{shares}"


def _server_table(view: ServiceView, servers: Iterable[ServerRow], drain_note: str) -> str:
    rows = [table_row(_server_cells(view, server, drain_note)) for server in servers]
    columns = ("Real server", "Forwarding", "Weight>", "Share of traffic>", "Connections")
    return f"\n{table_header(*columns)}{''.join(rows)}" if rows else ""


def _server_cells(view: ServiceView, server: ServerRow, drain_note: str) -> Iterator[str]:
    """Yield the cells of a real server; `drain_note` is already shown above the table."""
    name = f" {code(server.name)}" if server.name else ""
    yield code(server.address) + name + (" (local)" if server.is_local else "")
    yield prose(server.forwarding)
    yield from (server.weight_text, view.share_text(server))
    is_said = server.connections_text == f"drain: {drain_note}"
    yield "drain" if is_said else prose(server.connections_text)
