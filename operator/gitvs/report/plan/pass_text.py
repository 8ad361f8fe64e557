"""How a pass ended, for people: the result, what it means, and why."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from gitvs.report.text.lines import line, text_of

_MEANINGS = {
    "converged": ("nothing to do", "green"),
    "applied": ("applied, read back, and as planned", "green"),
    "blocked": ("blocked: nothing was changed", "bold red"),
    "rolled-back": ("failed and rolled back: read back, everything is as it was", "bold red"),
    "stuck": ("stuck: neither as before nor as planned; run this command again", "bold red"),
}

_MOST = 20
"""How many reasons are shown."""


def pass_text(result: str, reasons: Sequence[str] = (), *, prefix: str = "") -> Text:
    """Return what became of a pass. `result` is one of the words of design section 4."""
    meaning, style = _MEANINGS[result]
    if result == "applied" and reasons:
        meaning, style = "applied and read back, but", "yellow"
    lines = [line(prefix + meaning, style=style)]
    lines += [line(reason, indent=2) for reason in reasons[:_MOST]]
    if len(reasons) > _MOST:
        lines.append(line(f"and {len(reasons) - _MOST} more", indent=2))
    return text_of(lines)
