"""The history for people: transactions as a table, and one transaction's plan, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.text import Text

from gitvs.core.model.history import Commit, HistoryEntry, Result
from gitvs.core.planning.plan import Change
from gitvs.report.plan.plan_view import summary_text
from gitvs.report.status.history_json import duration_of, summary_of_entry
from gitvs.report.status.verdict import person
from gitvs.report.text.change_words import SIGNS, change_text
from gitvs.report.text.lines import Line, aligned, line, text_of
from gitvs.report.text.tables import add_row, table, text_of_table
from gitvs.report.text.times import clock, took

_STYLES = {Result.BLOCKED: "yellow", Result.ROLLED_BACK: "red", Result.STUCK: "bold red"}
_SIGN_OF = {"create": "+", "update": "~", "delete": "-", "drain": "↓"}

_WORK_TREE = "work tree"


def history_text(entries: Sequence[HistoryEntry]) -> Text:
    """Return transactions as a table, in the order in which they are given."""
    if not entries:
        return text_of([line("no transaction is finished yet")])
    found = table("Id>", "When", "Result", "Changes", "Took>", "Commit", "Author", "Subject")
    for entry in entries:
        add_row(found, _cells(entry), _STYLES.get(entry.result, ""))
        for message in entry.message.splitlines():
            add_row(found, [*[""] * 7, f"  {message}"], _STYLES.get(entry.result, ""))
    return text_of_table(found)


def transaction_text(
    entry: HistoryEntry, changes: Sequence[Change] | None, kept_plans: int
) -> Text:
    """Return one transaction with its plan in the order of execution.

    `kept_plans` is how many of the newest plans the store keeps.
    """
    lines = [
        line(f"transaction {entry.id}: {entry.result}", style=_STYLES.get(entry.result, "bold")),
        line(""),
        *aligned(list(_facts(entry))),
    ]
    if changes is None:
        why = f"the plan is forgotten: only the newest {kept_plans} are kept"
        lines += [line(""), line(why)]
    else:
        lines += _phases(changes)
    return text_of(lines)


def _cells(entry: HistoryEntry) -> list[str]:
    commit = entry.commit or Commit("")
    return [
        str(entry.id),
        clock(entry.started_at),
        str(entry.result),
        _counts(entry),
        took(duration_of(entry)),
        commit.id[:12] or _WORK_TREE,
        person(commit.author),
        commit.subject,
    ]


def _counts(entry: HistoryEntry) -> str:
    """Return `+3 ~1 ↓2`."""
    counts = summary_of_entry(entry)
    return " ".join(f"{_SIGN_OF[action]}{n}" for action, n in counts.items() if n)


def _facts(entry: HistoryEntry) -> Iterator[Line]:
    commit = entry.commit
    yield line("commit", _WORK_TREE if commit is None else commit.id)
    if commit is not None:
        yield line("author", commit.author)
        yield line("subject", commit.subject)
    yield line("when", f"{clock(entry.started_at)}, took {took(duration_of(entry))}")
    yield line("changes", summary_text(summary_of_entry(entry)))
    for number, message in enumerate(entry.message.splitlines()):
        yield line("" if number else "message", message)


def _phases(changes: Sequence[Change]) -> Iterator[Line]:
    for phase, group in groupby(changes, key=lambda change: change.phase):
        yield line("")
        yield line(str(phase), style="bold")
        yield from aligned([_change_line(change) for change in group])


def _change_line(change: Change) -> Line:
    sign, style = SIGNS[change.action]
    return line(sign, change.key, change_text(change), style=style, indent=2)
