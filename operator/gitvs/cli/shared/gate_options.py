"""Which gates people lift, with `--allow` or in commit messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from gitvs.cli.shared.output import show_message
from gitvs.core.planning.gates import LIFTABLE_GATES, allowed_gates, unknown_gate_names

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


def lifted_gates(allow: Iterable[str], messages: Iterable[str], director: str) -> frozenset[str]:
    """Return the gates that options and commit messages lift; warn of unknown names."""
    from_messages = allowed_gates(messages, director)
    for name in unknown_gate_names(from_messages):
        show_message(
            f"gitvs: Gitvs-Allow: {name} is no gate; there are {', '.join(LIFTABLE_GATES)}"
        )
    return frozenset(allow) | from_messages
