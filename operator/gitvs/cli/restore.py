"""`gitvs restore`: brings back what was applied, early at boot, without Git and network."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from gitvs.adapters.service.settings_file import load_settings
from gitvs.cli.shared.host import open_for_writing
from gitvs.cli.shared.options import choose_state_dir, config_option, state_options
from gitvs.cli.shared.output import show_message
from gitvs.cli.shared.pass_output import report_pass
from gitvs.core.errors import ExitCode
from gitvs.reconcile.restore import outdated_reason
from gitvs.reconcile.restore import restore as bring_back
from gitvs.report.plan.plan_view import summary_of, summary_text


@click.command()
@config_option
@state_options
@click.pass_context
def restore(context: click.Context, config: Path, state_dir: Path) -> int:
    """Restore what was applied before the reboot, from the records of this host alone.

    It omits objects that need other interfaces. After a long downtime (setting
    restore.max_downtime, 24h by default) it restores nothing: then the agent fetches first.
    `gitvs-restore.service` calls it; if anything was applied since the boot, it does nothing.
    `gitvs history show` has each change.

    \b
    Examples:
      gitvs restore
    """
    settings = load_settings(config)
    max_downtime = timedelta(seconds=settings.max_downtime_seconds)
    with open_for_writing(choose_state_dir(context, settings, state_dir)) as ports:
        if reason := outdated_reason(ports, max_downtime):
            show_message(f"gitvs: nothing restored: {reason}")
            return ExitCode.DONE
        pass_result = bring_back(ports)
        if pass_result is None:
            show_message("gitvs: nothing to restore")
            return ExitCode.DONE
        applied = ports.store.applied()
    if pass_result.planned is not None:
        # The whole plan of 10,000 services would take longer than to apply it.
        changes = summary_text(summary_of(pass_result.planned.proposal.plan.changes))
        commit = None if applied is None else applied.commit_id
        show_message(
            f"{'what was applied' if commit is None else f'commit {commit[:12]}'}: {changes}"
        )
    report_pass(pass_result)
    return pass_result.exit_code
