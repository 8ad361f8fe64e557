"""A request to the agent on this host, and the options that such commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gitvs.adapters.service.control_socket import send_request
from gitvs.cli.shared.output import progress, show, show_message
from gitvs.core.durations import parse_seconds
from gitvs.core.errors import ExitCode
from gitvs.core.settings import socket_path_of

F = TypeVar("F", bound=Callable[..., Any])


def _parse_duration(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> float | None:
    try:
        return None if value is None else parse_seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def why_option(function: F) -> F:
    """Add `--why`, passed on as `why: str`."""
    return click.option("--why", default="", metavar="TEXT", help="The reason, for others to see.")(
        function
    )


def for_option(default: str | None, help: str) -> Callable[[F], F]:
    """Add `--for`, passed on as `seconds: float | None`."""
    return click.option(
        "--for",
        "seconds",
        callback=_parse_duration,
        default=default,
        show_default=default is not None,
        metavar="TIME",
        help=help,
    )


def ask_agent(state_dir: Path, command: str, activity: str, **fields: Any) -> int:
    """Send a request, show the answer, and return its exit code."""
    request = {"command": command, "for": os.environ.get("SUDO_USER", ""), **fields}
    with progress(activity):
        answer = send_request(socket_path_of(state_dir), request)
    if text := answer.get("text"):
        show(f"{text}\n")
    for line in (*answer.get("warnings", ()), *answer.get("problems", ())):
        show_message(f"gitvs: {line}")
    return ExitCode(answer["exitCode"])
