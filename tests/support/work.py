"""Counts work: calls, and characters searched. Nothing measures time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_SEARCHES = frozenset({"count", "find", "index", "partition", "replace", "rfind", "split"})
"""Methods of texts and bytes that read all of them."""


@dataclass
class Work:
    """What was done: calls of functions, and characters that methods of texts had to read."""

    calls: int = 0
    characters: int = 0

    @property
    def total(self) -> float:
        return self.calls + self.characters / 1000


@contextmanager
def counted_work() -> Iterator[Work]:
    """Count the work of this thread in the block."""
    work = Work()

    def count(_frame: object, event: str, called: Any) -> None:
        if event == "call":
            work.calls += 1
        elif event == "c_call":
            work.calls += 1
            owner = getattr(called, "__self__", None)
            if isinstance(owner, str | bytes) and called.__name__ in _SEARCHES:
                work.characters += len(owner)

    earlier = sys.getprofile()
    sys.setprofile(count)
    try:
        yield work
    finally:
        sys.setprofile(earlier)


def work_of(run: Callable[[], object]) -> Work:
    """Return the work that a function does."""
    with counted_work() as work:
        run()
    return work
