"""A plan for people at a terminal: what stands against it, then what changes, service by service.

The order of execution is in the plan's JSON; here everything about one virtual service
stands together. Colours repeat what signs say, so nothing is lost without them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.text import Text

from gitvs.core.gates import Gate
from gitvs.core.model import Drain, Key, Kind, RealServer, Resource, VirtualService
from gitvs.core.plan import Action, Change, natural_order
from gitvs.core.risks import Risk
from gitvs.report.fields import UNSET, Fields, fields_of
from gitvs.report.lines import Line, aligned, line, text_of
from gitvs.report.operations import operation_text
from gitvs.report.plan_view import DirectorPlan, PlanOutcome, Side, summary_text
from gitvs.report.server_lines import draining_line, server_line

SIGNS = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.REPLACE: ("±", "yellow"),
    Action.DELETE: ("-", "red"),
    Action.DRAIN: ("↓", "magenta"),
}
_DRIFT = "drift: the kernel was changed, the manifests were not"
_MOST_FOREIGN = 20
_ADDRESSES = (Kind.VIP, Kind.LOCAL_ROUTE)
_IPVS = (Kind.VIRTUAL_SERVICE, Kind.REAL_SERVER)


@dataclass(slots=True)
class _Section:
    """What is shown of one virtual service; what stays is counted, lest it be taken for gone."""

    changes: list[Change] = field(default_factory=list)
    draining: list[Drain] = field(default_factory=list)
    unchanged: int = 0


def plan_text(base: Side, head: Side, plans: Sequence[DirectorPlan]) -> Text:
    """Return plans as text; the last line of each sums it up."""
    lines: list[Line] = []
    for plan in plans:
        if lines:
            lines.append(line(""))
        lines.append(line(f"{plan.director}: {head} against {base}", style="bold"))
        lines += director_lines(plan)
        lines.append(line(""))
        if plan.plan:
            lines.append(line(f"digest {plan.digest}", style="dim"))
        lines.append(_summary_line(plan))
    return text_of(lines)


def director_lines(plan: DirectorPlan) -> Iterator[Line]:
    """Yield what there is to say of one director, each part after an empty line."""
    for section in (
        list(_gate_lines(plan.gates)),
        list(risk_lines(plan.risks)),
        list(_operation_lines(plan)),
        list(_repair_lines(plan)),
        list(_host_lines(plan)),
        *_service_sections(plan),
        list(_address_lines(plan)),
        list(_foreign_lines(plan)),
    ):
        if section:
            yield line("")
            yield from section


def _summary_line(plan: DirectorPlan) -> Line:
    match plan.outcome:
        case PlanOutcome.BLOCKED:
            names = ", ".join(dict.fromkeys(g.name for g in plan.gates if not g.allowed))
            text = f"{summary_text(plan.summary)}; blocked by {names}: nothing will be changed"
            return line(text, style="bold red")
        case PlanOutcome.NONE:
            return line(f"nothing to do: {plan.director} is as the manifests say{_waiting(plan)}")
        case PlanOutcome.CHANGES:
            return line(summary_text(plan.summary), style="bold")


def _waiting(plan: DirectorPlan) -> str:
    count = len(plan.drains)
    return f", but for {count} real server{'s' * (count > 1)} still draining" if count else ""


def _gate_lines(gates: Sequence[Gate]) -> Iterator[Line]:
    """Gates above everything, those that block first."""
    for allowed, title, style in (
        (False, "Blocked", "bold red"),
        (True, "Allowed, though over a limit", "yellow"),
    ):
        met = [g for g in gates if g.allowed is allowed]
        if met:
            yield line(
                f"{title} by {len(met)} gate{'s' * (len(met) > 1)}" if not allowed else title
            )
        for gate in met:
            measured = f"{gate.measured}; limit: {gate.limit}"
            yield line(f"! {gate.name}: {measured}", style=style, indent=2)
            yield line(gate.message, indent=4)


def risk_lines(risks: Sequence[Risk]) -> Iterator[Line]:
    """Yield what is good to know, though it blocks nothing."""
    if risks:
        yield line("Good to know")
    for risk in risks:
        yield line(f"{risk.name}: {risk.message}", style="yellow", indent=2)


def _repair_lines(plan: DirectorPlan) -> Iterator[Line]:
    """What is wrong on the host already, which its next sync mends."""
    if plan.repairs:
        yield line("Drift that the next sync repairs, whatever is merged", style="bold yellow")
    yield from aligned([_change_line(plan, change) for change in plan.repairs])


def _operation_lines(plan: DirectorPlan) -> Iterator[Line]:
    """What operators have said, since it explains what no manifest does."""
    if plan.operations:
        yield line("By hand, on top of the manifests", style="bold yellow")
    for operation in plan.operations.all:
        yield line(operation_text(operation), indent=2)


def _host_lines(plan: DirectorPlan) -> Iterator[Line]:
    host = [c for c in plan.plan.changes if c.kind not in (*_IPVS, *_ADDRESSES)]
    if host:
        yield line("Host", style="bold")
        yield from aligned([_change_line(plan, c) for c in host])


def _address_lines(plan: DirectorPlan) -> Iterator[Line]:
    changes = [c for c in plan.plan.changes if c.kind in _ADDRESSES]
    if changes:
        yield line("VIPs and local routes", style="bold")
        ordered = sorted(changes, key=lambda c: (c.kind, natural_order(c.resource)))
        yield from aligned([_change_line(plan, c) for c in ordered])


def _change_line(plan: DirectorPlan, change: Change) -> Line:
    """One change of anything but IPVS on one line."""
    sign, style = SIGNS[change.action]
    notes = [text for text in (_change_text(change), _drift_note(plan, change)) if text]
    return line(sign, change.key, "; ".join(notes), style=style, indent=2)


def _change_text(change: Change) -> str:
    if change.after is None and change.kind in (Kind.SYSCTL, Kind.TIMEOUTS):
        return "goes back to what it was before gitvs"
    if change.before is None or change.after is None:
        fields = fields_of(change.resource) if change.kind is not Kind.VIP else {}
        return ", ".join(_labelled(name, value) for name, value in fields.items())
    text = ", ".join(_labelled(name, value) for name, value in changed_fields(change).items())
    return f"{text} (stopped and started)" if change.action is Action.REPLACE else text


def _labelled(name: str, value: str) -> str:
    return value if name in ("value", "timeout") else f"{name} {value}"


def changed_fields(change: Change) -> Fields:
    """Return what differs between before and after, as `old → new`, by field."""
    before = {} if change.before is None else fields_of(change.before)
    after = {} if change.after is None else fields_of(change.after)
    return {k: f"{before[k]} → {after[k]}" for k in after if k in before and before[k] != after[k]}


def _drift_note(plan: DirectorPlan, change: Change) -> str:
    return _DRIFT if change.key in plan.drift else ""


def _service_sections(plan: DirectorPlan) -> Iterator[list[Line]]:
    """One section for each virtual service that changes, or has a server that does or drains."""
    sections: dict[Key, _Section] = {}
    for change in plan.plan.changes:
        if change.kind in _IPVS:
            sections.setdefault(_service_key(change.resource), _Section()).changes.append(change)
    begun = {change.key for change in plan.plan.changes}
    for key, drain in plan.drains.items():
        section = sections.setdefault(_service_key(plan.target[key]), _Section())
        if key not in begun:
            section.draining.append(drain)
    listed = begun | plan.drains.keys()
    for server in plan.target.of(RealServer):
        if server.service_key in sections and server.key not in listed:
            sections[server.service_key].unchanged += 1
    services = {key: _service(plan, key, s.changes) for key, s in sections.items()}
    for key in sorted(services, key=lambda k: natural_order(services[k])):
        yield list(_service_lines(plan, services[key], sections[key]))


def _service_key(resource: Resource) -> Key:
    return resource.service_key if isinstance(resource, RealServer) else resource.key


def _service(plan: DirectorPlan, key: Key, changes: Iterable[Change]) -> VirtualService:
    """The virtual service as it will be, or as it was if it goes."""
    found = next((c.resource for c in changes if c.key == key), None) or plan.target[key]
    assert isinstance(found, VirtualService), "real servers belong to virtual services"
    return found


def _service_lines(
    plan: DirectorPlan, service: VirtualService, section: _Section
) -> Iterator[Line]:
    own = [c for c in section.changes if c.key == service.key]
    yield _heading(plan, service, own[0] if own else None)
    for change in own:
        if change.action is Action.UPDATE:
            yield from _update_lines(plan, change)
    servers = [c for c in section.changes if c.key != service.key]
    servers.sort(key=lambda c: natural_order(c.resource))
    lines = [_with_sign(c, server_line(plan, c), plan) for c in servers]
    yield from aligned([*lines, *(draining_line(plan, d) for d in section.draining)])
    if section.unchanged:
        count = section.unchanged
        text = f"{count} real server{'s' * (count > 1)} unchanged"
        yield line(text, style="dim", indent=4)


def _update_lines(plan: DirectorPlan, change: Change) -> Iterator[Line]:
    sign, style = SIGNS[change.action]
    notes = [
        f"{name} {values}{_flags_note(plan, change) if name == 'flags' else ''}"
        for name, values in changed_fields(change).items()
    ]
    notes += [_drift_note(plan, change)] if change.key in plan.drift else []
    yield from (line(sign, note, style=style, indent=2) for note in notes)


def _flags_note(plan: DirectorPlan, change: Change) -> str:
    """Why a fallback flag comes that no manifest asked for."""
    wanted = plan.desired.get(change.key, change.before)
    if change.after == wanted or not isinstance(change.after, VirtualService):
        return ""
    return ", while a real server has weight 0"


def _heading(plan: DirectorPlan, service: VirtualService, own: Change | None) -> Line:
    sign, style = ("", "bold")
    details = []
    if own is not None and own.action is not Action.UPDATE:
        sign, style = SIGNS[own.action][0] + " ", f"bold {SIGNS[own.action][1]}"
        fields = fields_of(service)
        details = [f"{k} {v}" for k, v in fields.items() if v not in UNSET]
    elif service.key not in plan.desired:
        details = ["left the manifests: removed once it has drained"]
    source = plan.source_of(service)
    written = "" if source is None else f"{source.service} ({source.file}:{source.line})"
    cells = (f"{sign}{service.key}", ", ".join(details), written)
    return line(*(c for c in cells if c), style=style)


def _with_sign(change: Change, cells: tuple[str, ...], plan: DirectorPlan) -> Line:
    sign, style = SIGNS[change.action]
    *rest, note = cells
    notes = "; ".join(text for text in (note, _drift_note(plan, change)) if text)
    return line(sign, *rest, notes, style=style, indent=2)


def _foreign_lines(plan: DirectorPlan) -> Iterator[Line]:
    """Foreign real servers are counted, and a long list is cut: nothing happens to them."""
    if not plan.foreign:
        return
    servers = Counter(name.split(" -> ")[0] for name in plan.foreign if " -> " in name)
    named = [name for name in plan.foreign if " -> " not in name]
    yield line("Foreign: not gitvs's, left as they are", style="bold")
    for name in named[:_MOST_FOREIGN]:
        count = servers[name]
        note = f"{count} real server{'s' * (count > 1)}" if count else ""
        yield line(name, note, indent=2, style="dim")
    if len(named) > _MOST_FOREIGN:
        yield line(f"and {len(named) - _MOST_FOREIGN} more", indent=2, style="dim")
