"""Points at which long work can be ended from outside, by a deadline or by newer work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Checkpoint = Callable[[], None]
"""Called again and again by long work; raises to end it."""


class TookTooLong(Exception):
    """Work that had its time; raised by a checkpoint."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"checking these manifests takes more than {seconds:g} s of processor time;"
            " they are not used. Make them smaller, or split them"
        )


def no_checkpoint() -> None:
    """Let the work go on, however long it takes."""


def checked(items: Iterable[T], checkpoint: Checkpoint) -> Iterator[T]:
    """Yield the items, with a checkpoint before each."""
    for item in items:
        checkpoint()
        yield item
