"""Shows what a pass planned, and says how it ended."""

from __future__ import annotations

from pathlib import Path

from gitvs.cli.shared.output import show, tell
from gitvs.core.model.history import Commit, Result
from gitvs.reconcile.one_pass import Pass, Survey
from gitvs.reconcile.transaction import Finished
from gitvs.report.plan.pass_text import pass_text
from gitvs.report.plan.plan_text import plan_text
from gitvs.report.plan.plan_view import DirectorPlan, Side, SideKind, director_plan


def show_plan(done: Pass, commit: Commit | None, path: Path) -> None:
    """Show what was planned."""
    if done.survey is not None:
        base, head = sides(done.survey, commit, path)
        show(plan_text(base, head, [view_of(done.survey)]))


def tell_outcome(done: Pass, recovered: Finished | None = None) -> None:
    """Say how a pass ended, and what an earlier one had left."""
    recovered = recovered or done.recovered
    if recovered is not None:
        left = "a transaction was left open; it is now: "
        tell(pass_text(recovered.result, recovered.failures, prefix=left))
    if done.survey is not None:
        tell(pass_text(done.result, () if done.finished is None else done.finished.failures))


def tell_drained(done: Pass) -> None:
    """Say what a pass took away once it had drained, and how it ended unless well."""
    if done.result is not Result.APPLIED:
        tell_outcome(done)
    elif done.survey is not None:
        for change in done.survey.proposal.plan.changes:
            if change.after is None:
                tell(f"drained and removed: {change.key}")


def view_of(survey: Survey) -> DirectorPlan:
    """Return a survey as reports show it."""
    return director_plan(
        survey.proposal,
        observation=survey.observation,
        applied=None if survey.applied is None else survey.applied.desired,
        ledger=survey.ledger,
        boottime=survey.boottime,
    )


def sides(survey: Survey, commit: Commit | None, path: Path) -> tuple[Side, Side]:
    """Return what a live plan goes from, and what it leads to."""
    base = Side(SideKind.LIVE, None if survey.applied is None else survey.applied.commit_id)
    if commit is None:
        return base, Side(SideKind.WORK_TREE, None, str(path))
    return base, Side(SideKind.COMMIT, commit.id, commit.subject)
