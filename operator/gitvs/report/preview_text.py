"""A preview for people at a terminal: every director that changes, and what it all comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.text import Text

from gitvs.report.lines import Line, line, text_of
from gitvs.report.plan_text import director_lines, risk_lines
from gitvs.report.plan_view import PlanOutcome, Presence, summary_text
from gitvs.report.preview_view import Group, Preview, Verdict, grouped

LEAVES = (
    "left the manifests: its agent keeps what is applied, and reports an error, until"
    " `gitvs teardown` is run there"
)
_MOST_NAMED = 5
_MOST_IN_HEADING = 12


def preview_text(preview: Preview) -> Text:
    """Return a preview as text; its last line is the verdict."""
    return text_of(_lines(preview))


def _lines(preview: Preview) -> Iterator[Line]:
    yield line(f"{preview.head} against {preview.base}", style="bold")
    for remark in preview.remarks:
        yield line(f"note: {remark}", style="yellow")
    if preview.problems:
        yield line("")
        yield line("Problems", style="bold red")
    for problem in preview.problems:
        yield line(str(problem), style="red", indent=2)
    for group in grouped(preview.plans):
        yield line("")
        yield from _group_lines(group)
    if preview.risks:
        yield line("")
        yield from risk_lines(preview.risks)
    yield line("")
    if counts := _counts(preview):
        yield line(counts)
    yield _verdict_line(preview)


def _group_lines(group: Group) -> Iterator[Line]:
    """One section for directors to which the same happens."""
    plan = group.plan
    names = names_text(group.directors, _MOST_IN_HEADING)
    match plan.presence:
        case Presence.DISAPPEARS:
            yield line(f"{names}: {LEAVES}", style="bold red")
            return
        case Presence.APPEARS:
            names = f"{names} (new)"
    counts = summary_text(plan.summary) if plan.plan else "no change"
    yield line(f"{names}: {counts}", style="bold")
    yield from director_lines(plan)
    if len(group.directors) == 1:
        yield line("")
        yield line(f"digest of the desired state {plan.desired_digest}", style="dim")


def names_text(names: Sequence[str], most: int = _MOST_NAMED) -> str:
    """Return `lb1, lb2 and 3 more`."""
    listed = ", ".join(names[:most])
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed


def _counts(preview: Preview) -> str:
    """Return how many directors change, come, go and stay as they are."""
    is_invalid = preview.verdict is Verdict.INVALID and not preview.plans
    if is_invalid:
        return ""
    presence = Counter(plan.presence for plan in preview.plans)
    number = {
        "change": presence[Presence.STAYS],
        "new": presence[Presence.APPEARS],
        "left the manifests": presence[Presence.DISAPPEARS],
        "unchanged": preview.unchanged,
    }
    total = len(preview.plans) + preview.unchanged
    shown = ", ".join(f"{count} {what}" for what, count in number.items() if count)
    return f"{total} director{'s' * (total != 1)}: {shown}" if total else "no directors"


def _verdict_line(preview: Preview) -> Line:
    match preview.verdict:
        case Verdict.INVALID:
            count = len(preview.problems)
            return line(f"invalid: {count} problem{'s' * (count > 1)}", style="bold red")
        case Verdict.BLOCKED:
            blocked = [p for p in preview.plans if p.outcome is PlanOutcome.BLOCKED]
            gates = dict.fromkeys(g.name for p in blocked for g in p.gates if not g.allowed)
            where = names_text([p.director for p in blocked])
            text = f"blocked by {', '.join(gates)} on {where}: nothing would be changed there"
            return line(text, style="bold red")
        case Verdict.CHANGES:
            totals: Counter[str] = Counter()
            for plan in preview.plans:
                totals.update(plan.summary)
            names = ("create", "update", "delete", "drain")
            return line(summary_text({name: totals[name] for name in names}), style="bold")
        case Verdict.NONE:
            return line("nothing would change")
