"""`gitvs rollback`: goes back to an earlier commit."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.agent_request import ask_agent, for_option, why_option
from gitvs.cli.shared.choices import allow_option
from gitvs.cli.shared.options import state_options


@click.command()
@click.argument("commit", default="")
@for_option("24h", "How long the commit stays pinned; after that, newer commits are applied.")
@allow_option
@why_option
@state_options
def rollback(commit: str, seconds: float, allow: tuple[str, ...], why: str, state_dir: Path) -> int:
    """Go back to COMMIT, and stay there; by default to the last commit that was different here.

    The applied and the newest commit go into quarantine. They are not applied again, even after the
    time is over: only newer commits are.

    \b
    Examples:
      gitvs rollback --why "502s since noon"
      gitvs rollback 4f2a91c0 --for 2h
    """
    return ask_agent(
        state_dir,
        "rollback",
        "going back",
        subject=commit,
        seconds=seconds,
        allow=list(allow),
        why=why,
    )
