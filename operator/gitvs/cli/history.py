"""`gitvs history`: what was applied here, when, and how that ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from gitvs.adapters.process.privileges import become_owner_of
from gitvs.adapters.store.backup import check_database_exists
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.cli.shared.completion import quietly, state_dir_of
from gitvs.cli.shared.options import WholeNumber, state_options
from gitvs.cli.shared.output import show, show_json, terminal_width
from gitvs.core.errors import ExitCode, UnknownTransaction, UsageError
from gitvs.core.model.history import Outcome
from gitvs.core.settings import KEPT_TRANSACTIONS
from gitvs.report.status.history_json import history_json, transaction_json
from gitvs.report.status.history_text import history_text, transaction_text

DEFAULT_LIMIT = 20

_json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


class _History(click.Group):
    """A list without a subcommand; its options may come before or after `show ID`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands:
            raise UsageError(
                f"`gitvs history {' '.join(args)}` is not understood: use `gitvs"
                " history`, or `gitvs history show ID` with a number from its first"
                " column"
            )
        return super().resolve_command(ctx, args)


@quietly
def _transactions(context: click.Context) -> Iterator[tuple[str, str]]:
    """Complete the ids of the newest transactions."""
    with _open_store(state_dir_of(context)) as store:
        for entry in store.history(DEFAULT_LIMIT):
            subject = entry.commit.subject if entry.commit is not None else ""
            yield str(entry.id), f"{entry.outcome} {subject}".rstrip()


@click.group(cls=_History, invoke_without_command=True, subcommand_metavar="[show ID]")
@click.option(
    "--limit",
    type=WholeNumber(1),
    default=DEFAULT_LIMIT,
    show_default=True,
    metavar="N",
    help=f"How many to list; the database keeps {KEPT_TRANSACTIONS} by default.",
)
@_json_option
@state_options
@click.pass_context
def history(context: click.Context, limit: int, as_json: bool, state_dir: Path) -> int:
    """List the transactions of this host, the newest first.

    Commits that changed nothing are listed too, as converged. Later work for a commit that was in
    force already (the end of a drain, a repair of drift) is listed without the commit.

    It works with and without an agent.

    \b
    Examples:
      gitvs history
      gitvs history --limit 100 --json
      gitvs history show 17
    """
    if context.invoked_subcommand is not None:
        context.obj = (as_json, state_dir)
        return ExitCode.DONE
    with _open_store(state_dir) as store:
        entries = store.history(limit)
    if as_json:
        show_json(history_json(entries))
    else:
        show(history_text(entries, terminal_width()))
    return ExitCode.DONE


@history.command("show")
@click.argument("transaction_id", metavar="ID", type=WholeNumber(0), shell_complete=_transactions)
@_json_option
@state_options
@click.pass_context
def show_transaction(
    context: click.Context, transaction_id: int, as_json: bool, state_dir: Path
) -> int:
    """Print one transaction with its plan, in the order of execution.

    ID is a number from the first column of `gitvs history`. The plans of the newest transactions
    are kept.

    \b
    Examples:
      gitvs history show 17
      gitvs history show 17 --json
    """
    is_json_before, state_dir_before = context.obj
    if context.get_parameter_source("state_dir") is click.core.ParameterSource.DEFAULT:
        state_dir = state_dir_before
    with _open_store(state_dir) as store:
        entry = next((e for e in store.history() if e.id == transaction_id), None)
        if entry is None:
            raise UnknownTransaction(
                f"there is no transaction {transaction_id}; `gitvs history` lists them"
            )
        is_converged = entry.outcome is Outcome.CONVERGED
        changes = () if is_converged else store.changes_of(transaction_id)
        kept_plans = store.kept_plans
    if as_json or is_json_before:
        show_json(transaction_json(entry, changes))
    else:
        show(transaction_text(entry, changes, kept_plans, terminal_width()))
    return ExitCode.DONE


def _open_store(state_dir: Path) -> SqliteStore:
    become_owner_of(state_dir)
    check_database_exists(state_dir)
    return SqliteStore.open_readonly(state_dir)
