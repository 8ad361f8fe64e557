"""What a person tells the agent on this host: pause, roll back, drain, and their like."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gitvs.adapters.control import ask
from gitvs.adapters.locations import socket_of
from gitvs.cli.gates import allow_option
from gitvs.cli.options import state_options
from gitvs.cli.output import progress, show, tell
from gitvs.core.durations import seconds_of
from gitvs.core.errors import ExitCode

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


@click.command()
@click.option("--retry", is_flag=True, help="Try quarantined commits again.")
@state_options
def sync(retry: bool, state_dir: Path) -> int:
    """Fetch now, and bring this host to the newest commit; waits for the end of that.

    \b
    Examples:
      gitvs sync
      gitvs sync --retry      a commit that failed is tried again
    """
    return _order(state_dir, "sync", "fetching, one pass", retry=retry)


@click.command()
@for_option("4h", "How long; it ends by itself.")
@why_option
@state_options
def pause(seconds: float, why: str, state_dir: Path) -> int:
    """Stop new commits and the repair of drift for a while, to work on this host by hand.

    Drains that are due still end, and `gitvs apply` may be used meanwhile.

    \b
    Examples:
      gitvs pause --why "moving racks"
      gitvs pause --for 30m
    """
    return _order(state_dir, "pause", "pausing", seconds=seconds, why=why)


@click.command()
@state_options
def resume(state_dir: Path) -> int:
    """End a pause, and the pin of a rollback.

    What a rollback left stays away: only newer commits come. `gitvs sync --retry` lets it back.

    \b
    Examples:
      gitvs resume
    """
    return _order(state_dir, "resume", "one pass")


@click.command()
@click.argument("commit", default="")
@for_option("24h", "How long the commit stays pinned; afterwards newer commits come.")
@allow_option
@why_option
@state_options
def rollback(commit: str, seconds: float, allow: tuple[str, ...], why: str, state_dir: Path) -> int:
    """Go back to COMMIT, by default the one applied before, and stay there.

    What it leaves does not come back by itself, also when the time is over: only newer commits do.

    \b
    Examples:
      gitvs rollback --why "502s since noon"
      gitvs rollback 4f2a91c0 --for 2h
    """
    return _order(
        state_dir,
        "rollback",
        "going back",
        subject=commit,
        seconds=seconds,
        allow=list(allow),
        why=why,
    )


@click.command()
@click.argument("server")
@click.option("--service", default="", metavar="NAME", help="In this Service alone.")
@click.option("--now", is_flag=True, help="Remove it at once, and cut its connections.")
@for_option(None, "How long; by default until `gitvs undrain`.")
@why_option
@state_options
def drain(
    server: str, service: str, now: bool, seconds: float | None, why: str, state_dir: Path
) -> int:
    """Take a real server out of every service, whether or not Git can be reached.

    SERVER is its address, its address and port, or its name. It gets no new connections until
    `gitvs undrain`, or until Git itself gives it weight 0 or no place.

    \b
    Examples:
      gitvs drain web2 --why "disk errors"
      gitvs drain 10.0.3.5:8443 --service web --for 1h
      gitvs drain 10.0.3.5 --now
    """
    return _order(
        state_dir,
        "drain",
        "draining",
        subject=server,
        service=service,
        now=now,
        seconds=seconds,
        why=why,
    )


@click.command()
@click.argument("server")
@click.option("--service", default="", metavar="NAME", help="In this Service alone.")
@state_options
def undrain(server: str, service: str, state_dir: Path) -> int:
    """Give a real server that was drained by hand back what Git says.

    \b
    Examples:
      gitvs undrain web2
    """
    return _order(state_dir, "undrain", "one pass", subject=server, service=service)


@click.command()
@for_option(None, "How long; by default until `gitvs active`.")
@why_option
@state_options
def standby(seconds: float | None, why: str, state_dir: Path) -> int:
    """Unbind this director's VIPs and local routes at once; its rules stay.

    Traffic has to go elsewhere already: connections through this director stall.

    \b
    Examples:
      gitvs standby --why "kernel update"
    """
    return _order(state_dir, "standby", "unbinding", seconds=seconds, why=why)


@click.command()
@state_options
def active(state_dir: Path) -> int:
    """Bind this director's VIPs and local routes again.

    \b
    Examples:
      gitvs active
    """
    return _order(state_dir, "active", "binding")


@click.command("accept-rewrite")
@click.argument("commit")
@why_option
@state_options
def accept_rewrite(commit: str, why: str, state_dir: Path) -> int:
    """Follow a branch whose history was rewritten, from COMMIT on.

    \b
    Examples:
      gitvs accept-rewrite 4f2a91c0d3b1
    """
    return _order(state_dir, "accept-rewrite", "one pass", subject=commit, why=why)


def _order(state_dir: Path, command: str, doing: str, **fields: Any) -> int:
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
