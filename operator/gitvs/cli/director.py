"""Which director is meant: the one that `--director` names, or the host under us."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Any, TypeVar

import click

from gitvs.core.errors import UnknownDirector

F = TypeVar("F", bound=Callable[..., Any])


def director_option(function: F) -> F:
    """Add `--director`, passed on as `director: str | None`; `choose_director` makes it one."""
    return click.option(
        "--director",
        metavar="NAME",
        help="The director to look at.  [default: this host's name, short or full]",
    )(function)


def choose_director(wanted: str | None, known: Collection[str]) -> str:
    """Return the name of a director that has a document.

    Raises:
        UnknownDirector: there is none of that name, or of this host's.
    """
    if wanted is not None:
        if wanted in known:
            return wanted
        raise UnknownDirector(f"no Director document is named {wanted}; {_hint(wanted, known)}")
    names = _host_names()
    for name in names:
        if name in known:
            return name
    raise UnknownDirector(
        f"no Director document is named as this host, {' or '.join(names)};"
        f" {_hint(names[0], known)}:"
        " name one with --director"
    )


def _host_names() -> list[str]:
    """This host's name as it is set, and without its domain."""
    name = socket.gethostname()
    return list(dict.fromkeys((name, name.partition(".")[0])))


def _hint(name: str, known: Collection[str]) -> str:
    if not known:
        return "there is none at all"
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"there are {_listed(sorted(known))}"


def _listed(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
