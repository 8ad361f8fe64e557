"""`gitvs install`: installs the service files of this host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from gitvs.adapters.service import systemctl
from gitvs.adapters.service.installation import (
    DEFAULT_PROGRAM,
    SETTINGS_PATH,
    FileAction,
    InstallationStep,
    apply_step,
    check_program,
    plan_installation,
    running_program,
    write_sample_settings,
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
@click.option(
    "--program",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The gitvs program that the units run.  [default: this one; with --root"
    f" {DEFAULT_PROGRAM}]",
)
@click.option("--no-enable", is_flag=True, help="Do not enable the start at boot.")
@installation_options
@common_options
def install(
    root: Path, program: Path | None, yes: bool, dry_run: bool, no_enable: bool, force: bool
) -> int:
    """Make gitvs a service of this host: systemd units, users, folders, a sample of settings.

    It shows what it will do, and asks. Nothing is started. Files of an earlier gitvs are updated;
    files that you edited are not overwritten. Run it again after an upgrade.

    \b
    Examples:
      gitvs install --dry-run                        only look
      gitvs install --yes                            for scripts
      gitvs install --root build --program /usr/bin/gitvs    for packages
    """
    is_host = root == HOST_ROOT
    if is_host:
        require_root()
        systemctl.require_tools()
    steps = plan_installation(root, _choose_program(program, is_host=is_host), force=force)
    if not os.path.lexists(root / SETTINGS_PATH):
        steps.append(InstallationStep(FileAction.CREATE, root / SETTINGS_PATH))
    is_set_up = not is_host or systemctl.is_set_up(enable=not no_enable)
    if not confirm_steps(steps, "Do this?", yes=yes, dry_run=dry_run, is_set_up=is_set_up):
        return ExitCode.DONE
    for step in steps:
        if step.content:
            apply_step(step)
    if is_host:
        systemctl.set_up(enable=not no_enable)
    group = systemctl.group_id(systemctl.AGENT_GROUP) if is_host else None
    is_new = write_sample_settings(root / SETTINGS_PATH, group)
    if is_host:
        _report_next_step(is_new=is_new)
    return ExitCode.DONE


def _choose_program(option_value: Path | None, *, is_host: bool) -> Path:
    if not is_host:
        return option_value or DEFAULT_PROGRAM
    if option_value is None:
        return running_program(sys.argv[0])
    check_program(option_value)
    return option_value


def _report_next_step(*, is_new: bool) -> None:
    if systemctl.is_agent_active():
        show_message(
            "installed. `systemctl restart gitvs` runs this version; no connection is touched"
        )
        return
    settings = HOST_ROOT / SETTINGS_PATH
    what = f"set the repository to follow in {settings}" if is_new else f"check {settings}"
    show_message(
        f"installed, and not started. Next: {what}; add the people who may run `gitvs status` and"
        f" its like to the group {systemctl.ADMIN_GROUP}; then `systemctl start gitvs`"
    )
