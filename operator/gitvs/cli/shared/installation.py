"""What `gitvs install` and `gitvs uninstall` share: options, and asking before files change."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gitvs.adapters.service.installation import (
    FileAction,
    InstallationError,
    InstallationStep,
)
from gitvs.cli.shared.output import show, show_message
from gitvs.core.errors import UsageError
from gitvs.report.text.counts import count_text

F = TypeVar("F", bound=Callable[..., Any])

HOST_ROOT = Path("/")


def installation_options(function: F) -> F:
    for option in (
        click.option(
            "--force", is_flag=True, help="Also files that were edited by hand; the edits are lost."
        ),
        click.option("--dry-run", is_flag=True, help="Only show what would be done."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option(
            "--root",
            type=click.Path(file_okay=False, path_type=Path),
            default=HOST_ROOT,
            metavar="DIR",
            help="Write only the files, below this folder instead of /, to make a package"
            " or an image.",
        ),
    ):
        function = option(function)
    return function


def require_root() -> None:
    if os.geteuid() != 0:
        raise InstallationError("this needs root; run it with sudo. Nothing was changed")


def _show_steps(steps: Sequence[InstallationStep]) -> None:
    width = max((len(step.action) for step in steps), default=0)
    for step in steps:
        show(f"{step.action:{width}}  {step.path}\n")
    kept_count = sum(step.action is FileAction.KEEP for step in steps)
    if kept_count:
        show_message(
            f"gitvs: {count_text(kept_count, 'file')} edited by hand and not"
            " overwritten; --force overwrites the edits. A drop-in (`systemctl edit"
            " gitvs`) is never overwritten"
        )


def confirm_steps(
    steps: Sequence[InstallationStep], question: str, *, yes: bool, dry_run: bool, is_set_up: bool
) -> bool:
    """Show what would be done, and return whether to do it."""
    _show_steps(steps)
    if is_set_up and not any(step.is_change for step in steps):
        show("nothing to do\n")
        return False
    if dry_run or yes:
        return not dry_run
    if not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask for confirmation: use --yes to do"
            " this. Nothing was changed"
        )
    return click.confirm(question, err=True)
