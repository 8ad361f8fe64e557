"""`gitvs sync`: fetches now."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.agent_request import ask_agent
from gitvs.cli.shared.options import state_options


@click.command()
@click.option(
    "--retry",
    is_flag=True,
    help="Try again what failed: quarantined commits, and those that were not read.",
)
@state_options
def sync(retry: bool, state_dir: Path) -> int:
    """Fetch now, and bring this host to the newest commit; waits for the end of that.

    \b
    Examples:
      gitvs sync
      gitvs sync --retry      a commit that failed is tried again
    """
    return ask_agent(state_dir, "sync", "fetching, one pass", retry=retry)
