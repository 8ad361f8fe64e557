"""A request to the agent on this host, and the options that such commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gitvs.adapters.service.control import ask
from gitvs.cli.shared.output import progress, show, tell
from gitvs.core.durations import seconds_of
from gitvs.core.errors import ExitCode
from gitvs.core.settings import socket_of

F = TypeVar("F", bound=Callable[..., Any])


def _seconds(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> float | None:
    try:
        return None if value is None else seconds_of(value)
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
        callback=_seconds,
        default=default,
        show_default=default is not None,
        metavar="TIME",
        help=help,
    )


def send_request(state_dir: Path, command: str, doing: str, **fields: Any) -> int:
    """Send an order, and tell what became of it."""
    request = {"command": command, "for": os.environ.get("SUDO_USER", ""), **fields}
    with progress(doing):
        answer = ask(socket_of(state_dir), request)
    if text := answer.get("text"):
        show(f"{text}\n")
    for line in (*answer.get("warnings", ()), *answer.get("problems", ())):
        tell(f"gitvs: {line}")
    if answer.get("result"):
        show(f"{answer['result']}\n")
    return ExitCode(answer["exitCode"])
