"""Tables as text: as wide as their content, without colour as good as with it."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gitvs.core.problems import printable

_UNLIMITED = 100_000
"""Wider than any row: what is cut or wrapped can't be copied."""


def table(*columns: str) -> Table:
    """Return an empty table without lines; a column whose name ends in `>` holds numbers."""
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        is_number = name.endswith(">")
        found.add_column(
            name.removesuffix(">"), justify="right" if is_number else "left", no_wrap=True
        )
    return found


def add_row(to: Table, cells: Iterable[str], style: str = "") -> None:
    """Add a row; what a commit or a file brings stays plain text."""
    to.add_row(*(Text(printable(cell)) for cell in cells), style=style or None)


def text_of_table(found: Table, indent: int = 0) -> Text:
    """Return a table as lines, each ended, none with blanks at its end."""
    console = Console(file=StringIO(), width=_UNLIMITED, color_system=None)
    text = Text()
    for segments in console.render_lines(found, pad=False):
        line = Text(" " * indent)
        for segment in segments:
            line.append(segment.text, segment.style)
        line.rstrip()
        text.append_text(line).append("\n")
    return text
