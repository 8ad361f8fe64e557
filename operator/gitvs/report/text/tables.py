"""Tables as text: as wide as their content, without colour as good as with it.

Not rich's: that takes a millisecond for each row, and a director has tens of thousands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

from gitvs.core.problems import printable

_GAP = "  "


@dataclass(slots=True)
class Table:
    """Rows of cells, each with its style; the first row names the columns."""

    is_number: tuple[bool, ...]
    rows: list[tuple[list[str], str]] = field(default_factory=list)


def table(*columns: str) -> Table:
    """Return a table without rows; a column whose name ends in `>` holds numbers."""
    found = Table(tuple(name.endswith(">") for name in columns))
    add_row(found, [name.removesuffix(">") for name in columns], "bold")
    return found


def add_row(to: Table, cells: Iterable[str], style: str = "") -> None:
    """Add a row; what a commit or a file brings stays plain text."""
    to.rows.append(([printable(cell) for cell in cells], style))


def text_of_table(found: Table, indent: int = 0) -> Text:
    """Return a table as lines, each ended, none with blanks at its end."""
    columns = zip(*(cells for cells, _ in found.rows), strict=True)
    widths = [max(map(cell_len, column)) for column in columns]
    text = Text()
    for cells, style in found.rows:
        blanks = [" " * (w - cell_len(c)) for c, w in zip(cells, widths, strict=True)]
        padded = [
            blank + cell if is_number else cell + blank
            for cell, blank, is_number in zip(cells, blanks, found.is_number, strict=True)
        ]
        text.append((" " * indent + _GAP.join(padded)).rstrip() + "\n", style or None)
    return text
