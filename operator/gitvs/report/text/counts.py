"""Numbers of things, in words; it imports nothing, since every command uses it."""

from __future__ import annotations


def count_text(number: int, noun: str) -> str:
    """Return `1 problem` or `3 problems`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
