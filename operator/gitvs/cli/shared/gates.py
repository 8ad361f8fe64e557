"""Which gates a person lifts, with `--allow` or in commit messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from gitvs.cli.shared.output import tell
from gitvs.core.planning.gates import LIFTABLE, allowed_gates, unknown_gates

F = TypeVar("F", bound=Callable[..., Any])


def allow_option(function: F) -> F:
    """Add `--allow`, passed on as `allow: tuple[str, ...]`."""
    return click.option(
        "--allow",
        multiple=True,
        type=click.Choice(LIFTABLE),
        metavar="GATE",
        help=f"Lift a gate this once: {', '.join(LIFTABLE)}.",
    )(function)


def lifted(allow: Iterable[str], messages: Iterable[str], director: str) -> frozenset[str]:
    """Return the gates that options and commit messages lift; tell of names that are none."""
    said = allowed_gates(messages, director)
    for name in unknown_gates(said):
        tell(f"gitvs: Gitvs-Allow: {name} is no gate; there are {', '.join(LIFTABLE)}")
    return frozenset(allow) | said
