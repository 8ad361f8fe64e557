"""`gitvs teardown`: the one command that removes everything."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gitvs.cli.shared.host import writer
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import progress, show
from gitvs.cli.shared.pass_output import tell_outcome, view_of
from gitvs.core.errors import ExitCode, UsageError
from gitvs.reconcile.one_pass import look_at_teardown
from gitvs.reconcile.one_pass import teardown as tear_down
from gitvs.report.plan.plan_text import plan_text
from gitvs.report.plan.plan_view import Side, SideKind


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
    with writer(state_dir) as ports:
        survey = look_at_teardown(ports)
        if survey.proposal.plan:
            live, nothing = Side(SideKind.LIVE), Side(SideKind.NOTHING)
            show(plan_text(live, nothing, [view_of(survey)]))
            if not yes:
                _confirm()
        with progress("removing"):
            done = tear_down(ports)
    tell_outcome(done)
    return done.result.exit_code


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody to ask here: say --yes to remove all this. Nothing was changed")
    if not click.confirm("Remove all this, and cut its connections?", err=True):
        raise click.exceptions.Exit(ExitCode.DONE)
