"""The history for people: transactions as a table, and one transaction's plan, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.text import Text

from gitvs.core.model.history import Cause, Commit, HistoryEntry, Outcome
from gitvs.core.planning.plan import Change
from gitvs.report.plan.plan_view import summary_text
from gitvs.report.status.change_counts import CAUSE_TEXTS, signed_counts_text, summary_of_entry
from gitvs.report.status.headline import author_name
from gitvs.report.status.history_json import duration_seconds
from gitvs.report.text.changes import SIGNS_AND_COLOURS, change_text
from gitvs.report.text.lines import Line, aligned, line, lines_text
from gitvs.report.text.tables import add_row, new_table, table_text
from gitvs.report.text.times import elapsed_text, utc_time_text

_OUTCOME_STYLES = {Outcome.BLOCKED: "yellow", Outcome.ROLLED_BACK: "red", Outcome.STUCK: "bold red"}
_WORK_TREE = "work tree"
_UTC = " UTC"

_COLUMNS = ("Id>", "When (UTC)", "Result", "Changes", "Took>", "Commit", "Author", "Subject")
_WIDE_COLUMNS = ("Took>", "Author")
MIN_WIDTH_WITH_AUTHORS = 110


def history_text(entries: Sequence[HistoryEntry], width: int | None = None) -> Text:
    """Return transactions and converged commits as a table, in the order given.

    What went wrong is below its row. In a narrow terminal, how long it took and the author are
    left out, and the subject is cut.
    """
    if not entries:
        return lines_text([line("no transaction is finished yet")])
    is_narrow = width is not None and width < MIN_WIDTH_WITH_AUTHORS
    columns = [c for c in _COLUMNS if not (is_narrow and c in _WIDE_COLUMNS)]
    history_table = new_table(*columns, cut="Subject")
    for entry in entries:
        cells = _entry_cells(entry)
        note = "\n".join(entry.message.splitlines())
        style = _OUTCOME_STYLES.get(entry.outcome, "")
        add_row(history_table, [cells[column] for column in columns], note, style)
    return table_text(history_table, width=width, notes_below=True)


def transaction_text(
    entry: HistoryEntry,
    changes: Sequence[Change] | None,
    retained_plan_count: int,
    width: int | None = None,
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
    return lines_text(lines, width)


def _entry_cells(entry: HistoryEntry) -> Mapping[str, str]:
    """Return the cell of each column. A later transaction of a commit does not look like it."""
    commit = entry.commit or Commit("")
    is_commit = entry.cause is Cause.COMMIT
    values = (
        str(entry.id),
        utc_time_text(entry.started_at).removesuffix(_UTC),
        str(entry.outcome),
        signed_counts_text(summary_of_entry(entry)),
        elapsed_text(duration_seconds(entry)),
        (commit.id[:12] or _WORK_TREE) if is_commit else "",
        author_name(commit.author) if is_commit else "",
        commit.subject if is_commit else CAUSE_TEXTS[entry.cause],
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _fact_lines(entry: HistoryEntry) -> Iterator[Line]:
    commit = entry.commit
    if entry.cause is not Cause.COMMIT:
        yield line("cause", f"{CAUSE_TEXTS[entry.cause]}; the commit was in force already")
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
