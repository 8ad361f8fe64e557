"""`gitvs restore`: what was applied, early at boot, without Git and network."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from gitvs.adapters.service.settings_file import load_settings
from gitvs.cli.shared.host import writer
from gitvs.cli.shared.options import config_option, state_dir_of, state_options
from gitvs.cli.shared.output import tell
from gitvs.cli.shared.pass_output import show_plan, tell_outcome
from gitvs.core.errors import ExitCode
from gitvs.reconcile.one_pass import out_of_date
from gitvs.reconcile.one_pass import restore as bring_back


@click.command()
@config_option
@state_options
@click.pass_context
def restore(context: click.Context, config: Path, state_dir: Path) -> int:
    """Bring back what was applied before the reboot, from the records of this host alone.

    Not what other interfaces are needed for, and not after a long down time (the setting
    restore.max_downtime, 24h by default): then the agent fetches first. `gitvs-restore.service`
    calls it; once anything was applied since the boot, it does nothing.

    \b
    Examples:
      gitvs restore
    """
    settings = load_settings(config)
    longest = timedelta(seconds=settings.max_downtime_seconds)
    with writer(state_dir_of(context, settings, state_dir)) as ports:
        if reason := out_of_date(ports, longest):
            tell(f"gitvs: nothing restored: {reason}")
            return ExitCode.DONE
        done = bring_back(ports)
        if done is None:
            tell("gitvs: nothing to restore")
            return ExitCode.DONE
        applied = ports.store.applied()
    show_plan(done, None if applied is None else applied.commit, Path())
    tell_outcome(done)
    return done.result.exit_code
