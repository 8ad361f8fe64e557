"""Lines of text for a terminal: aligned in columns, styled, never wrapped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len
from rich.text import Text

from gitvs.core.problems import printable, printable_line


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its cells, aligned in columns with those of its neighbours, and its style."""

    cells: tuple[str, ...]
    style: str = ""
    indent: int = 0


def line(*cells: str, style: str = "", indent: int = 0) -> Line:
    """Return a line of these cells; characters that do not print are escaped."""
    return Line(tuple(printable(cell) for cell in cells), style, indent)


def aligned(lines: Sequence[Line]) -> Iterable[Line]:
    """Return lines whose cells begin in the same columns; the last cell is not padded."""
    columns = list(zip_longest(*(x.cells[:-1] for x in lines), fillvalue=""))
    widths = [max((cell_len(cell) for cell in column), default=0) for column in columns]
    for x in lines:
        cells = [c + " " * (w - cell_len(c)) for c, w in zip(x.cells[:-1], widths, strict=False)]
        text = "  ".join(c for c, w in zip(cells, widths, strict=False) if w)
        last = x.cells[-1]
        yield Line(("  ".join(part for part in (text, last) if part).rstrip(),), x.style, x.indent)


def lines_text(lines: Iterable[Line]) -> Text:
    """Return lines as text, each with a newline."""
    text = Text()
    for x in lines:
        content = printable_line(" " * x.indent + "  ".join(x.cells))
        text.append(content.rstrip() + "\n", x.style or None)
    return text
