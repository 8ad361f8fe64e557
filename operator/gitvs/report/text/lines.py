"""Lines of text for a terminal: aligned in columns, styled, and wrapped only at a given width."""

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
    hanging: int = 2
    """How much further what is wrapped is indented."""


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
        content = "  ".join(part for part in (text, last) if part).rstrip()
        yield Line((content,), x.style, x.indent, cell_len(text) + 2)


def lines_text(lines: Iterable[Line], width: int | None = None) -> Text:
    """Return lines as text, each with a newline; without a width nothing is wrapped."""
    text = Text()
    for x in lines:
        content = printable_line("  ".join(x.cells).rstrip())
        if width is not None:
            content = wrapped(content, width - x.indent, x.hanging)
        indented = "\n".join((" " * x.indent + part).rstrip() for part in content.split("\n"))
        text.append(indented + "\n", x.style or None)
    return text


def wrapped(content: str, width: int, hanging: int = 0) -> str:
    """Return a text broken between words; one that is too long stays whole, to be copied."""
    if cell_len(content) <= width:
        return content
    lines: list[str] = []
    current, *words = content.split(" ")
    for word in words:
        longer = f"{current} {word}"
        if cell_len(longer) > width and current.strip():
            lines.append(current.rstrip())
            current = " " * hanging + word
        else:
            current = longer
    return "\n".join([*lines, current.rstrip()])
