"""`gitvs agent`: follow a Git repository, once or for years."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import click

from gitvs.adapters.files.directory_source import DirectorySource
from gitvs.adapters.git.remote import GitRemote
from gitvs.adapters.linux.kernel import LinuxKernel
from gitvs.adapters.process.clock import SystemClock
from gitvs.adapters.process.privileges import become_owner_of, clear_ambient_capabilities
from gitvs.adapters.process.writer_lock import AGENT, writer_lock
from gitvs.adapters.service.control import ControlServer, make_socket
from gitvs.adapters.service.settings_file import load_settings
from gitvs.adapters.service.systemd import (
    JournalHandler,
    Notifier,
    handed_over_socket,
    is_journal_at_stderr,
)
from gitvs.adapters.store.store import SqliteStore
from gitvs.agent.control_requests import Desk
from gitvs.agent.cycle import ChooseDirector, Turn, take_turn
from gitvs.agent.daemon import Agent
from gitvs.agent.logs import AddFields
from gitvs.cli.shared.director import choose_director
from gitvs.cli.shared.host import writer
from gitvs.cli.shared.options import config_option, state_dir_of, state_options
from gitvs.cli.shared.output import progress, tell
from gitvs.cli.shared.pass_output import show_plan, tell_outcome
from gitvs.core.errors import ExitCode
from gitvs.core.planning.ownership import MARK_PREFIX
from gitvs.core.settings import SOCKET_NAME, Settings
from gitvs.reconcile.transaction import Ports


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Fetch, one pass, exit.")
@state_options
@click.pass_context
def agent(context: click.Context, config: Path, once: bool, state_dir: Path) -> int:
    """Follow the repository that the settings name, and keep this host as its commits say.

    Whatever keeps the newest commit from being applied, the applied one stays in force: drift
    is repaired, and drains end. Stopping it changes nothing in the kernel. SIGHUP reads the
    settings anew, and fetches. With --once it is one turn, for instance from a timer.

    \b
    Examples:
      gitvs agent
      gitvs agent --once
      gitvs agent --config /etc/gitvs/lb1.toml --state-dir /var/lib/gitvs-lb1
    """
    settings = load_settings(config)
    folder = state_dir_of(context, settings, state_dir)
    return _once(settings, folder) if once else _for_years(config, folder)


def _once(settings: Settings, folder: Path) -> ExitCode:
    with writer(folder) as ports, progress("one turn"):
        source = settings.source
        found = DirectorySource(source) if isinstance(source, Path) else GitRemote(folder, source)
        longest = timedelta(seconds=settings.max_downtime_seconds)
        turn = take_turn(ports, found, _chooser(settings), longest)
    _tell(turn)
    return exit_code(turn)


def _for_years(config: Path, folder: Path) -> ExitCode:
    """Run the daemon until a signal ends it."""
    _log_as_a_service()
    become_owner_of(folder)
    clear_ambient_capabilities()  # threads and children that start from here have none
    with writer_lock(AGENT), SqliteStore(folder) as store:
        ports = Ports(LinuxKernel(MARK_PREFIX + store.id), store, SystemClock())
        daemon = Agent(ports, folder, partial(load_settings, config), _chooser, Notifier())
        listener = handed_over_socket() or make_socket(folder / SOCKET_NAME)
        control = ControlServer(listener, Desk(daemon).answer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: daemon.stop())
        signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
        control.start()
        try:
            daemon.run()
        finally:
            control.stop()
    return ExitCode.DONE


def _chooser(settings: Settings) -> ChooseDirector:
    return partial(choose_director, settings.director)


def _log_as_a_service() -> None:
    """Log what changes: to the journal with its fields, or as lines to standard error."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s%(context)s"
    if is_journal_at_stderr(os.environ):
        with suppress(OSError):
            handler, form = JournalHandler(), "%(message)s%(context)s"
    handler.setFormatter(logging.Formatter(form))
    handler.addFilter(AddFields())
    root = logging.getLogger()
    root.handlers = [handler]
    if not root.isEnabledFor(logging.INFO):
        root.setLevel(logging.INFO)
    logging.getLogger("apscheduler").setLevel(logging.WARNING)


def _tell(turn: Turn) -> None:
    for problem in turn.problems:
        tell(f"gitvs: {problem}")
    if turn.done is not None and turn.target is not None:
        show_plan(turn.done, turn.target.commit, Path())
        tell_outcome(turn.done, turn.recovered)


def exit_code(turn: Turn) -> ExitCode:
    """Return the severest of what a turn met."""
    return ExitCode.severest(
        [
            *(problem.exit_code for problem in turn.problems),
            *(each.result.exit_code for each in turn.passes),
        ]
    )
