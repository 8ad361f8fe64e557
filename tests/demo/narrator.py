"""What the demo prints: coloured on a terminal, plain in a pipe, in lines of the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO

from rich.console import Console
from rich.text import Text

_INDENT = "  "
_BAR_WIDTH = 40


class Narrator:
    """Tells the story: scenes, what is said, what is run and what comes out of it."""

    def __init__(self, file: IO[str], *, is_coloured: bool) -> None:
        self.is_coloured = is_coloured
        self._scenes = 0
        self._console = Console(
            file=file,
            force_terminal=is_coloured,
            color_system="standard" if is_coloured else None,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def scene(self, title: str) -> None:
        self._scenes += 1
        self._print("")
        self._print(f"{self._scenes}. {title}", "bold cyan")

    def say(self, text: str) -> None:
        self._print(text, "cyan")

    def confirm(self, text: str) -> None:
        """State what was checked."""
        self._print(f"✓ {text}", "green")

    def fail(self, text: str) -> None:
        self._print(f"✗ {text}", "bold red")

    def command(self, line: str) -> None:
        self._print(f"{_INDENT}$ {line}", "bold")

    def output(self, text: str, style: str = "", keep: tuple[int, int] | None = None) -> None:
        """Show what a command printed; `keep` is how many lines at most, first and last."""
        lines = text.splitlines()
        for line in lines if keep is None else shortened(lines, *keep):
            shown = Text.from_ansi(f"{_INDENT}{line}".rstrip())
            shown.stylize(style)
            self._print(shown)

    def changes(self, patch: str) -> None:
        """Show the lines that a patch takes out and puts in, under the names of their files."""
        for line in patch.splitlines():
            if line.startswith("diff "):
                self._print(f"{_INDENT}  {line.rpartition(' b/')[2]}", "dim")
            elif line.startswith("deleted file"):
                self._print(f"{_INDENT}  {line}", "red")
            elif line.startswith(("+", "-")) and not line.startswith(("+++", "---")):
                self._print(f"{_INDENT}  {line}", "green" if line[0] == "+" else "red")

    def counts(self, counts: Mapping[str, int]) -> None:
        """Show how answers are spread."""
        width = max(map(len, counts), default=0)
        most = max([*counts.values(), _BAR_WIDTH])
        for name, count in sorted(counts.items()):
            bar = "█" * round(count * _BAR_WIDTH / most)
            self._print(f"{_INDENT}{name:<{width}} {count:>3} {bar}")

    def _print(self, text: str | Text, style: str = "") -> None:
        self._console.print(text, style=style, soft_wrap=True)
        self._console.file.flush()


def shortened(lines: Sequence[str], first: int, last: int) -> list[str]:
    """Leave out lines in the middle, and say how many."""
    left_out = len(lines) - first - last
    if left_out < 2:
        return list(lines)
    end = lines[len(lines) - last :]
    return [*lines[:first], f"⋮ {left_out} more lines", *end]
