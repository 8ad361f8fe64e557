"""What a comment shows on demand of directors to which the same happens.

Changes in the order of execution, as a coloured diff, then each virtual service that changes,
with its real servers. Both can be cut after any item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from gitvs.core.planning.plan import Action, Change
from gitvs.report.markdown.escaping import code, diff_block, folded, header, html_names, prose, row
from gitvs.report.plan.plan_view import DirectorPlan, summary_text
from gitvs.report.plan.preview_view import Group
from gitvs.report.plan.server_row import ServerRow
from gitvs.report.plan.service_view import ServiceView, changed_services
from gitvs.report.text.change_words import REPAIRS, change_text, place_text
from gitvs.report.text.fields import fields_text
from gitvs.report.text.problems import counted

_SIGNS = {Action.CREATE: "+", Action.DELETE: "-"}


@dataclass(frozen=True, slots=True)
class ServiceText:
    """A virtual service with all its real servers, and with those that change alone."""

    whole: str
    short: str


@dataclass(frozen=True, slots=True)
class Details:
    """All there is to tell of a group. `changes` are lines of a diff, each with its heading."""

    title: str
    changes: tuple[tuple[str, str], ...]
    services: tuple[ServiceText, ...]


def details_of(group: Group) -> Details:
    """Return the details of a group."""
    plan = group.plan
    return Details(
        f"{html_names(group.directors)}: {summary_text(plan.summary)}",
        (
            *((str(c.phase), _change_line(plan, c)) for c in plan.plan.changes),
            *((REPAIRS, _change_line(plan, c)) for c in plan.repairs),
        ),
        tuple(_service_text(view) for view in changed_services(plan)),
    )


def details_text(details: Iterable[Details], changes: int, services: int, rows: int) -> str:
    """Return so many changes and services, from the first, as one text.

    `rows` is how many of the services show the real servers that stay as they are too.
    """
    parts = []
    for one in details:
        content = _diff(one.changes[:changes])
        changes -= min(changes, len(one.changes))
        for service in one.services[:services]:
            is_whole = service.whole == service.short or rows > 0
            content += "\n" + (service.whole if is_whole else service.short)
            rows -= service.whole != service.short
        services -= min(services, len(one.services))
        if content:
            parts.append(folded(one.title, content))
    return "\n".join(parts)


def _diff(changes: Iterable[tuple[str, str]]) -> str:
    lines: list[str] = []
    for heading, group in groupby(changes, key=lambda pair: pair[0]):
        lines += [f"@@ {heading} @@", *(line for _, line in group)]
    return f"#### In the order of execution\n\n{diff_block(lines)}" if lines else ""


def _change_line(plan: DirectorPlan, change: Change) -> str:
    """One change with the sign that colours it: what is neither new nor gone changes."""
    sign = _SIGNS.get(change.action, "!")
    text = change_text(change, plan.drift)
    return f"{sign} {change.action} {change.key}" + (f"  {text}" if text else "")


def _service_text(view: ServiceView) -> ServiceText:
    about = f"#### {code(view.key)}\n\n{_fate(view)}{_capacity(view)}\n"
    changed = [server for server in view.servers if server.action is not None]
    count = len(view.servers) - len(changed)
    rest = f"\n{counted(count, 'real server')} not shown: as before\n" if count else ""
    return ServiceText(
        about + _servers(view, view.servers),
        about + _servers(view, changed) + rest,
    )


def _fate(view: ServiceView) -> str:
    """Return where a service was written, and what happens to the service itself."""
    parts = []
    if (source := view.source) is not None:
        parts.append(f"{code(source.service or 'service')} in {code(place_text(source))}")
    told = (view.fate, fields_text(view.fields), view.note)
    text = ", ".join([*parts, *(prose(part) for part in told if part)])
    return f"Virtual service: {text}\n\n" if text else ""


def _capacity(view: ServiceView) -> str:
    unknown = f"; {prose(view.unknown)}" if view.unknown else ""
    return f"Capacity: {view.capacity}{unknown}"


def _servers(view: ServiceView, servers: Iterable[ServerRow]) -> str:
    rows = [row(_cells(view, server)) for server in servers]
    columns = ("Real server", "Forwarding", "Weight>", "Share of traffic>", "Connections")
    return f"\n{header(*columns)}{''.join(rows)}" if rows else ""


def _cells(view: ServiceView, server: ServerRow) -> Iterator[str]:
    name = f" {code(server.name)}" if server.name else ""
    yield code(server.address) + name + (" (local)" if server.is_local else "")
    yield prose(server.forwarding)
    yield from (server.weight, view.share(server), prose(server.connections))
