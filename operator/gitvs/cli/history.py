"""`gitvs history`: what was applied here, when, and how that ended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from gitvs.adapters.process.privileges import become_owner_of
from gitvs.adapters.store.backup import check_database_exists
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.cli.shared.options import WholeNumber, state_options
from gitvs.cli.shared.output import show, show_json
from gitvs.core.errors import ExitCode, UsageError
from gitvs.core.model.history import HistoryEntry, Outcome
from gitvs.core.settings import KEPT_TRANSACTIONS
from gitvs.report.status.history_json import history_json, transaction_json
from gitvs.report.status.history_text import history_text, transaction_text

DEFAULT_LIMIT = 20


@click.command()
@click.argument("words", nargs=-1, metavar="[show ID]")
@click.option(
    "--limit",
    type=WholeNumber(1),
    default=DEFAULT_LIMIT,
    show_default=True,
    metavar="N",
    help=f"How many are listed; {KEPT_TRANSACTIONS} are kept, unless settings say otherwise.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@state_options
def history(words: tuple[str, ...], limit: int, as_json: bool, state_dir: Path) -> int:
    """List the transactions of this host, the newest first; `show ID` prints one with its plan.

    Commits for which nothing had to change are listed too, as converged.

    It works with and without an agent.

    \b
    Examples:
      gitvs history
      gitvs history --limit 100 --json
      gitvs history show 17
    """
    transaction_id = _parse_transaction_id(words)
    become_owner_of(state_dir)
    check_database_exists(state_dir)
    with SqliteStore.open_readonly(state_dir) as store:
        if transaction_id is None:
            _show_history(store.history(limit), as_json)
        else:
            _show_transaction(store, transaction_id, as_json)
    return ExitCode.DONE


def _parse_transaction_id(words: Sequence[str]) -> int | None:
    match words:
        case []:
            return None
        case ["show", number] if re.fullmatch("[0-9]{1,18}", number):
            return int(number)
        case _:
            raise UsageError(
                f"`gitvs history {' '.join(words)}` is not understood: say `gitvs history`, or"
                " `gitvs history show ID` with a number from its first column"
            )


def _show_history(entries: Sequence[HistoryEntry], as_json: bool) -> None:
    if as_json:
        show_json(history_json(entries))
    else:
        show(history_text(entries))


def _show_transaction(store: SqliteStore, transaction_id: int, as_json: bool) -> None:
    entry = next((e for e in store.history() if e.id == transaction_id), None)
    if entry is None:
        raise UsageError(f"there is no transaction {transaction_id}; `gitvs history` lists them")
    changes = [] if entry.outcome is Outcome.CONVERGED else store.changes_of(transaction_id)
    if as_json:
        show_json(transaction_json(entry, changes))
    else:
        show(transaction_text(entry, changes, store.kept_plans))
