"""Shows what a pass planned, and how it ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gitvs.cli.shared.output import show, show_message, terminal_width
from gitvs.core.model.history import Commit, Outcome
from gitvs.reconcile.one_pass import PassResult, PlannedPass
from gitvs.reconcile.results import TransactionResult
from gitvs.report.plan.health_view import health_changes
from gitvs.report.plan.pass_text import pass_text
from gitvs.report.plan.plan_text import plan_text
from gitvs.report.plan.plan_view import DirectorPlan, PlanSide, PlanSideKind, director_plan
from gitvs.report.text.places import Places


def show_pass_plan(pass_result: PassResult, commit: Commit | None, path: Path, folder: str) -> None:
    """Show what was planned; `folder` is that of the manifests in the repository."""
    if pass_result.planned is not None:
        base, head = plan_sides(pass_result.planned, commit, path)
        places = Places(folder)
        view = replace(planned_view(pass_result.planned), places=places)
        show(plan_text(base, head, [view], terminal_width()))


def report_pass(pass_result: PassResult, recovered: TransactionResult | None = None) -> None:
    """Show how a pass ended, and how an open transaction was recovered before it."""
    recovered = recovered or pass_result.recovered
    if recovered is not None:
        prefix = "a transaction was left open; it is now: "
        show_message(
            pass_text(
                recovered.outcome,
                recovered.failures,
                prefix=prefix,
                is_undone=not recovered.not_undone,
            )
        )
    if pass_result.planned is not None:
        result = pass_result.transaction
        failures = () if result is None else result.failures
        unrepairable = [f"not repaired: {u.reason}" for u in pass_result.unrepairable]
        show_message(
            pass_text(
                pass_result.outcome,
                [*failures, *unrepairable],
                is_undone=result is None or not result.not_undone,
                has_other_checks=_has_other_checks(pass_result.planned),
            )
        )


def _has_other_checks(planned: PlannedPass) -> bool:
    applied = None if planned.applied is None else planned.applied.desired
    return bool(health_changes(applied, planned.proposal.desired))


def report_drained(pass_result: PassResult) -> None:
    """Show what a pass removed after its drain, or how the pass ended if not applied."""
    if pass_result.outcome is not Outcome.APPLIED:
        report_pass(pass_result)
    elif pass_result.planned is not None:
        for change in pass_result.planned.proposal.plan.changes:
            if change.after is None:
                show_message(f"drained and removed: {change.key}")


def planned_view(planned: PlannedPass) -> DirectorPlan:
    """Return the view of a planned pass for reports."""
    return director_plan(
        planned.proposal,
        observation=planned.observation,
        applied=None if planned.applied is None else planned.applied.desired,
        ledger=planned.ledger,
        boottime_seconds=planned.boottime_seconds,
    )


def plan_sides(
    planned: PlannedPass, commit: Commit | None, path: Path
) -> tuple[PlanSide, PlanSide]:
    """Return the start and the end of a live plan."""
    applied_commit = None if planned.applied is None else planned.applied.commit
    base = PlanSide(PlanSideKind.LIVE)
    if applied_commit is not None:
        base = PlanSide(PlanSideKind.LIVE, applied_commit.id, applied_commit.subject)
    if commit is None:
        return base, PlanSide(PlanSideKind.WORK_TREE, None, str(path))
    return base, PlanSide(PlanSideKind.COMMIT, commit.id, commit.subject)
