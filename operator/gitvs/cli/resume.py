"""`gitvs resume`: ends a pause or a pin."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.agent_request import ask_agent
from gitvs.cli.shared.options import state_options


@click.command()
@state_options
def resume(state_dir: Path) -> int:
    """End a pause, and the pin of a rollback.

    The commits that a rollback put into quarantine are not applied again: only newer commits are.
    `gitvs sync --retry` tries them again.

    \b
    Examples:
      gitvs resume
    """
    return ask_agent(state_dir, "resume", "one pass")
