"""Which gates people lift by hand, with `--allow`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gitvs.core.planning.gates import LIFTABLE_GATES

F = TypeVar("F", bound=Callable[..., Any])


def allow_option(function: F) -> F:
    """Add `--allow`, passed on as `allow: tuple[str, ...]`."""
    return click.option(
        "--allow",
        multiple=True,
        type=click.Choice(LIFTABLE_GATES),
        metavar="GATE",
        help=f"Lift a gate this once: {', '.join(LIFTABLE_GATES)}.",
    )(function)
