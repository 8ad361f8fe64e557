"""What a comment shows on demand of directors to which the same happens.

Changes in the order of execution, as a coloured diff, then each virtual service that changes,
with its real servers. Both can be cut after any item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from gitvs.core.durations import duration_text
from gitvs.core.model import Kind, Source
from gitvs.core.plan import Action, Change
from gitvs.report.fields import UNSET, Fields, fields_of
from gitvs.report.markdown_text import code, diff_block, folded, header, html_names, prose, row
from gitvs.report.plan_text import changed_fields
from gitvs.report.plan_view import summary_text
from gitvs.report.preview_view import Group
from gitvs.report.problems import counted
from gitvs.report.service_view import ServerRow, ServiceView, Side, changed_services

_SIGNS = {Action.CREATE: "+", Action.DELETE: "-"}
_REPAIRS = "drift on the host: the next sync repairs it, whatever is merged"


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
            *((str(c.phase), _change_line(c)) for c in plan.plan.changes),
            *((_REPAIRS, _change_line(c)) for c in plan.repairs),
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


def _change_line(change: Change) -> str:
    """One change with the sign that colours it: what is neither new nor gone changes."""
    sign = _SIGNS.get(change.action, "!")
    text = _change_text(change)
    return f"{sign} {change.action} {change.key}" + (f"  {text}" if text else "")


def _change_text(change: Change) -> str:
    if change.before is not None and change.after is not None:
        text = _listed(changed_fields(change))
        if change.drain is None:
            return text
        timeout = duration_text(change.drain.timeout_seconds)
        until = f"removed once it has no connections, in {timeout} at the latest"
        return f"{text}, {until}" if text else until
    if change.after is None and change.kind in (Kind.SYSCTL, Kind.TIMEOUTS):
        return "goes back to what it was before gitvs"
    fields = {} if change.kind is Kind.VIP else fields_of(change.resource)
    return _listed({k: v for k, v in fields.items() if v not in UNSET})


def _listed(fields: Fields) -> str:
    return ", ".join(v if k in ("value", "timeout") else f"{k} {v}" for k, v in fields.items())


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
        parts.append(f"{code(source.service or 'service')} in {code(_place(source))}")
    if view.action is Action.CREATE:
        parts.append("new")
    elif view.action is Action.DELETE:
        parts.append("removed")
    elif view.is_leaving:
        parts.append("left the manifests, removed once it has drained")
    parts.append(prose(_listed(view.fields or view.changed)))
    text = ", ".join(part for part in parts if part)
    return f"Virtual service: {text}\n\n" if text else ""


def _place(source: Source) -> str:
    return f"{source.file}:{source.line}"


def _capacity(view: ServiceView) -> str:
    """Weights and active real servers in all, and why shares of traffic are not known."""
    sides = (view.before, view.after)
    weights = _step(*(None if side is None else str(side.capacity) for side in sides))
    active = _step(*(None if s is None else f"{s.active} of {s.count}" for s in sides))
    return f"Capacity: weight {weights}, active real servers {active}{_unknown(*sides)}"


def _unknown(before: Side | None, after: Side | None) -> str:
    old, new = (side.unknown if side is not None else "" for side in (before, after))
    if old and (after is None or old == new):
        return f"; shares of traffic cannot be known: {prose(old)}"
    reasons = [f"{word} ({prose(why)})" for word, why in (("before", old), ("after", new)) if why]
    return f"; shares of traffic cannot be known {' and '.join(reasons)}" if reasons else ""


def _servers(view: ServiceView, servers: Iterable[ServerRow]) -> str:
    rows = [row(_cells(view, server)) for server in servers]
    columns = ("Real server", "Forwarding", "Weight>", "Share of traffic>", "Connections")
    return f"\n{header(*columns)}{''.join(rows)}" if rows else ""


def _cells(view: ServiceView, server: ServerRow) -> Iterator[str]:
    name = f" {code(server.name)}" if server.name else ""
    yield code(server.address) + name + (" (local)" if server.is_local else "")
    yield prose(server.forwarding)
    weights = (server.weight_before, server.weight_after)
    yield _step(*(None if weight is None else str(weight) for weight in weights))
    yield _step(
        _share(view.before, server.share_before),
        _share(view.after, server.share_after),
    )
    yield prose("; ".join(text for text in (server.note or "as before", server.thresholds) if text))


def _share(side: Side | None, share: float | None) -> str | None:
    if share is None:
        return None
    return "?" if side is not None and side.unknown else f"{100 * share:.3g} %"


def _step(before: str | None, after: str | None) -> str:
    """Return `1 → 2`, or one of them where both are the same; `–` is where there is none."""
    old, new = ("–" if text is None else text for text in (before, after))
    return old if old == new else f"{old} → {new}"
