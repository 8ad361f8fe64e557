"""`gitvs uninstall`: removes the service files of this host."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.adapters.service import systemctl
from gitvs.adapters.service.installation import (
    apply_step,
    plan_removal,
)
from gitvs.cli.shared.installation import (
    HOST_ROOT,
    confirm_steps,
    installation_options,
    require_root,
)
from gitvs.cli.shared.options import common_options
from gitvs.cli.shared.output import show_message
from gitvs.core.errors import ExitCode


@click.command()
@installation_options
@common_options
def uninstall(root: Path, yes: bool, dry_run: bool, force: bool) -> int:
    """Stop and disable gitvs's units, and remove the files that `gitvs install` wrote.

    Everything in the kernel stays and goes on working, and so do the settings, the records
    and the users. `gitvs teardown` before it removes what gitvs owns in the kernel.

    \b
    Examples:
      gitvs uninstall --dry-run
      gitvs uninstall --yes        after gitvs teardown, if that is meant
    """
    is_host = root == HOST_ROOT
    if is_host:
        require_root()
    steps = plan_removal(root, force=force)
    if not confirm_steps(steps, "Remove these?", yes=yes, dry_run=dry_run, is_set_up=True):
        return ExitCode.DONE
    if is_host:
        systemctl.require_tools()
        systemctl.stop_and_disable()
    for step in steps:
        apply_step(step)
    if is_host:
        systemctl.reload_after_removal()
        _report_leftovers()
    return ExitCode.DONE


def _report_leftovers() -> None:
    show_message(
        "uninstalled. What gitvs made in the kernel is still there and works; `gitvs teardown`"
        " removes it. Then, to leave nothing: rm -r /etc/gitvs /var/lib/gitvs /run/gitvs;"
        " userdel gitvs; groupdel gitvs-admin"
    )
