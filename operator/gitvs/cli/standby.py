"""`gitvs standby`: unbinds this director's VIPs."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.agent_request import ask_agent, for_option, why_option
from gitvs.cli.shared.options import state_options


@click.command()
@for_option(None, "Duration; by default until `gitvs active`.")
@why_option
@state_options
def standby(seconds: float | None, why: str, state_dir: Path) -> int:
    """Unbind this director's VIPs and local routes at once; its rules stay.

    Traffic has to go elsewhere already: connections through this director stall.

    \b
    Examples:
      gitvs standby --why "kernel update"
    """
    return ask_agent(state_dir, "standby", "unbinding", seconds=seconds, why=why)
