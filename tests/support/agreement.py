"""What it means that a preview and an agent agree."""

from __future__ import annotations

from gitvs.core.model.history import Outcome
from gitvs.core.model.resources import Sysctl, Timeout
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.plan import Change
from gitvs.reconcile.one_pass import PassResult
from gitvs.report.plan.plan_view import DirectorPlan, PlanOutcome


def is_setting(change: Change) -> bool:
    """What a setting was, or will be, without gitvs, a preview does not know."""
    return isinstance(change.resource, Sysctl | Timeout)


def told(change: Change) -> tuple[object, ...]:
    drain = None if change.drain is None else change.drain.timeout_seconds
    return (change.phase, change.action, change.key, change.before, change.after, drain)


def judged(gate: Gate) -> tuple[object, ...]:
    return (gate.name, gate.measured, gate.limit, gate.message, gate.is_allowed)


def expect_same(plan: DirectorPlan, done: PassResult) -> None:
    """A preview is what the pass planned, and did."""
    assert done.planned is not None
    proposal = done.planned.proposal
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
        done.outcome
        is {
            PlanOutcome.BLOCKED: Outcome.BLOCKED,
            PlanOutcome.CHANGES: Outcome.APPLIED,
            PlanOutcome.NONE: Outcome.CONVERGED,
        }[plan.outcome]
    )
