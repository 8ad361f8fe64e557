"""Which director a command is about, and which gates it lifts: `--director` and `--allow`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import click

from gitvs.cli.shared.completion import directors
from gitvs.core.errors import UnknownDirector
from gitvs.core.planning.gates import LIFTABLE_GATES

F = TypeVar("F", bound=Callable[..., Any])


def director_option(function: F) -> F:
    """Add `--director`, passed on as `director: str | None`; `choose_director` adds the default."""
    return click.option(
        "--director",
        metavar="NAME",
        shell_complete=directors,
        help="The director to look at.  [default: this host's name, short or full]",
    )(function)


def choose_director(named: str | None, known: Collection[str]) -> str:
    """Return the chosen director; rendering checks whether a named one is known.

    Raises:
        UnknownDirector: none was named, and no Director document has this host's name; capital
            letters make no difference there, as in DNS.
    """
    if named is not None:
        return named
    names = _host_names()
    by_folded_name = {director.lower(): director for director in sorted(known, reverse=True)}
    for name in names:
        if name in known:
            return name
        if (director := by_folded_name.get(name.lower())) is not None:
            return director
    listed = ", ".join(sorted(known)[:8]) + (", …" if len(known) > 8 else "")
    those = f"known: {listed}" if known else "the manifests have no Director document"
    raise UnknownDirector(
        f"no Director document is named as this host, {' or '.join(names)}; name one with"
        f" --director, or for an agent with `director` in its settings ({those})"
    )


def _host_names() -> list[str]:
    """Return this host's name as it is set, and without its domain."""
    name = socket.gethostname()
    return list(dict.fromkeys((name, name.partition(".")[0])))


def allow_option(function: F) -> F:
    """Add `--allow`, passed on as `allow: tuple[str, ...]`."""
    return click.option(
        "--allow",
        multiple=True,
        type=click.Choice(LIFTABLE_GATES),
        metavar="GATE",
        help=f"Lift a gate this once: {', '.join(LIFTABLE_GATES)}.",
    )(function)
