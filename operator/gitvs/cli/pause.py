"""`gitvs pause`: no new commits and no repair of drift, for a while."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.agent_request import ask_agent, for_option, why_option
from gitvs.cli.shared.options import state_options


@click.command()
@for_option("4h", "Duration; after that, the pause ends by itself.")
@why_option
@state_options
def pause(seconds: float, why: str, state_dir: Path) -> int:
    """Stop new commits and the repair of drift for a while, to work on this host by hand.

    Drains that are due still end, and `gitvs apply` may be used meanwhile.

    \b
    Examples:
      gitvs pause --why "moving racks"
      gitvs pause --for 30m
    """
    return ask_agent(state_dir, "pause", "pausing", seconds=seconds, why=why)
