"""A plan for people at a terminal: gates and risks, then what changes, service by service.

The order of execution is in the plan's JSON; here everything about one virtual service is
together. Colours only repeat the signs, so nothing is lost without them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from gitvs.core.model.kinds import Role, facts_of
from gitvs.core.model.resources import SERVER_ARROW, Key, Kind, service_key_in
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.plan import Action, Change, natural_sort_key
from gitvs.core.planning.risks import Risk
from gitvs.report.plan.health_view import HEALTH_TITLE, health_lines
from gitvs.report.plan.plan_view import DirectorPlan, PlanOutcome, PlanSide
from gitvs.report.plan.preview_words import gate_messages
from gitvs.report.plan.removals import AFTER_DRAINS_TITLE, changes_text, removals_text
from gitvs.report.plan.server_row import ServerRow
from gitvs.report.plan.service_view import ServiceView, changed_services
from gitvs.report.text.changes import (
    BY_HAND_TITLE,
    FOREIGN_TITLE,
    REPAIRS_TITLE,
    SIGNS_AND_COLOURS,
    UNREPAIRABLE_TITLE,
    change_text,
    location_text,
)
from gitvs.report.text.counts import count_text
from gitvs.report.text.fields import before_after_text, fields_text
from gitvs.report.text.lines import Line, aligned, line, lines_text
from gitvs.report.text.operations import operation_text

_MAX_FOREIGN = 20


def plan_text(
    base: PlanSide, head: PlanSide, plans: Sequence[DirectorPlan], width: int | None = None
) -> Text:
    """Return plans as text; the last line of each sums it up.

    Without a width no line is wrapped.
    """
    lines: list[Line] = []
    for plan in plans:
        if lines:
            lines.append(line(""))
        lines.append(line(f"{plan.director}: {head} compared with {base}", style="bold"))
        lines += director_lines(plan)
        lines.append(line(""))
        if plan.has_changes:
            lines.append(line(f"digest {plan.digest}", style="dim"))
        lines.append(_summary_line(plan))
    return lines_text(lines, width)


def director_lines(plan: DirectorPlan) -> Iterator[Line]:
    """Yield the lines about one director, each part after an empty line."""
    for section in (
        list(_gate_lines(plan.gates)),
        list(risk_lines(plan.risks)),
        list(_operation_lines(plan)),
        list(_repair_lines(plan)),
        list(_unrepairable_lines(plan)),
        list(_host_lines(plan)),
        *(list(_service_lines(view)) for view in changed_services(plan)),
        list(_address_lines(plan)),
        list(_health_lines(plan)),
        list(_after_drains_lines(plan)),
        list(_foreign_lines(plan)),
    ):
        if section:
            yield line("")
            yield from section


def _summary_line(plan: DirectorPlan) -> Line:
    match plan.outcome:
        case PlanOutcome.BLOCKED:
            names = ", ".join(dict.fromkeys(g.name for g in plan.gates if not g.is_allowed))
            text = f"{changes_text(plan)}; blocked by {names}: nothing will be changed"
            return line(text, style="bold red")
        case PlanOutcome.NONE:
            return line(
                f"nothing to do: {plan.director} is as the manifests say{_draining_text(plan)}"
            )
        case PlanOutcome.CHANGES:
            return line(changes_text(plan), style="bold")


def _draining_text(plan: DirectorPlan) -> str:
    count = len(plan.drains)
    if not count:
        return ""
    removals = removals_text([plan])
    return f", but for {count_text(count, 'real server')} still draining" + (
        f"; {removals}" if removals else ""
    )


def _gate_lines(gates: Sequence[Gate]) -> Iterator[Line]:
    """Yield the gates, those that block first."""
    for is_allowed, title, style in (
        (False, "Blocked by {}", "bold red"),
        (True, "Over a limit, and allowed", "yellow"),
    ):
        matching_gates = [g for g in gates if g.is_allowed is is_allowed]
        if matching_gates:
            yield line(title.format(count_text(len(matching_gates), "gate")))
        messages = gate_messages(matching_gates)
        yield from aligned(
            [
                x
                for gate_and_message in messages
                for x in _gate_message_lines(*gate_and_message, style)
            ]
        )


def _gate_message_lines(gate: Gate, message: str, style: str) -> Iterator[Line]:
    """Yield what was measured, and the message: on the same line if it is only a reference."""
    measured = f"! {gate.name}: {gate.measured}"
    if message != gate.message:
        yield line(measured, message, style=style, indent=2)
        return
    yield line(f"{measured}; limit: {gate.limit}", style=style, indent=2)
    yield line(message, indent=4)


def risk_lines(risks: Sequence[Risk]) -> Iterator[Line]:
    """Yield the risks, which are good to know but block nothing."""
    if risks:
        yield line("Good to know")
    for risk in risks:
        yield line(f"{risk.name}: {risk.message}", style="yellow", indent=2)


def _repair_lines(plan: DirectorPlan) -> Iterator[Line]:
    """Yield the drift that is on the host already and that its next sync repairs."""
    if plan.repairs:
        yield line(REPAIRS_TITLE, style="bold yellow")
    yield from _change_lines(plan, plan.repairs)


def _unrepairable_lines(plan: DirectorPlan) -> Iterator[Line]:
    """Yield what cannot be repaired, which keeps nothing else from being applied."""
    if plan.unrepairable:
        yield line(UNREPAIRABLE_TITLE, style="bold red")
    for reason in plan.unrepairable.values():
        yield line(reason, style="red", indent=2)


def _operation_lines(plan: DirectorPlan) -> Iterator[Line]:
    """Yield the operations of operators, which explain changes that no manifest asks for."""
    if plan.operations:
        yield line(BY_HAND_TITLE, style="bold yellow")
    for operation in plan.operations.all:
        yield line(operation_text(operation), indent=2)


def _host_lines(plan: DirectorPlan) -> Iterator[Line]:
    host_changes = [c for c in plan.plan.changes if _role(c) in (Role.SETTING, Role.HOST)]
    if host_changes:
        yield line("Host", style="bold")
        yield from _change_lines(plan, host_changes)


def _address_lines(plan: DirectorPlan) -> Iterator[Line]:
    changes = [c for c in plan.plan.changes if _role(c) is Role.ADDRESS]
    if changes:
        yield line("VIPs and local routes", style="bold")
        sorted_changes = sorted(changes, key=lambda c: (c.kind, natural_sort_key(c.resource)))
        yield from _change_lines(plan, sorted_changes)


def _health_lines(plan: DirectorPlan) -> Iterator[Line]:
    """Yield what changes about health checks, and about the probes even if no check does."""
    lines = list(health_lines(plan.health))
    if lines:
        yield line(HEALTH_TITLE, style="bold")
    yield from (_action_line(Action.UPDATE, text) for text in lines)


def _role(change: Change) -> Role:
    return facts_of(change.resource).role


def _after_drains_lines(plan: DirectorPlan) -> Iterator[Line]:
    """Yield what later passes delete; real servers are with their services."""
    changes = [c for c in plan.after_drains if c.kind is not Kind.REAL_SERVER]
    if changes:
        yield line(AFTER_DRAINS_TITLE, style="bold")
        yield from _change_lines(plan, changes)


def _change_lines(plan: DirectorPlan, changes: Iterable[Change]) -> Iterable[Line]:
    """Return one line for each change; IPVS changes have lines of another format."""
    return aligned([_action_line(c.action, c.key, change_text(c, plan.drift)) for c in changes])


def _action_line(action: Action, *cells: str) -> Line:
    sign, style = SIGNS_AND_COLOURS[action]
    return line(sign, *cells, style=style, indent=2)


def _service_lines(view: ServiceView) -> Iterator[Line]:
    yield _service_heading(view)
    if view.action is Action.UPDATE:
        yield from (_action_line(view.action, f"{k} {v}") for k, v in view.fields.items())
    if view.action is not None and view.note:
        yield _action_line(view.action, view.note)
    shown_servers = [server for server in view.servers if server.action or server.note]
    yield from aligned([_server_line(server) for server in shown_servers])
    if unchanged_count := len(view.servers) - len(shown_servers):
        yield line(f"{count_text(unchanged_count, 'real server')} unchanged", style="dim", indent=4)


def _service_heading(view: ServiceView) -> Line:
    sign, style, details = "", "bold", ""
    if view.action is not None and view.action is not Action.UPDATE:
        sign, colour = SIGNS_AND_COLOURS[view.action]
        sign, style, details = f"{sign} ", f"bold {colour}", fields_text(view.fields)
    elif view.is_leaving:
        details = view.action_text
    location = (
        "" if view.location is None else f"{view.location.service} ({location_text(view.location)})"
    )
    return line(*(c for c in (f"{sign}{view.key}", details, location) if c), style=style)


def _server_line(server: ServerRow) -> Line:
    """Return the line of a real server that changes or drains; its sign shows the action."""
    weights = [w for w in (server.weight_before, server.weight_after) if w is not None]
    return _action_line(
        server.action or Action.DRAIN,
        server.address,
        server.name,
        server.forwarding + " (local)" * server.is_local,
        f"weight {before_after_text(weights[0], weights[-1])}",
        server.thresholds,
        server.note,
    )


def _foreign_lines(plan: DirectorPlan) -> Iterator[Line]:
    """Yield foreign objects: real servers only as counts, and a long list cut short."""
    if not plan.foreign_names:
        return
    server_counts = Counter(
        service_key_in(name) for name in plan.foreign_names if SERVER_ARROW in name
    )
    other_names = [name for name in plan.foreign_names if SERVER_ARROW not in name]
    yield line(FOREIGN_TITLE, style="bold")
    for name in other_names[:_MAX_FOREIGN]:
        count = server_counts[Key(name)]
        note = count_text(count, "real server") if count else ""
        yield line(name, note, indent=2, style="dim")
    if len(other_names) > _MAX_FOREIGN:
        yield line(f"and {len(other_names) - _MAX_FOREIGN} more", indent=2, style="dim")
