"""How a pass ended, for people: the result, what it means, and why."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from gitvs.report.text.lines import line, lines_text

_OUTCOME_TEXTS = {
    "converged": ("nothing to do", "green"),
    "applied": ("applied, read back, and as planned", "green"),
    "blocked": ("blocked: nothing was changed", "bold red"),
    "rolled-back": ("failed and rolled back: read back, everything is as it was", "bold red"),
    "stuck": (
        "stuck: the kernel cannot be read, and a change is neither applied nor undone; run this"
        " command again",
        "bold red",
    ),
}

_MAX_REASONS = 20
"""How many reasons are shown."""


def pass_text(
    outcome: str,
    reasons: Sequence[str] = (),
    *,
    prefix: str = "",
    is_undone: bool = True,
    has_other_checks: bool = False,
) -> Text:
    """Return how a pass ended. `outcome` is one of the words of design section 4.

    `is_undone` is false if a rollback left something changed; `has_other_checks` is true if other
    health checks than before are in force now.
    """
    text, style = _OUTCOME_TEXTS[outcome]
    if outcome == "converged" and has_other_checks:
        text = "nothing to do in the kernel; the new health checks are in force"
    if outcome == "rolled-back" and not is_undone:
        text = "failed and rolled back, but not all of it could be undone"
    if outcome == "applied" and reasons:
        text, style = "applied and read back, but", "yellow"
    lines = [line(prefix + text, style=style)]
    lines += [line(reason, indent=2) for reason in reasons[:_MAX_REASONS]]
    if len(reasons) > _MAX_REASONS:
        lines.append(line(f"and {len(reasons) - _MAX_REASONS} more", indent=2))
    return lines_text(lines)
