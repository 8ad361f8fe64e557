"""`gitvs observe`: what this host has."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.host import observe_host, open_for_reading
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import progress, show, show_json
from gitvs.core.errors import ExitCode
from gitvs.report.host.observation_json import observation_json
from gitvs.report.host.state_text import observation_text


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@state_options
def observe(form: str, state_dir: Path) -> int:
    """Show what this host has: VIPs, local routes, IPVS rules and settings.

    Owned and foreign objects are listed separately. The JSON has everything that `gitvs plan
    --state FILE` needs to plan for this host on another host. Nothing is changed.

    \b
    Examples:
      gitvs observe
      gitvs observe --format json > lb1.json
      gitvs observe --state-dir /var/lib/gitvs-lb2
    """
    with open_for_reading(state_dir) as ports, progress("reading the kernel"):
        host_observation = observe_host(ports)
    if form == "json":
        show_json(observation_json(host_observation))
    else:
        show(observation_text(host_observation))
    return ExitCode.DONE
