"""The answers to operators: what happened, in words, and how the cycle ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from gitvs.agent.cycle_result import CycleResult
from gitvs.agent.reporting import short_problem_text
from gitvs.core.durations import duration_text
from gitvs.core.errors import ExitCode
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import ConnectionCounts
from gitvs.core.model.resources import Key, RealServer
from gitvs.core.planning.operations import Operation
from gitvs.core.status.agent_status import AgentStatus
from gitvs.report.text.counts import count_text
from gitvs.report.text.times import utc_time_text

Answer = dict[str, Any]


def cycle_json(cycle_result: CycleResult) -> Answer:
    """Return how a cycle ended, as JSON for the client."""
    outcomes = [p.outcome for p in cycle_result.pass_results]
    codes = [p.exit_code for p in cycle_result.pass_results]
    codes += [problem.exit_code for problem in cycle_result.problems]
    pass_result = cycle_result.pass_result
    gates = (
        ()
        if pass_result is None or pass_result.planned is None
        else pass_result.planned.proposal.gates
    )
    failures = (
        ()
        if pass_result is None or pass_result.transaction is None
        else pass_result.transaction.failures
    )
    return {
        "result": str(outcomes[0]) if outcomes else None,
        "exitCode": int(ExitCode.severest(codes)),
        "problems": [
            *(short_problem_text(problem) for problem in cycle_result.problems),
            *(f"{gate.name}: {gate.message}" for gate in gates if not gate.is_allowed),
            *failures,
            *(f"not repaired: {reason}" for reason in _unrepairable_reasons(cycle_result)),
        ],
    }


def sync_text(cycle_result: CycleResult, status: AgentStatus) -> str:
    """Return the result of a sync, such as `commit 9ab0af1a283e is in force: nothing had to
    change`."""
    outcomes = [p.outcome for p in cycle_result.pass_results]
    if not status.is_applied:
        in_force = "nothing is applied yet"
    elif status.applied_commit is None:
        in_force = "the folder is in force"
    else:
        in_force = f"commit {status.applied_commit.id[:12]} is in force"
    if not outcomes:
        return f"nothing was done: {in_force}"
    match outcomes[0]:
        case Outcome.CONVERGED:
            return f"{in_force}: no change was needed"
        case Outcome.APPLIED:
            return f"{in_force}: applied and read back"
        case outcome:
            return f"{outcome}: {in_force}"


def drain_text(
    subject: str,
    servers: Collection[RealServer],
    connections: Mapping[Key, ConnectionCounts],
    *,
    is_now: bool,
) -> str:
    """Return `web1 gets no new connections in 2 virtual services; 12 open`."""
    where = count_text(len({server.service_key for server in servers}), "virtual service")
    if is_now:
        return f"{subject} is removed from {where}, and its connections are cut"
    open_count = sum(connections[s.key].active for s in servers if s.key in connections)
    return f"{subject} gets no new connections in {where}; {open_count or 'none'} open"


def undrain_text(subject: str, servers: Collection[RealServer]) -> str:
    """Return `web1 gets new connections again: weight 10`."""
    weights = sorted({server.weight for server in servers})
    numbers = ", ".join(map(str, weights))
    if not any(weights):
        why = "gives it weight 0" if weights else "has no such real server"
        return f"{subject} is no longer drained by hand, but Git {why}"
    return (
        f"{subject} gets new connections again: weight{'s' * (len(weights) > 1)} {numbers}, as Git"
        " says"
    )


def until_text(operation: Operation) -> str:
    """Return ` until 2026-01-02 16:00:00 UTC (4h)`; empty for one that does not end by itself."""
    until = operation.expires_at
    if until is None:
        return ""
    seconds = round((until - operation.requested_at).total_seconds())
    return f" until {utc_time_text(until)} ({duration_text(seconds)})"


def unknown_server_text(subject: str, service: str, desired: Desired) -> str:
    """Return that there is no such real server, with the most similar name."""
    addresses = {str(server.address) for server in desired.state.of_type(RealServer)}
    names = {*desired.server_names.values(), *addresses}
    near = get_close_matches(subject, names, 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    where = f" in service {service}" if service else ""
    return (
        f"{subject} is no real server{where} here. {hint}Give its address, its address and port,"
        " or its name; `gitvs status --all` lists them. Nothing was changed"
    )


def _unrepairable_reasons(cycle_result: CycleResult) -> list[str]:
    """Return why the newest pass left something unrepaired."""
    return [u.reason for p in cycle_result.pass_results[-1:] for u in p.unrepairable]
