"""`gitvs observe`: what this host has."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.cli.shared.host import look_around, reader
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import progress, show, show_json
from gitvs.core.errors import ExitCode
from gitvs.report.host.observation_json import observation_document
from gitvs.report.host.state_text import state_text


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@state_options
def observe(form: str, state_dir: Path) -> int:
    """Show what this host has: VIPs, local routes, IPVS rules and settings.

    What gitvs owns and what is foreign stand apart. The JSON holds everything that
    `gitvs plan --state FILE` needs to plan for this host on another. Nothing is changed.

    \b
    Examples:
      gitvs observe
      gitvs observe --format json > lb1.json
      gitvs observe --state-dir /var/lib/gitvs-lb2
    """
    with reader(state_dir) as ports, progress("reading the kernel"):
        seen = look_around(ports)
    if form == "json":
        show_json(observation_document(seen))
    else:
        show(state_text(seen))
    return ExitCode.DONE
