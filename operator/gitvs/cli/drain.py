"""`gitvs drain`: takes a real server out of every service at once."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.agent_request import ask_agent, for_option, why_option
from gitvs.cli.shared.completion import real_servers
from gitvs.cli.shared.options import state_options


@click.command()
@click.argument("server", shell_complete=real_servers)
@click.option("--service", default="", metavar="NAME", help="Only in this Service.")
@click.option("--now", is_flag=True, help="Remove it at once, and cut its connections.")
@for_option(None, "Duration; by default until `gitvs undrain`.")
@why_option
@state_options
def drain(
    server: str, service: str, now: bool, seconds: float | None, why: str, state_dir: Path
) -> int:
    """Take a real server out of every service, with or without a connection to Git.

    SERVER is its address, its address and port, or its name. It gets no new connections until
    `gitvs undrain`, or until the manifests set its weight to 0 or remove it.

    \b
    Examples:
      gitvs drain web2 --why "disk errors"
      gitvs drain 10.0.3.5:8443 --service web --for 1h
      gitvs drain 10.0.3.5 --now
    """
    return ask_agent(
        state_dir,
        "drain",
        "draining",
        subject=server,
        service=service,
        now=now,
        seconds=seconds,
        why=why,
    )
