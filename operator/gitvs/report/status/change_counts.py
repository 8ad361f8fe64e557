"""How many changes a transaction had, and why it was made; as `history` and `status` tell it.

The status imports nothing that plans, so the names of actions are written out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from gitvs.core.model.history import Cause, HistoryEntry

_ACTION_SIGNS = {"create": "+", "update": "~", "delete": "-", "drain": "↓"}

CAUSE_TEXTS: Mapping[Cause, str] = {
    Cause.DRAIN_END: "end of a drain",
    Cause.UPKEEP: "repair, or by hand",
}


def summary_of_entry(entry: HistoryEntry) -> dict[str, int]:
    """Return how many changes of each action there were; a replacement counts as an update."""
    counts = Counter(entry.summary)
    counts["update"] += counts["replace"]
    return {action: counts[action] for action in _ACTION_SIGNS}


def signed_counts_text(summary: Mapping[str, int]) -> str:
    """Return `+3 ~1 ↓2`."""
    return " ".join(f"{_ACTION_SIGNS[action]}{n}" for action, n in summary.items() if n)
