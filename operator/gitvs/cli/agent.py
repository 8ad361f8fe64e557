"""`gitvs agent`: follow a Git repository."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import click

from gitvs.adapters.locations import DEFAULT_SETTINGS
from gitvs.adapters.settings import Settings, load_settings
from gitvs.agent import Turn, take_turn
from gitvs.cli.apply import EXIT_CODES, show_plan, tell_outcome
from gitvs.cli.director import choose_director
from gitvs.cli.live import writer
from gitvs.cli.options import state_options
from gitvs.cli.output import progress, tell
from gitvs.core.errors import ExitCode, UsageError

SEVEREST_FIRST = (
    ExitCode.STUCK,
    ExitCode.ROLLED_BACK,
    ExitCode.UNEXPECTED_PLAN,
    ExitCode.INVALID,
    ExitCode.BLOCKED,
    ExitCode.ERROR,
)


@click.command()
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_SETTINGS,
    show_default=True,
    metavar="FILE",
    help="The settings, in TOML; `gitvs schema Settings` explains them.",
)
@click.option("--once", is_flag=True, help="Fetch, one pass, exit.")
@state_options
@click.pass_context
def agent(context: click.Context, config: Path, once: bool, state_dir: Path) -> int:
    """Fetch the repository that the settings name, and bring this host to its newest commit.

    Whatever keeps that commit from being applied, the applied one stays in force: drift is
    repaired, and drains end. Run it from a timer, with --once.

    \b
    Examples:
      gitvs agent --once
      gitvs agent --once --config /etc/gitvs/lb1.toml
    """
    if not once:
        raise UsageError("this version has no daemon yet: say --once, for instance from a timer")
    settings = load_settings(config)
    folder = _state_dir(context, settings, state_dir)
    with writer(folder) as ports, progress("one turn"):
        choose = partial(choose_director, settings.director)
        turn = take_turn(ports, settings.source, folder, choose)
    _tell(turn)
    return exit_code(turn)


def _state_dir(context: click.Context, settings: Settings, given: Path) -> Path:
    """The option and the environment win over the settings."""
    source = context.get_parameter_source("state_dir")
    is_default = source is click.core.ParameterSource.DEFAULT
    return settings.state_dir if is_default else given


def _tell(turn: Turn) -> None:
    for problem in turn.problems:
        tell(f"gitvs: {problem}")
    if turn.done is not None and turn.target is not None:
        show_plan(turn.done, turn.target.commit, Path())
        tell_outcome(turn.done, turn.recovered)


def exit_code(turn: Turn) -> ExitCode:
    """Return the severest of what a turn met."""
    return severest(
        [
            *(problem.exit_code for problem in turn.problems),
            *([] if turn.done is None else [EXIT_CODES[turn.done.result]]),
        ]
    )


def severest(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the exit code that holds where several do (design section 7)."""
    met = set(codes)
    return next((code for code in SEVEREST_FIRST if code in met), ExitCode.DONE)
