"""What it means that a preview and an agent agree."""

from __future__ import annotations

from gitvs.core.model.history import Result
from gitvs.core.model.resources import Sysctl, Timeout
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.plan import Change
from gitvs.reconcile.one_pass import Pass
from gitvs.report.plan.plan_view import DirectorPlan, PlanOutcome


def is_setting(change: Change) -> bool:
    """What a setting was, or will be, without gitvs, a preview does not know."""
    return isinstance(change.resource, Sysctl | Timeout)


def told(change: Change) -> tuple[object, ...]:
    drain = None if change.drain is None else change.drain.timeout_seconds
    return (change.phase, change.action, change.key, change.before, change.after, drain)


def judged(gate: Gate) -> tuple[object, ...]:
    return (gate.name, gate.measured, gate.limit, gate.message, gate.allowed)


def expect_same(plan: DirectorPlan, done: Pass) -> None:
    """A preview is what the pass planned, and did."""
    assert done.survey is not None
    proposal = done.survey.proposal
    previewed, planned = plan.plan.changes, proposal.plan.changes
    assert [told(c) for c in previewed if not is_setting(c)] == [
        told(c) for c in planned if not is_setting(c)
    ]
    settings = [
        sorted((c.phase, c.key) for c in cs if is_setting(c)) for cs in (previewed, planned)
    ]
    assert settings[0] == settings[1]
    assert list(map(judged, plan.gates)) == list(map(judged, proposal.gates))
    assert plan.desired_digest == proposal.desired_digest
    assert (
        done.result
        is {
            PlanOutcome.BLOCKED: Result.BLOCKED,
            PlanOutcome.CHANGES: Result.APPLIED,
            PlanOutcome.NONE: Result.CONVERGED,
        }[plan.outcome]
    )
