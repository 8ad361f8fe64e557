"""`gitvs accept-rewrite`: follows a branch whose history was rewritten."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.agent_request import ask_agent, why_option
from gitvs.cli.shared.options import state_options


@click.command("accept-rewrite")
@click.argument("commit")
@why_option
@state_options
def accept_rewrite(commit: str, why: str, state_dir: Path) -> int:
    """Follow a branch whose history was rewritten, from COMMIT on.

    \b
    Examples:
      gitvs accept-rewrite 4f2a91c0d3b1
    """
    return ask_agent(state_dir, "accept-rewrite", "one pass", subject=commit, why=why)
