"""How a transaction ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Observation

MAX_FAILURES_SHOWN = 10
"""How many failures the history shows."""


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """How a transaction ended. `failures` are sentences: what failed, or what is still wrong.

    `observation` is the reading that showed it, where there was one.
    """

    outcome: Outcome
    id: int
    failures: tuple[str, ...] = ()
    observation: Observation | None = field(default=None, compare=False, repr=False)
    is_transient: bool = False
    """Whether the failure was not caused by the plan, so that a retry may succeed."""
    is_repair: bool = False
    """Whether it repaired drift, so that no commit is judged by it."""
    not_undone: tuple[str, ...] = ()
    """The failures that name what the undo could not undo, because the kernel refused."""


def failures_text(failures: Sequence[str]) -> str:
    """Return the first failures as one text; a refused batch may have thousands."""
    more = len(failures) - MAX_FAILURES_SHOWN
    return "; ".join([*failures[:MAX_FAILURES_SHOWN], *([f"and {more} more"] if more > 0 else [])])
