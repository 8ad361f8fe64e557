"""How a cycle ended, and what can be concluded from its passes."""

from __future__ import annotations

from dataclasses import dataclass

from gitvs.core.errors import (
    GitvsError,
)
from gitvs.core.model.desired import Desired
from gitvs.core.planning.gates import LIVE_GATES, Lift
from gitvs.core.planning.operations import Operations
from gitvs.ports import Applied
from gitvs.reconcile.one_pass import PassResult, without_counts
from gitvs.reconcile.results import TransactionResult


@dataclass(frozen=True, slots=True)
class CycleResult:
    """How a cycle ended. `target` is what the pass was for, or None if there was none.

    `problems` are the reasons, except gates, why the newest commit was not applied.
    `applied_pass_result` is the second pass, for the applied commit, if the first was blocked, or
    was rolled back and would have changed drift too.
    """

    pass_result: PassResult | None
    target: Applied | None
    recovered: TransactionResult | None = None
    problems: tuple[GitvsError, ...] = ()
    applied_pass_result: PassResult | None = None
    is_repeated: bool = False
    """Whether the first pass is reused: it was blocked, and would be blocked again."""
    load_seconds: float = 0.0
    """How long reading, validating and rendering took."""

    @property
    def pass_results(self) -> tuple[PassResult, ...]:
        """Every pass of this cycle, in order."""
        return tuple(p for p in (self.pass_result, self.applied_pass_result) if p is not None)


@dataclass(frozen=True, slots=True)
class BlockingBasis:
    """Everything except the kernel that decides whether a pass is blocked."""

    desired: Desired
    applied: Applied | None
    allowed_gates: frozenset[str]
    lifts: tuple[Lift, ...]
    operations: Operations


def is_blocked_as_before(blocked: PassResult, now: PassResult) -> bool:
    """Whether a pass would be blocked again, as far as the kernel matters for it."""
    if blocked.planned is None:
        return False
    gates = [gate for gate in blocked.planned.proposal.gates if not gate.is_allowed]
    if not any(gate.name in LIVE_GATES for gate in gates):
        return True
    before, after = blocked.planned.observation, now.observation
    return after is not None and without_counts(before) == without_counts(after)


def leaves_drift(pass_result: PassResult) -> bool:
    """Whether the applied state is not in force after a commit was rolled back.

    Others had changed what the commit was to change too, or not all of it could be undone.
    """
    planned, result = pass_result.planned, pass_result.transaction
    if planned is None or planned.applied is None or result is None:
        return False
    if result.not_undone or result.is_transient:
        return bool(result.not_undone)
    applied, repair_keys = planned.applied.desired.state, planned.proposal.repair_keys
    own_changes = (c for c in planned.proposal.plan.changes if c.key not in repair_keys)
    return any(c.key in applied and c.before != applied[c.key] for c in own_changes)
