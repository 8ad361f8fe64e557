"""`gitvs health`: what the agent knows of the real servers by their checks."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.adapters.service.control_socket import send_request
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import progress, show, show_json, terminal_width
from gitvs.core.errors import ExitCode, UsageError
from gitvs.core.settings import socket_path_of
from gitvs.report.status.health_table import checked_services, health_text

_ANSWER_TIMEOUT_SECONDS = 20.0
"""As for `gitvs status`: the agent may read the kernel first."""


@click.command()
@click.argument("service", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@state_options
def health(service: str | None, as_json: bool, state_dir: Path) -> int:
    """Show every check of every real server: whether it is up, since when, and why not.

    SERVICE is one Service; without it, all are shown. The agent is asked, and must run. Nothing is
    changed. `gitvs check` runs the checks once, without an agent.

    \b
    Examples:
      gitvs health
      gitvs health web
      gitvs health --json
    """
    with progress("asking the agent"):
        status = send_request(
            socket_path_of(state_dir), {"command": "status"}, _ANSWER_TIMEOUT_SECONDS
        )
    services = checked_services(status, service)
    if as_json:
        names = ("key", "service", "health")
        show_json([{name: each[name] for name in names} for each in services])
        return ExitCode.DONE
    if not services:
        whom = "no Service" if service is None else f"no Service {service}"
        raise UsageError(f"{whom} on this director has health checks")
    show(health_text(services, terminal_width()))
    return ExitCode.DONE
