"""`gitvs agent`: follows a Git repository, once or as a daemon."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path, PurePosixPath

import click

from gitvs.adapters.process.privileges import clear_ambient_capabilities
from gitvs.adapters.process.writer_lock import (
    AGENT_LOCK_NAME,
    writer_lock,
)
from gitvs.adapters.service.control_socket import ControlServer, link_socket, make_socket
from gitvs.adapters.service.log_fields import LogFieldsFilter
from gitvs.adapters.service.settings_file import load_settings
from gitvs.adapters.service.systemd import (
    JournalHandler,
    Notifier,
    is_stderr_the_journal,
    socket_from_systemd,
)
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.agent.actions.single_cycle import run_single_cycle
from gitvs.agent.control_requests import ControlRequests
from gitvs.agent.cycle import followed_source
from gitvs.agent.cycle_result import CycleResult
from gitvs.agent.daemon import Agent
from gitvs.agent.judge import ChooseDirector
from gitvs.cli.shared.choices import choose_director
from gitvs.cli.shared.host import become_writer, make_ports, open_for_writing
from gitvs.cli.shared.options import choose_state_dir, config_option, state_options
from gitvs.cli.shared.output import progress, show_message
from gitvs.cli.shared.pass_output import report_pass, show_pass_plan
from gitvs.core.errors import ExitCode
from gitvs.core.problems import InvalidManifests
from gitvs.core.settings import SOCKET_FILE_NAME, RemoteSettings, Settings, socket_path_of
from gitvs.report.text.places import Places


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Fetch, run one pass, and exit.")
@state_options
@click.pass_context
def agent(context: click.Context, config: Path, once: bool, state_dir: Path) -> int:
    """Follow the repository that the settings name, and keep this host as its commits say.

    If the newest commit cannot be applied, the applied commit stays in force: drift is repaired,
    and drains end. Stopping it changes nothing in the kernel. SIGHUP reloads the settings, and
    fetches. With --once it runs one cycle and exits, for instance from a timer.

    \b
    Examples:
      gitvs agent
      gitvs agent --once
      gitvs agent --config /etc/gitvs/lb1.toml --state-dir /var/lib/gitvs-lb1
    """
    settings = load_settings(config)
    chosen_state_dir = choose_state_dir(context, settings, state_dir)
    return _run_once(settings, chosen_state_dir) if once else _run_daemon(config, chosen_state_dir)


def _run_once(settings: Settings, state_dir: Path) -> ExitCode:
    with open_for_writing(state_dir) as ports, progress("one turn"):
        ports.store.keep_history(settings.kept_transactions, settings.kept_plans)
        max_downtime = timedelta(seconds=settings.max_downtime_seconds)
        source = followed_source(state_dir, settings)
        cycle_result = run_single_cycle(ports, source, _make_chooser(settings), max_downtime)
    _report_cycle(cycle_result, _folder_in_repository(settings))
    return cycle_exit_code(cycle_result)


def _run_daemon(config: Path, state_dir: Path) -> ExitCode:
    """Run the daemon until a signal ends it."""
    _log_as_service()
    become_writer(state_dir)
    clear_ambient_capabilities()  # threads and children that start from here have none
    with writer_lock(AGENT_LOCK_NAME), SqliteStore(state_dir) as store:
        daemon = Agent(
            make_ports(store), state_dir, partial(load_settings, config), _make_chooser, Notifier()
        )
        if control_socket := socket_from_systemd():
            link_socket(control_socket, socket_path_of(state_dir))
        else:
            control_socket = make_socket(state_dir / SOCKET_FILE_NAME)
        control_server = ControlServer(control_socket, ControlRequests(daemon).answer)
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, lambda *_: daemon.stop())
        signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
        control_server.start()
        try:
            daemon.run()
        finally:
            control_server.stop()
    return ExitCode.DONE


def _make_chooser(settings: Settings) -> ChooseDirector:
    return partial(choose_director, settings.director)


def _log_as_service() -> None:
    """Log what changes: to the journal with its fields, or as lines to standard error."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    line_format = "%(asctime)s %(levelname)s %(name)s: %(message)s%(context)s"
    if is_stderr_the_journal(os.environ):
        with suppress(OSError):
            handler, line_format = JournalHandler(), "%(message)s%(context)s"
    handler.setFormatter(logging.Formatter(line_format))
    handler.addFilter(LogFieldsFilter())
    root = logging.getLogger()
    root.handlers = [handler]
    if not root.isEnabledFor(logging.INFO):
        root.setLevel(logging.INFO)
    logging.getLogger("apscheduler").setLevel(logging.WARNING)


def _folder_in_repository(settings: Settings) -> str:
    """Return the folder of the manifests in the repository; empty for its root."""
    source = settings.source
    folder = PurePosixPath(source.path if isinstance(source, RemoteSettings) else "")
    return "" if folder == PurePosixPath() else str(folder)


def _report_cycle(cycle_result: CycleResult, folder: str) -> None:
    places = Places(folder)
    for problem in cycle_result.problems:
        if isinstance(problem, InvalidManifests):
            problem = InvalidManifests(list(map(places.problem, problem.problems)))
        show_message(f"gitvs: {problem}")
    if cycle_result.pass_result is not None and cycle_result.target is not None:
        show_pass_plan(cycle_result.pass_result, cycle_result.target.commit, Path(), folder)
        report_pass(cycle_result.pass_result, cycle_result.recovered)


def cycle_exit_code(cycle_result: CycleResult) -> ExitCode:
    """Return the severest exit code of a cycle's problems and passes."""
    return ExitCode.severest(
        [
            *(problem.exit_code for problem in cycle_result.problems),
            *(each_result.exit_code for each_result in cycle_result.pass_results),
        ]
    )
