"""The command line: one module for each command, loaded when it is called.

Results go to standard output, problems and progress to standard error. A command returns its
exit code; this module turns errors into messages and exit codes (design section 7).
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

import click

from gitvs import __version__
from gitvs.cli.shared.lazy_group import LazyCommand, LazyGroup
from gitvs.cli.shared.options import log_to_stderr, verbose_option
from gitvs.core.errors import ExitCode, GitvsError
from gitvs.core.problems import InvalidManifests, printable_lines
from gitvs.report.text.counts import problem_count_text

GC_THRESHOLDS = (200_000, 20, 100)
"""Thresholds for large manifests: a million objects with hardly any reference cycle.

Python's default thresholds take half of a plan's time.
"""

COMMANDS = {
    "validate": LazyCommand("gitvs.cli.validate:validate", "Report every problem in manifests."),
    "render": LazyCommand("gitvs.cli.render:render", "Show what a director should have."),
    "schema": LazyCommand("gitvs.cli.schema:schema", "Print the JSON Schema of a kind."),
    "observe": LazyCommand("gitvs.cli.observe:observe", "Show what this host has."),
    "check": LazyCommand("gitvs.cli.check:check", "Run the health checks from here, once."),
    "plan": LazyCommand("gitvs.cli.plan:plan", "Show what would change, and in which order."),
    "apply": LazyCommand("gitvs.cli.apply:apply", "Change this host to match the manifests."),
    "agent": LazyCommand("gitvs.cli.agent:agent", "Follow a Git repository."),
    "status": LazyCommand("gitvs.cli.status:status", "Show the status of this director."),
    "health": LazyCommand("gitvs.cli.health:health", "Show which real servers are up."),
    "history": LazyCommand(
        "gitvs.cli.history:history", "List what was applied, with the outcomes."
    ),
    "sync": LazyCommand(
        "gitvs.cli.sync:sync", "Fetch now, and bring this host to the newest commit."
    ),
    "pause": LazyCommand("gitvs.cli.pause:pause", "Stop new commits and repairs for a while."),
    "resume": LazyCommand("gitvs.cli.resume:resume", "End a pause, and the pin of a rollback."),
    "rollback": LazyCommand(
        "gitvs.cli.rollback:rollback", "Go back to an earlier commit, and stay there."
    ),
    "drain": LazyCommand("gitvs.cli.drain:drain", "Take a real server out of every service."),
    "undrain": LazyCommand(
        "gitvs.cli.undrain:undrain", "End a drain by hand: the weight in Git applies again."
    ),
    "standby": LazyCommand("gitvs.cli.standby:standby", "Unbind this director's VIPs."),
    "active": LazyCommand("gitvs.cli.active:active", "Bind them again."),
    "accept-rewrite": LazyCommand(
        "gitvs.cli.accept_rewrite:accept_rewrite", "Follow a branch that was rewritten."
    ),
    "restore": LazyCommand(
        "gitvs.cli.restore:restore", "Restore the applied state, early at boot."
    ),
    "backup": LazyCommand("gitvs.cli.backup:backup", "Copy this director's database."),
    "teardown": LazyCommand("gitvs.cli.teardown:teardown", "Remove everything that gitvs owns."),
    "install": LazyCommand("gitvs.cli.install:install", "Make gitvs a service of this host."),
    "uninstall": LazyCommand("gitvs.cli.uninstall:uninstall", "Remove the service's files."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="gitvs", message="%(prog)s %(version)s")
@verbose_option
def gitvs() -> None:
    """Git as the control plane of Linux load balancing (IPVS).

    \b
    Examples:
      gitvs validate                  every problem in the manifests of this folder
      gitvs plan --director lb1       what would change on this host
      gitvs apply --director lb1      change it, all or nothing

    `gitvs COMMAND --help` explains a command, with examples.

    \b
    Exit codes:
      0  done, or nothing to do          5  not the expected plan
      1  error                           6  failed, and rolled back
      2  changes are pending             7  stuck: kernel unreadable
      3  blocked by a gate              64  usage
      4  invalid manifests              78  settings that cannot be used
                                       130  interrupted

    `gitvs status --check` has its own: 0 is OK, 1 WARNING, 2 CRITICAL.
    """


def main() -> None:
    """Run the command line of this process.

    A terminal or pipe without `→` in its encoding gets an escape instead of an error. Closed
    output (`>&-`) is no error either.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for as long as we run
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    gc.set_threshold(*GC_THRESHOLDS)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code.

    Anything but a `GitvsError` is a bug, and shows its traceback.
    """
    if not logging.getLogger().handlers:
        log_to_stderr(0)
    try:
        code = gitvs.main(list(arguments), prog_name="gitvs", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return ExitCode.ERROR
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EBADF, errno.EIO):
            raise
        _discard_output()
        click.echo(f"gitvs: standard output cannot be written: {error.strerror}", err=True)
        return ExitCode.ERROR
    except click.Abort:
        click.echo("gitvs: interrupted", err=True)
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE if isinstance(error, click.UsageError) else ExitCode.ERROR
    except GitvsError as error:
        _show_error(error)
        return error.exit_code
    return int(code or ExitCode.DONE)


def _show_error(error: GitvsError) -> None:
    if isinstance(error, InvalidManifests):
        click.echo(str(error), err=True)
        count = problem_count_text(len(error.problems), error.may_have_more)
        click.echo(f"gitvs: {count}", err=True)
    else:
        click.echo(printable_lines(f"gitvs: {error}"), err=True)


def _discard_output() -> None:
    """Discard the output that is still buffered, because its reader has gone.

    Source: Python library, signal, "Note on SIGPIPE".
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
