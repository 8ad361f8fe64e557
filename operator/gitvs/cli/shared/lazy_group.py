"""A group of commands that imports a command's module only when it is called.

The list of commands, their short help and a wrong name need no module at all. A command that
works offline never loads, or depends on, the libraries for the kernel and Git.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command: its import path, `package.module:function`, and its line in `--help`."""

    import_path: str
    short_help: str


class LazyGroup(click.Group):
    """A click group over a table of `LazyCommand`."""

    def __init__(self, *args: Any, lazy: Mapping[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._lazy.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry.import_path.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command), f"{entry.import_path} is a command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self._lazy and not name.startswith("-"):
            near = get_close_matches(name, self._lazy, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self._lazy)}"
            raise click.UsageError(f"{name} is not a command; {hint}", ctx)
        if ctx.resilient_parsing and name in self._lazy:
            completion = import_module("gitvs.cli.shared.completion")
            if (command := completion.stand_in(args)) is not None:
                return name, command, args[1:]
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing any command; click imports all of them."""
        names = [
            CompletionItem(name, help=entry.short_help)
            for name, entry in self._lazy.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in self._lazy.items()])
