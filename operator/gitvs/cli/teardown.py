"""`gitvs teardown`: removes everything that gitvs owns."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gitvs.cli.shared.host import open_for_writing
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import progress, show
from gitvs.cli.shared.pass_output import planned_view, report_pass
from gitvs.core.errors import ExitCode, UsageError
from gitvs.reconcile.teardown import plan_teardown
from gitvs.reconcile.teardown import teardown as tear_down
from gitvs.report.plan.plan_text import plan_text
from gitvs.report.plan.plan_view import PlanSide, PlanSideKind


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_options
def teardown(yes: bool, state_dir: Path) -> int:
    """Remove every VIP, route and IPVS rule that gitvs owns, at once; connections are cut.

    Settings go back to what they were before gitvs. What is not gitvs's stays.

    \b
    Examples:
      gitvs teardown          show what would go, and ask
      gitvs teardown --yes    for scripts
    """
    with open_for_writing(state_dir) as ports:
        planned = plan_teardown(ports)
        if planned.proposal.plan:
            host_side, nothing_side = PlanSide(PlanSideKind.LIVE), PlanSide(PlanSideKind.NOTHING)
            show(plan_text(host_side, nothing_side, [planned_view(planned)]))
            if not yes:
                _confirm()
        with progress("removing"):
            pass_result = tear_down(ports)
    report_pass(pass_result)
    return pass_result.outcome.exit_code


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask for confirmation: use --yes to remove"
            " all this. Nothing was changed"
        )
    if not click.confirm("Remove all this, and cut its connections?", err=True):
        raise click.exceptions.Exit(ExitCode.DONE)
