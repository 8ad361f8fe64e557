"""Lines of commit messages that lift gates: `Gitvs-Allow: mass-removal`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gitvs.core.model.history import one_line


@dataclass(frozen=True, slots=True)
class Allowance:
    """A gate that one line of a commit message lifts, on `directors`; empty means all.

    `line` counts from 1.
    """

    gate: str
    directors: tuple[str, ...]
    line: int

    def applies_to(self, director: str) -> bool:
        """Whether it lifts the gate on a director."""
        return not self.directors or director in self.directors


_ALLOW_TRAILER = "gitvs-allow"


def parse_allowances(message: str) -> Iterator[Allowance]:
    """Yield the allowances of a commit message.

    A line is `Gitvs-Allow: mass-removal`, or `Gitvs-Allow: mass-removal lb3` for one director.
    Every line is read: squash and merge commits put them anywhere.
    """
    for number, line in enumerate(message.split("\n"), start=1):
        trailer, _, value = line.partition(":")
        if trailer.strip().lower() == _ALLOW_TRAILER and (words := value.split(maxsplit=1)):
            directors = " ".join(words[1:]).replace(",", " ").split()
            shown = tuple(one_line(director) for director in directors)
            yield Allowance(one_line(words[0]), shown, number)
