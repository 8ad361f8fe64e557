"""`gitvs status`: how this director is doing, from its agent or from store and kernel."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from gitvs.adapters.service.control_socket import send_request
from gitvs.cli.shared.in_child_process import in_child_process
from gitvs.cli.shared.options import Seconds, state_options
from gitvs.cli.shared.output import progress, show, show_json, terminal_width, watch
from gitvs.core.errors import (
    AgentNotAnswering,
    AgentUnreachable,
    ExitCode,
    GitvsError,
    UsageError,
)
from gitvs.core.settings import socket_path_of
from gitvs.report.status.check import check_line, plugin_line, unanswered_line
from gitvs.report.status.status_text import status_text

ANSWER_TIMEOUT_SECONDS = 20.0
"""How long the agent may take: it answers from memory, but may read the kernel first."""

DEFAULT_WATCH_SECONDS = 2.0
MAX_WATCH_SECONDS = 3600.0


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="JSON for programs; `gitvs schema Status` explains it."
)
@click.option(
    "--watch",
    "every_seconds",
    type=Seconds(0.1, MAX_WATCH_SECONDS),
    is_flag=False,
    flag_value=DEFAULT_WATCH_SECONDS,
    metavar="[SECONDS]",
    help=f"Refresh the output, by default every {DEFAULT_WATCH_SECONDS:g} s; Ctrl-C ends it.",
)
@click.option(
    "--check",
    is_flag=True,
    help="One line for a monitoring system: OK, WARNING or CRITICAL; exit code 0, 1 or 2.",
)
@click.option("--all", "show_all", is_flag=True, help="Every virtual service and real server.")
@state_options
def status(
    as_json: bool, every_seconds: float | None, check: bool, show_all: bool, state_dir: Path
) -> int:
    """Show how this director is doing: what is in force, since when, and what needs attention.

    The agent is asked; where none runs, store and kernel are read. Nothing is changed.

    \b
    Examples:
      gitvs status
      gitvs status --watch
      gitvs status --json
      gitvs status --check      for Nagios, Icinga and the like

    \b
    Exit codes with --check:
      0  OK        in sync
      1  WARNING   worth a look: drift, an object that cannot be repaired, a pause, a pin,
                   a drain or standby by hand, no answer from the source for 5 minutes,
                   the newest commit not yet judged after 5 minutes, a real server that is
                   down, checks that bring no results
      2  CRITICAL  wrong: a commit is invalid, blocked, rolled back or in quarantine; stuck;
                   no answer from the source for 30 minutes, or the newest commit not yet
                   judged after as long; no agent, or no answer from it; a virtual service
                   lost its quorum or has no real server that is up
    """
    if as_json + check + (every_seconds is not None) > 1:
        raise UsageError("--json, --watch and --check cannot be combined; give one of them")
    if check:
        return _check(state_dir)
    if every_seconds is not None:
        return _watch(state_dir, every_seconds, show_all)
    with progress("asking the agent"):
        status_json = load_status_json(state_dir)
    if as_json:
        show_json(status_json)
    else:
        show(_status_text(status_json, show_all))
    return ExitCode.DONE


def _check(state_dir: Path) -> int:
    """Print one line and return its level: any error counts as critical, except a wrong usage."""
    try:
        level, text = check_line(load_status_json(state_dir), datetime.now(UTC))
    except GitvsError as error:
        level, text = unanswered_line(str(error))
    sys.stdout.write(plugin_line(text))
    return int(level)


def load_status_json(state_dir: Path) -> Mapping[str, Any]:
    """Return the status as JSON, from the agent or, if none runs, from store and kernel.

    Raises:
        AgentNotAnswering: an agent may run, so a status without it could be wrong.
    """
    return _ask_agent(state_dir) or _observed_status_json(state_dir)


def _ask_agent(state_dir: Path) -> Mapping[str, Any] | None:
    try:
        status_json: Mapping[str, Any] = send_request(
            socket_path_of(state_dir), {"command": "status"}, ANSWER_TIMEOUT_SECONDS
        )
    except AgentNotAnswering:
        raise
    except AgentUnreachable:
        return None
    return status_json


def _observed_status_json(state_dir: Path) -> Mapping[str, Any]:
    """Return the status that store and kernel show; only now are they loaded."""
    status_json: Mapping[str, Any] = import_module("gitvs.cli.shared.host").observed_status_json(
        state_dir
    )
    return status_json


def _status_text(status_json: Mapping[str, Any], show_all: bool) -> Text:
    return status_text(status_json, datetime.now(UTC), show_all=show_all, width=terminal_width())


def _watch(state_dir: Path, every_seconds: float, show_all: bool) -> int:
    try:
        watch(partial(_load_status_text, state_dir, show_all), every_seconds)
    except KeyboardInterrupt:
        return ExitCode.DONE  # the normal end: nothing was under way
    return ExitCode.DONE


def _load_status_text(state_dir: Path, show_all: bool) -> Text:
    status_json = _ask_agent(state_dir) or in_child_process(
        partial(_observed_status_json, state_dir)
    )
    return _status_text(status_json, show_all)
