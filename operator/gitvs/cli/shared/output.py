"""Standard output and standard error: coloured on a terminal, plain in a pipe."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer

from rich.console import Console
from rich.live import Live
from rich.text import Text

from gitvs.core.model.resource_json import json_text
from gitvs.core.problems import printable_lines

PROGRESS_AFTER_SECONDS = 1.0


def show(text: Text | str) -> None:
    """Print a result. Lines are never wrapped: a pipe gets what a terminal gets."""
    _console(stderr=False).print(text, soft_wrap=True, end="")


def terminal_width() -> int | None:
    """Return how many columns a result may have; None in a pipe, unless COLUMNS is set."""
    columns = os.environ.get("COLUMNS", "")
    if re.fullmatch("[1-9][0-9]{0,5}", columns):
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):  # no terminal, or closed
        return None


def show_json(value: object) -> None:
    """Print a result as JSON."""
    sys.stdout.write(json_text(value))


def show_message(text: Text | str) -> None:
    """Print what is not the result, such as what was skipped, to standard error."""
    if isinstance(text, str):
        text = printable_lines(text)
    end = "" if str(text).endswith("\n") else "\n"
    _console(stderr=True).print(text, soft_wrap=True, end=end)


def watch(render: Callable[[], Text], every_seconds: float) -> None:
    """Show again and again: in place on a terminal, cut to its size; one after another in a pipe.

    It runs until Ctrl-C.
    """
    console = _console(stderr=False)
    if not console.is_terminal:
        while True:
            show(render())
            sys.stdout.write("\n")
            sys.stdout.flush()
            time.sleep(every_seconds)
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            live.update(_cut_long_lines(render()), refresh=True)
            time.sleep(every_seconds)


def _cut_long_lines(text: Text) -> Text:
    """Cut long lines at the terminal's edge: wrapped, they would look like other lines."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


@contextmanager
def progress(activity: str) -> Iterator[None]:
    """Show an activity on a terminal if it takes more than a second."""
    console = _console(stderr=True)
    if not console.is_terminal:
        yield
        return
    spinner = console.status(Text(activity))
    timer = Timer(PROGRESS_AFTER_SECONDS, spinner.start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        spinner.stop()


def _console(*, stderr: bool) -> Console:
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
