"""`gitvs undrain`: ends a drain by hand."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.agent_request import ask_agent
from gitvs.cli.shared.completion import drained_servers
from gitvs.cli.shared.options import state_options


@click.command()
@click.argument("server", shell_complete=drained_servers)
@click.option("--service", default="", metavar="NAME", help="Only in this Service.")
@state_options
def undrain(server: str, service: str, state_dir: Path) -> int:
    """Give a real server that was drained by hand back what Git says.

    \b
    Examples:
      gitvs undrain web2
    """
    return ask_agent(state_dir, "undrain", "one pass", subject=server, service=service)
