"""The history for people: transactions as a table, and one transaction's plan, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.text import Text

from gitvs.core.model.history import Commit, HistoryEntry, Outcome
from gitvs.core.planning.plan import Change
from gitvs.report.plan.plan_view import summary_text
from gitvs.report.status.headline import author_name
from gitvs.report.status.history_json import duration_seconds, summary_of_entry
from gitvs.report.text.changes import SIGNS_AND_COLOURS, change_text
from gitvs.report.text.lines import Line, aligned, line, lines_text
from gitvs.report.text.tables import add_row, new_table, table_text
from gitvs.report.text.times import elapsed_text, utc_time_text

_OUTCOME_STYLES = {Outcome.BLOCKED: "yellow", Outcome.ROLLED_BACK: "red", Outcome.STUCK: "bold red"}
_ACTION_SIGNS = {"create": "+", "update": "~", "delete": "-", "drain": "↓"}

_WORK_TREE = "work tree"


def history_text(entries: Sequence[HistoryEntry]) -> Text:
    """Return transactions and converged commits as a table, in the order given."""
    if not entries:
        return lines_text([line("no transaction is finished yet")])
    history_table = new_table(
        "Id>", "When", "Result", "Changes", "Took>", "Commit", "Author", "Subject"
    )
    for entry in entries:
        add_row(history_table, _entry_cells(entry), _OUTCOME_STYLES.get(entry.outcome, ""))
        for message in entry.message.splitlines():
            add_row(
                history_table, [*[""] * 7, f"  {message}"], _OUTCOME_STYLES.get(entry.outcome, "")
            )
    return table_text(history_table)


def transaction_text(
    entry: HistoryEntry, changes: Sequence[Change] | None, retained_plan_count: int
) -> Text:
    """Return one transaction with its plan in the order of execution.

    `retained_plan_count` is how many of the newest plans the store keeps.
    """
    lines = [
        line(
            f"transaction {entry.id}: {entry.outcome}",
            style=_OUTCOME_STYLES.get(entry.outcome, "bold"),
        ),
        line(""),
        *aligned(list(_fact_lines(entry))),
    ]
    if entry.outcome is Outcome.CONVERGED:
        lines += [line(""), line("nothing had to change on this director")]
    elif changes is None:
        note = f"the plan is forgotten: only the newest {retained_plan_count} are kept"
        lines += [line(""), line(note)]
    else:
        lines += _phase_lines(changes)
    return lines_text(lines)


def _entry_cells(entry: HistoryEntry) -> list[str]:
    commit = entry.commit or Commit("")
    return [
        str(entry.id),
        utc_time_text(entry.started_at),
        str(entry.outcome),
        _counts_text(entry),
        elapsed_text(duration_seconds(entry)),
        commit.id[:12] or _WORK_TREE,
        author_name(commit.author),
        commit.subject,
    ]


def _counts_text(entry: HistoryEntry) -> str:
    """Return `+3 ~1 ↓2`."""
    counts = summary_of_entry(entry)
    return " ".join(f"{_ACTION_SIGNS[action]}{n}" for action, n in counts.items() if n)


def _fact_lines(entry: HistoryEntry) -> Iterator[Line]:
    commit = entry.commit
    yield line("commit", _WORK_TREE if commit is None else commit.id)
    if commit is not None:
        yield line("author", commit.author)
        yield line("subject", commit.subject)
    yield line(
        "when", f"{utc_time_text(entry.started_at)}, took {elapsed_text(duration_seconds(entry))}"
    )
    yield line("changes", summary_text(summary_of_entry(entry)))
    for number, message in enumerate(entry.message.splitlines()):
        yield line("" if number else "message", message)


def _phase_lines(changes: Sequence[Change]) -> Iterator[Line]:
    for phase, group in groupby(changes, key=lambda change: change.phase):
        yield line("")
        yield line(str(phase), style="bold")
        yield from aligned([_change_line(change) for change in group])


def _change_line(change: Change) -> Line:
    sign, style = SIGNS_AND_COLOURS[change.action]
    return line(sign, change.key, change_text(change), style=style, indent=2)
