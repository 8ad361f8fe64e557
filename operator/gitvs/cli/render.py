"""`gitvs render`: what a director should have, worked out from the manifests alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import assert_never

import click

from gitvs.cli.shared.choices import choose_director, director_option
from gitvs.cli.shared.manifest_input import load_manifests, path_argument, rev_option
from gitvs.cli.shared.options import common_options
from gitvs.cli.shared.output import show_json
from gitvs.core.errors import ExitCode, UsageError
from gitvs.core.manifests.render import render_director as render_state
from gitvs.core.model.desired import Desired
from gitvs.report.host.ip_commands import ip_commands
from gitvs.report.host.ipvsadm import ipvsadm_lines
from gitvs.report.host.real_server import real_server_commands
from gitvs.report.host.state_json import desired_json, yaml_text


class RenderFormat(StrEnum):
    YAML = "yaml"
    JSON = "json"
    IPVSADM = "ipvsadm"
    IP = "ip"


@click.command()
@path_argument
@director_option
@rev_option
@click.option(
    "--format",
    "form",
    type=click.Choice([str(f) for f in RenderFormat]),
    default=str(RenderFormat.YAML),
    show_default=True,
    help="ipvsadm: lines for `ipvsadm -R`; ip: the commands for addresses and routes.",
)
@click.option(
    "--real-server",
    metavar="ADDRESS",
    help="Print the set-up of this real server instead, as shell commands; for all directors,"
    " unless --director names one.",
)
@common_options
def render(
    path: Path, director: str | None, rev: str | None, form: str, real_server: str | None
) -> int:
    """Show what a director should have, with all defaults and selectors resolved.

    PATH is the folder of manifests, by default the current folder. The ipvsadm format has the order
    and spelling of `ipvsadm -Sn`, and also thresholds, which `ipvsadm -Sn` omits.

    With --real-server it prints the commands to run on a real server: the VIPs and ARP settings for
    direct routing, the devices of tunnels, and which ports must listen.

    \b
    Examples:
      gitvs render --director lb1
      gitvs render manifests --director lb1 --rev v1.2 --format json
      diff <(gitvs render --director lb1 --format ipvsadm) <(ipvsadm -Sn)
      gitvs render --director lb1 --format ip
      gitvs render --real-server 10.0.3.5 > set-up.sh
    """
    manifests = load_manifests(path, rev).manifests
    if real_server is not None:
        names = sorted(manifests.director_names) if director is None else [director]
        _write_server_setup([render_state(manifests, name) for name in names], real_server, form)
        return ExitCode.DONE
    desired = render_state(manifests, choose_director(director, manifests.director_names))
    _write_state(desired, RenderFormat(form))
    return ExitCode.DONE


def _write_server_setup(desired_states: Sequence[Desired], real_server: str, form: str) -> None:
    if form != RenderFormat.YAML:
        raise UsageError("--format cannot be used with --real-server, which prints shell commands")
    try:
        address = ip_address(real_server)
    except ValueError:
        raise UsageError(f"--real-server takes an IP address, not {real_server}") from None
    sys.stdout.writelines(
        f"{text}\n" for text in list(real_server_commands(desired_states, address))
    )


def _write_state(desired: Desired, form: RenderFormat) -> None:
    match form:
        case RenderFormat.YAML:
            sys.stdout.write(yaml_text(desired_json(desired)))
        case RenderFormat.JSON:
            show_json(desired_json(desired))
        case RenderFormat.IPVSADM:
            sys.stdout.writelines(f"{text}\n" for text in ipvsadm_lines(desired.state))
        case RenderFormat.IP:
            sys.stdout.writelines(f"{text}\n" for text in ip_commands(desired.state))
        case _:
            assert_never(form)
