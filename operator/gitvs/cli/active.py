"""`gitvs active`: binds this director's VIPs again."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.agent_request import ask_agent
from gitvs.cli.shared.options import state_options


@click.command()
@state_options
def active(state_dir: Path) -> int:
    """Bind this director's VIPs and local routes again.

    \b
    Examples:
      gitvs active
    """
    return ask_agent(state_dir, "active", "binding")
