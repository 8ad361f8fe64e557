"""Numbers of things, in words; it imports nothing, since every command uses it."""

from __future__ import annotations


def count_text(number: int, noun: str) -> str:
    """Return `1 problem` or `3 problems`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def problem_count_text(number: int, may_have_more: bool) -> str:
    """Return `3 problems`, and that more may follow where a part could not be judged."""
    more = "; more may follow once these are corrected" if may_have_more else ""
    return count_text(number, "problem") + more


def bytes_text(count: int) -> str:
    """Return a number of bytes, such as `870 B`, `1.2 kB` or `34 MB`."""
    amount, unit = float(count), "B"
    for larger_unit in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger_unit
    return f"{amount:.1f} {unit}" if unit != "B" and amount < 9.95 else f"{amount:.0f} {unit}"
