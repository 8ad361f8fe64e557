"""Tables as text: as wide as their content, and complete without colour.

rich's tables are not used: they take a millisecond a row, and a director has tens of thousands.
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

    is_number_column: tuple[bool, ...]
    rows: list[tuple[list[str], str]] = field(default_factory=list)


def new_table(*columns: str) -> Table:
    """Return a table without rows; a column whose name ends in `>` holds numbers."""
    created = Table(tuple(name.endswith(">") for name in columns))
    add_row(created, [name.removesuffix(">") for name in columns], "bold")
    return created


def add_row(table: Table, cells: Iterable[str], style: str = "") -> None:
    """Add a row; characters that do not print are escaped."""
    table.rows.append(([printable(cell) for cell in cells], style))


def table_text(table: Table, indent: int = 0) -> Text:
    """Return a table as lines, each with a newline and without trailing blanks."""
    columns = zip(*(cells for cells, _ in table.rows), strict=True)
    widths = [max(map(cell_len, column)) for column in columns]
    text = Text()
    for cells, style in table.rows:
        blanks = [" " * (w - cell_len(c)) for c, w in zip(cells, widths, strict=True)]
        padded = [
            blank + cell if is_number else cell + blank
            for cell, blank, is_number in zip(cells, blanks, table.is_number_column, strict=True)
        ]
        text.append((" " * indent + _GAP.join(padded)).rstrip() + "\n", style or None)
    return text
