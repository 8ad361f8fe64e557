"""Commands that need manifests alone: no kernel, no store, no network."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import assert_never

import click

from gitvs import __version__
from gitvs.cli.director import choose_director, director_option
from gitvs.cli.loading import load_manifests, path_argument, rev_option
from gitvs.cli.options import common_options
from gitvs.cli.output import show_json
from gitvs.core.errors import ExitCode, UsageError
from gitvs.core.explain import did_you_mean
from gitvs.core.manifests import Manifests
from gitvs.core.model import Desired
from gitvs.core.problems import InvalidManifests, Problem
from gitvs.core.render import render as render_state
from gitvs.core.schema import KINDS, schema_for
from gitvs.report.ip_commands import ip_commands
from gitvs.report.ipvsadm import ipvsadm_lines
from gitvs.report.problems import ProblemFormat, counted, report_problems
from gitvs.report.real_server import real_server_commands
from gitvs.report.state_document import desired_document, yaml_of

SCHEMAS = (
    *("Manifest", *KINDS),
    *("Plan", "Observation", "Status", "History", "Transaction", "Settings"),
)


class RenderFormat(StrEnum):
    YAML = "yaml"
    JSON = "json"
    IPVSADM = "ipvsadm"
    IP = "ip"


@click.command()
@path_argument
@rev_option
@click.option(
    "--format",
    "form",
    type=click.Choice([str(f) for f in ProblemFormat]),
    default=str(ProblemFormat.TEXT),
    show_default=True,
    help="github: annotations; gitlab: code quality; sarif: code scanning.",
)
@common_options
def validate(path: Path, rev: str | None, form: str) -> int:
    """Report every problem in the manifests of a folder, or count what is there.

    PATH is the folder, by default the one you are in. Needs no director, kernel or network.
    Exits with 4 if there are problems.

    \b
    Examples:
      gitvs validate
      gitvs validate manifests --rev origin/main
      gitvs validate --format github            in a workflow: annotations in the diff
      gitvs validate --format sarif > gitvs.sarif
    """
    chosen = ProblemFormat(form)
    try:
        manifests = load_manifests(path, rev).manifests
    except InvalidManifests as error:
        _write_problems(error.problems, chosen, path)
        click.echo(f"gitvs: {counted(len(error.problems), 'problem')}", err=True)
        return error.exit_code
    if chosen is ProblemFormat.TEXT:
        click.echo(_counts(manifests))
    else:
        _write_problems((), chosen, path)
    return ExitCode.DONE


def _write_problems(problems: tuple[Problem, ...], form: ProblemFormat, path: Path) -> None:
    """Problems are the result of `validate`, so they go to standard output.

    Forges want paths from the root of the repository, where their jobs run.
    """
    folder = os.path.relpath(path)
    prefix = "" if folder == "." or folder.startswith("..") else folder
    sys.stdout.write(report_problems(problems, form, prefix=prefix, version=__version__))


def _counts(manifests: Manifests) -> str:
    counts = (
        counted(len(manifests.directors), "director"),
        counted(len(manifests.services), "service"),
        counted(len(manifests.pools), "pool"),
    )
    return f"no problems: {', '.join(counts)}"


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
    """Show what a director should have, all defaults and selectors worked out.

    PATH is the folder of manifests, by default the one you are in. The ipvsadm format has
    the order and spelling of `ipvsadm -Sn`, and thresholds, which that leaves out.

    With --real-server it is what a real server needs, to be run there: the VIPs and ARP
    settings of direct routing, the devices of tunnels, and what must listen.

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
        names = sorted(manifests.directors) if director is None else [director]
        _write_set_up([render_state(manifests, name) for name in names], real_server, form)
        return ExitCode.DONE
    desired = render_state(manifests, choose_director(director, manifests.directors))
    _write_state(desired, RenderFormat(form))
    return ExitCode.DONE


def _write_set_up(states: Sequence[Desired], real_server: str, form: str) -> None:
    if form != RenderFormat.YAML:
        raise UsageError("--format is nothing for --real-server, which prints shell commands")
    try:
        address = ip_address(real_server)
    except ValueError:
        raise UsageError(f"--real-server takes an IP address, not {real_server}") from None
    sys.stdout.writelines(f"{text}\n" for text in list(real_server_commands(states, address)))


def _write_state(desired: Desired, form: RenderFormat) -> None:
    match form:
        case RenderFormat.YAML:
            sys.stdout.write(yaml_of(desired_document(desired)))
        case RenderFormat.JSON:
            show_json(desired_document(desired))
        case RenderFormat.IPVSADM:
            sys.stdout.writelines(f"{text}\n" for text in ipvsadm_lines(desired.state))
        case RenderFormat.IP:
            sys.stdout.writelines(f"{text}\n" for text in ip_commands(desired.state))
        case _:
            assert_never(form)


@click.command()
@click.argument("kind", required=False)
@common_options
def schema(kind: str | None) -> int:
    """Print the JSON Schema of a kind of document; without KIND, list the kinds.

    Editors complete and explain manifests with it. Manifest is for documents of any kind,
    many to a file.

    \b
    Examples:
      gitvs schema
      gitvs schema Manifest > .manifest.schema.json
      gitvs schema Plan                         what `gitvs plan --format json` prints
    """
    if kind is None:
        click.echo("\n".join(SCHEMAS))
    else:
        show_json(schema_for(_known_kind(kind)))
    return ExitCode.DONE


def _known_kind(kind: str) -> str:
    for known in SCHEMAS:
        if known.lower() == kind.lower():
            return known
    hint = did_you_mean(kind, SCHEMAS) or f"; there are {', '.join(SCHEMAS)}"
    raise UsageError(f"{kind} is no kind of document{hint}")
