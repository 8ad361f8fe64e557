"""`gitvs install` and `gitvs uninstall`: the service files of this host."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gitvs.adapters import service_manager
from gitvs.adapters.installation import (
    PROGRAM,
    SETTINGS,
    Action,
    InstallationError,
    Step,
    carry_out,
    check_program,
    plan_installation,
    plan_removal,
    running_program,
    write_sample_settings,
)
from gitvs.cli.options import common_options
from gitvs.cli.output import show, tell
from gitvs.core.errors import ExitCode, UsageError
from gitvs.report.problems import counted

F = TypeVar("F", bound=Callable[..., Any])

HOST = Path("/")


def _shared_options(function: F) -> F:
    for option in (
        click.option(
            "--force", is_flag=True, help="Also files that were edited by hand; the edits are lost."
        ),
        click.option("--dry-run", is_flag=True, help="Only show what would be done."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option(
            "--root",
            type=click.Path(file_okay=False, path_type=Path),
            default=HOST,
            metavar="DIR",
            help="Another root than this host's, to make a package or an image: files alone.",
        ),
    ):
        function = option(function)
    return function


@click.command()
@click.option(
    "--program",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help=f"The gitvs that the units run.  [default: this one; with --root {PROGRAM}]",
)
@click.option("--no-enable", is_flag=True, help="Leave it to you whether it starts at boot.")
@_shared_options
@common_options
def install(
    root: Path, program: Path | None, yes: bool, dry_run: bool, no_enable: bool, force: bool
) -> int:
    """Make gitvs a service of this host: systemd units, users, folders, a sample of settings.

    It shows what it will do, and asks. Nothing is started. What an earlier gitvs installed
    is brought up to date; what you edited is left alone. Run it again after an upgrade.

    \b
    Examples:
      gitvs install --dry-run                        only look
      gitvs install --yes                            for scripts
      gitvs install --root build --program /usr/bin/gitvs    for packages
    """
    is_host = root == HOST
    if is_host:
        _require_root()
        service_manager.require_tools()
    steps = plan_installation(root, _program(program, is_host=is_host), force=force)
    if not os.path.lexists(root / SETTINGS):
        steps.append(Step(Action.CREATE, root / SETTINGS))
    is_set_up = not is_host or service_manager.is_set_up(enable=not no_enable)
    if not _is_wanted(steps, "Do this?", yes=yes, dry_run=dry_run, is_done=is_set_up):
        return ExitCode.DONE
    for step in steps:
        if step.text:
            carry_out(step)
    if is_host:
        service_manager.set_up(enable=not no_enable)
    group = service_manager.group_id(service_manager.GROUP) if is_host else None
    is_new = write_sample_settings(root / SETTINGS, group)
    if is_host:
        _tell_what_comes_next(is_new=is_new)
    return ExitCode.DONE


@click.command()
@_shared_options
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
    is_host = root == HOST
    if is_host:
        _require_root()
    steps = plan_removal(root, force=force)
    if not _is_wanted(steps, "Remove these?", yes=yes, dry_run=dry_run, is_done=True):
        return ExitCode.DONE
    if is_host:
        service_manager.require_tools()
        service_manager.stop_and_disable()
    for step in steps:
        carry_out(step)
    if is_host:
        service_manager.forget_units()
        _tell_what_is_left()
    return ExitCode.DONE


def _require_root() -> None:
    if os.geteuid() != 0:
        raise InstallationError("this takes root; run it with sudo. Nothing was changed")


def _program(given: Path | None, *, is_host: bool) -> Path:
    if not is_host:
        return given or PROGRAM
    if given is None:
        return running_program(sys.argv[0])
    check_program(given)
    return given


def _show(steps: Sequence[Step]) -> None:
    width = max((len(step.action) for step in steps), default=0)
    for step in steps:
        show(f"{step.action:{width}}  {step.path}\n")
    kept = sum(step.action is Action.KEEP for step in steps)
    if kept:
        tell(
            f"gitvs: {counted(kept, 'file')} edited by hand and left alone; --force goes over the"
            " edits. A drop-in (`systemctl edit gitvs`) needs no such care"
        )


def _is_wanted(
    steps: Sequence[Step], question: str, *, yes: bool, dry_run: bool, is_done: bool
) -> bool:
    """Show what would be done, and return whether to do it."""
    _show(steps)
    if is_done and not any(step.is_change for step in steps):
        show("nothing to do\n")
        return False
    if dry_run or yes:
        return not dry_run
    if not sys.stdin.isatty():
        raise UsageError("nobody to ask here: say --yes to do this. Nothing was changed")
    return click.confirm(question, err=True)


def _tell_what_comes_next(*, is_new: bool) -> None:
    if service_manager.is_agent_active():
        tell("installed. `systemctl restart gitvs` runs this version; no connection is touched")
        return
    settings = HOST / SETTINGS
    what = f"say in {settings} which repository to follow" if is_new else f"look over {settings}"
    tell(
        f"installed, and not started. Next: {what}; add the people who may run `gitvs status` and"
        f" its like to the group {service_manager.ADMIN_GROUP}; then `systemctl start gitvs`"
    )


def _tell_what_is_left() -> None:
    tell(
        "uninstalled. What gitvs made in the kernel is still there and works; `gitvs teardown`"
        " removes it. Then, to leave nothing: rm -r /etc/gitvs /var/lib/gitvs /run/gitvs;"
        " userdel gitvs; groupdel gitvs-admin"
    )
