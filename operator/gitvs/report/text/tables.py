"""Tables as text: complete without colour, and as wide as their content or as a terminal.

rich's tables are not used: they take a millisecond a row, and a director has tens of thousands.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from gitvs.core.problems import printable
from gitvs.report.text.lines import wrapped

_GAP = "  "
_MIN_CUT_WIDTH = 6
"""A cell is not cut to fewer characters."""
_MIN_FIRST_WIDTH = 24
"""Only a longer first cell may get a line of its own: this has an IPv4 address and its port."""


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a row, a note on it, and its style."""

    cells: list[str]
    note: str
    style: str


@dataclass(slots=True)
class Table:
    """Rows of cells; the first row names the columns.

    Where there is not enough room, notes and first cells that are too long get lines of their
    own, and then the column `cut_column` is cut.
    """

    is_number_column: tuple[bool, ...]
    cut_column: int
    rows: list[Row] = field(default_factory=list)


def new_table(*columns: str, cut: str) -> Table:
    """Return a table without rows; a column whose name ends in `>` holds numbers."""
    names = [name.removesuffix(">") for name in columns]
    created = Table(tuple(name.endswith(">") for name in columns), names.index(cut))
    add_row(created, names, style="bold")
    return created


def add_row(table: Table, cells: Iterable[str], note: str = "", style: str = "") -> None:
    """Add a row; characters that do not print are escaped. A note may have several lines."""
    escaped_note = "\n".join(printable(line) for line in note.split("\n"))
    table.rows.append(Row([printable(cell) for cell in cells], escaped_note, style))


def table_text(
    table: Table, indent: int = 0, width: int | None = None, *, notes_below: bool = False
) -> Text:
    """Return a table as lines, each with a newline and without trailing blanks.

    Without a width it is as wide as its content. `notes_below` gives every note its own line.
    """
    widths = _column_widths(table)
    room = sys.maxsize if width is None else width - indent
    _narrow(widths, 0, room, _MIN_FIRST_WIDTH)
    _narrow(widths, table.cut_column, room, _MIN_CUT_WIDTH)
    text = Text()
    for row in table.rows:
        for content in _row_lines(table, row, widths, room, notes_below=notes_below):
            text.append((" " * indent + content).rstrip() + "\n", row.style or None)
    return text


def content_width(table: Table) -> int:
    """Return the width of a table without any cut; its notes do not count."""
    return _total(_column_widths(table))


def _column_widths(table: Table) -> list[int]:
    return [max(map(cell_len, c)) for c in zip(*(row.cells for row in table.rows), strict=True)]


_NOTE_INDENT = " " * 6


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _narrow(widths: list[int], column: int, room: int, least: int) -> None:
    """Narrow a column by the excess width, but not below `least`."""
    excess = max(0, _total(widths) - room)
    widths[column] = max(min(widths[column], least), widths[column] - excess)


def _row_lines(
    table: Table, row: Row, widths: Sequence[int], room: int, *, notes_below: bool
) -> Iterator[str]:
    """Yield a row, its note beside it where there is room, and otherwise below."""
    cells = list(row.cells)
    if cell_len(cells[0]) > widths[0]:
        yield cells[0]
        cells[0] = ""
    if cell_len(cells[table.cut_column]) > widths[table.cut_column]:
        cut_width = widths[table.cut_column] - 1
        cells[table.cut_column] = set_cell_size(cells[table.cut_column], cut_width) + "…"
    blanks = [" " * (w - cell_len(c)) for c, w in zip(cells, widths, strict=True)]
    content = _GAP.join(
        blank + cell if is_number else cell + blank
        for cell, blank, is_number in zip(cells, blanks, table.is_number_column, strict=True)
    )
    if not notes_below and _total(widths) + len(_GAP) + cell_len(row.note) <= room:
        yield f"{content}{_GAP}{row.note}"
        return
    yield content
    for note in row.note.split("\n") if row.note else ():
        for part in wrapped(note, room - len(_NOTE_INDENT), hanging=2).split("\n"):
            yield _NOTE_INDENT + part
