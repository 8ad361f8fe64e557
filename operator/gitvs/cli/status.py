"""`gitvs status`: how this director is doing, by its agent's word or by our own look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from gitvs.adapters.service.control import ask
from gitvs.agent.reporting import status_of
from gitvs.cli.shared.host import look_around, reader
from gitvs.cli.shared.in_child_process import apart
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import progress, show, show_json, watch
from gitvs.core.errors import AgentSilent, AgentUnreachable, ExitCode, UsageError
from gitvs.core.settings import socket_of
from gitvs.core.status.agent_status import Status
from gitvs.core.status.services import last_of
from gitvs.reconcile.transaction import Ports
from gitvs.report.status.status_json import status_document
from gitvs.report.status.status_text import status_text

ANSWER_SECONDS = 20.0
"""How long the agent may take: it answers from memory, but may be asked to look anew first."""

DEFAULT_WATCH_SECONDS = 2.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs; `gitvs schema Status`.")
@click.option(
    "--watch",
    "every_seconds",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=DEFAULT_WATCH_SECONDS,
    metavar="[SECONDS]",
    help=f"Show it again and again, by default every {DEFAULT_WATCH_SECONDS:g} s; Ctrl-C ends it.",
)
@click.option("--all", "show_all", is_flag=True, help="Every virtual service and real server.")
@state_options
def status(as_json: bool, every_seconds: float | None, show_all: bool, state_dir: Path) -> int:
    """Show how this director is doing: what is in force, since when, and what stands against more.

    The agent is asked; where none runs, store and kernel are read. Nothing is changed.

    \b
    Examples:
      gitvs status
      gitvs status --watch
      gitvs status --json
    """
    if as_json and every_seconds is not None:
        raise UsageError("--json and --watch do not go together")
    if every_seconds is not None:
        return _watch(state_dir, every_seconds, show_all)
    with progress("asking the agent"):
        document = look(state_dir)
    if as_json:
        show_json(document)
    else:
        show(_text_of(document, show_all))
    return ExitCode.DONE


def look(state_dir: Path) -> Mapping[str, Any]:
    """Return the status document, from the agent or, where none runs, from our own look.

    Raises:
        AgentSilent: one may run, so that our own word on it would be wrong.
    """
    return _asked(state_dir) or _looked(state_dir)


def _asked(state_dir: Path) -> Mapping[str, Any] | None:
    try:
        document: Mapping[str, Any] = ask(
            socket_of(state_dir), {"command": "status"}, ANSWER_SECONDS
        )
    except AgentSilent:
        raise
    except AgentUnreachable:
        return None
    return document


def _looked(state_dir: Path) -> Mapping[str, Any]:
    with reader(state_dir) as ports:
        return status_document(_own_look(ports))


def _own_look(ports: Ports) -> Status:
    found = status_of(ports, look_around(ports).observation)
    newest = ports.store.history(limit=1)
    return replace(found, last=last_of(newest[0])) if newest else found


def _text_of(document: Mapping[str, Any], show_all: bool) -> Text:
    return status_text(document, datetime.now(UTC), show_all=show_all)


def _watch(state_dir: Path, every_seconds: float, show_all: bool) -> int:
    try:
        watch(partial(_look_again, state_dir, show_all), every_seconds)
    except KeyboardInterrupt:
        return ExitCode.DONE  # it was asked to end, and nothing was under way
    return ExitCode.DONE


def _look_again(state_dir: Path, show_all: bool) -> Text:
    document = _asked(state_dir) or apart(partial(_looked, state_dir))
    return _text_of(document, show_all)
