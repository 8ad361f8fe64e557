"""One line for a real server in a plan: address, forwarding, weight, thresholds, its fate."""

from __future__ import annotations

from gitvs.core.durations import duration_text
from gitvs.core.model import Drain, Key, RealServer, host_and_port
from gitvs.core.plan import Action, Change
from gitvs.report.fields import fields_of
from gitvs.report.lines import Line, line
from gitvs.report.plan_view import DirectorPlan

Cells = tuple[str, str, str, str, str, str]
"""Address, name, forwarding, weight, thresholds, note."""


def server_line(plan: DirectorPlan, change: Change) -> Cells:
    """Return the cells of a real server that changes, each old → new where it differs."""
    server = change.resource
    assert isinstance(server, RealServer), "only real servers stand on these lines"
    before = change.before if isinstance(change.before, RealServer) else server
    old, new = fields_of(before), fields_of(server)
    shown = {k: v if old[k] == v else f"{old[k]} → {v}" for k, v in new.items()}
    return (*_cells(plan, server, shown), _note(plan, change))


def draining_line(plan: DirectorPlan, drain: Drain) -> Line:
    """Return the line of a real server that drains already, and does not change now."""
    server = plan.target[drain.key]
    assert isinstance(server, RealServer), "only real servers drain"
    note = f"draining: {_time_left(plan, drain)}{_counted(plan, drain.key)}"
    return line("↓", *_cells(plan, server, fields_of(server)), note, style="magenta", indent=2)


def _cells(
    plan: DirectorPlan, server: RealServer, shown: dict[str, str]
) -> tuple[str, str, str, str, str]:
    local = " (local)" if plan.is_local(server.address) else ""
    limits = [
        f"{name} {shown[name]}"
        for name in ("upper threshold", "lower threshold")
        if shown[name] != "none"
    ]
    return (
        host_and_port(server.address, server.port),
        plan.names.get(server.key, ""),
        shown["forwarding"] + local,
        f"weight {shown['weight']}",
        ", ".join(limits),
    )


def _note(plan: DirectorPlan, change: Change) -> str:
    if change.drain is not None:
        timeout = duration_text(change.drain.timeout_seconds)
        counted = _counted(plan, change.key)
        return f"drain: removed once it has no connections, in {timeout} at the latest{counted}"
    if change.key in plan.ended:
        return "drained" if change.action is Action.DELETE else "wanted again: its drain ends"
    if change.action is not Action.DELETE:
        return ""
    connections = plan.connections.get(change.key)
    if connections is not None and connections.active:
        return f"no drain: {connections.active} active connections break"
    return ""


def _counted(plan: DirectorPlan, key: Key) -> str:
    connections = plan.connections.get(key)
    if connections is None:
        return ""
    return f", {connections.active} active and {connections.inactive} inactive connections"


def _time_left(plan: DirectorPlan, drain: Drain) -> str:
    if plan.boottime is None:
        return f"{duration_text(drain.timeout_seconds)} at most"
    left = max(0.0, drain.deadline_seconds - plan.boottime)
    return f"{duration_text(round(left))} left of {duration_text(drain.timeout_seconds)}"
