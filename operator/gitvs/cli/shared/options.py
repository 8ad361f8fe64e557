"""The options that every command takes, and their effects."""

from __future__ import annotations

import logging
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gitvs.core.errors import SettingsError
from gitvs.core.settings import DEFAULT_SETTINGS_FILE, DEFAULT_STATE_DIR, Settings

F = TypeVar("F", bound=Callable[..., object])

_LOG_LEVELS = (logging.CRITICAL + 1, logging.INFO, logging.DEBUG)


class WholeNumber(click.IntRange):
    """A whole number in the digits 0 to 9; Python takes those of every script."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not re.fullmatch("[0-9]{1,18}", value):
            self.fail(f"{value!r} is not a whole number", param, ctx)
        return super().convert(value, param, ctx)


class Seconds(click.FloatRange):
    """A number of seconds, such as 2 or 0.5; Python takes `nan` and `inf` too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return super().convert(value, param, ctx)


def common_options(function: F) -> F:
    """Add `--verbose`; `--state-dir` is accepted, but not shown: it means nothing here."""
    return _state_dir_option(expose_value=False, hidden=True)(verbose_option(function))


def state_options(function: F) -> F:
    """Add `--state-dir`, passed on as `state_dir: Path`, and `--verbose`."""
    return _state_dir_option(expose_value=True, callback=_of_settings)(verbose_option(function))


def _of_settings(context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """Return the state folder; unless it was given, that of the settings, if they can be read.

    A command with `--config` reads that file itself (`choose_state_dir`).
    """
    has_own_settings = any(p.name == "config" for p in context.command.params)
    if context.resilient_parsing or has_own_settings or not _is_default(context):
        return value
    try:
        found = tomllib.loads(DEFAULT_SETTINGS_FILE.read_text()).get("state_dir", value)
    except (FileNotFoundError, PermissionError):  # only root and the agent may read it
        return value
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{DEFAULT_SETTINGS_FILE}, whose state_dir counts here, cannot be read: {error}."
            " Nothing was changed; give --state-dir DIR"
        ) from error
    return Path(found) if isinstance(found, str) else value


def _is_default(context: click.Context) -> bool:
    return context.get_parameter_source("state_dir") is click.core.ParameterSource.DEFAULT


def _state_dir_option(
    *, expose_value: bool, hidden: bool = False, callback: Callable[..., Path] | None = None
) -> Callable[[F], F]:
    return click.option(
        "--state-dir",
        type=click.Path(file_okay=False, readable=False, resolve_path=True, path_type=Path),
        envvar="GITVS_STATE_DIR",
        default=DEFAULT_STATE_DIR,
        show_default=True,
        show_envvar=True,
        expose_value=expose_value,
        hidden=hidden,
        callback=callback,
        metavar="DIR",
        help="The folder with this director's records; by default state_dir of the settings.",
    )


def _set_verbosity(_context: click.Context, _parameter: click.Parameter, count: int) -> None:
    if count:
        log_to_stderr(count)


def log_to_stderr(verbosity: int) -> None:
    """Log to standard error: 1 is what changes, 2 is everything; 0 is nothing.

    The default is 0, because a command itself reports what it did.
    """
    level = _LOG_LEVELS[min(verbosity, len(_LOG_LEVELS) - 1)]
    line_format = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level, stream=sys.stderr, format=line_format, force=True)


verbose_option = click.option(
    "-v",
    "--verbose",
    count=True,
    expose_value=False,
    callback=_set_verbosity,
    help="Log to standard error; -vv logs everything.",
)


config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_SETTINGS_FILE,
    show_default=True,
    metavar="FILE",
    help="The settings, in TOML; `gitvs schema Settings` explains them.",
)


def choose_state_dir(context: click.Context, settings: Settings, option_value: Path) -> Path:
    """Return the state folder: the option and the environment win over the settings."""
    return settings.state_dir if _is_default(context) else option_value
