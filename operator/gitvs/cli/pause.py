"""`gitvs pause`: no new commits and no repair of drift, for a while."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.agent_request import ask_agent, for_option, why_option
from gitvs.cli.shared.options import state_options
from gitvs.core.planning.operations import HEALTH


@click.command()
@for_option("4h", "Duration; after that, the pause ends by itself.")
@click.option("--health", is_flag=True, help="Pause health too: weights stay as they are.")
@why_option
@state_options
def pause(seconds: float, health: bool, why: str, state_dir: Path) -> int:
    """Stop new commits and the repair of drift for a while, to work on this host by hand.

    Drains that are due still end, and `gitvs apply` may be used meanwhile. Real servers that are
    down still leave, and come back, unless --health is given.

    \b
    Examples:
      gitvs pause --why "moving racks"
      gitvs pause --for 30m
      gitvs pause --health --why "the checks are wrong"
    """
    subject = HEALTH if health else ""
    return ask_agent(state_dir, "pause", "pausing", seconds=seconds, why=why, subject=subject)
