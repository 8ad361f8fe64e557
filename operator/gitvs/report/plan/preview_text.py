"""A preview for people at a terminal: every director that changes, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from gitvs.core.planning.risks.risk import names_text
from gitvs.report.plan.plan_text import director_lines, risk_lines
from gitvs.report.plan.plan_view import Presence
from gitvs.report.plan.preview_view import DirectorGroup, Preview, Verdict, director_groups
from gitvs.report.plan.preview_words import LEFT_MANIFESTS_NOTE, counts_text, verdict_text
from gitvs.report.plan.removals import changes_text
from gitvs.report.text.lines import Line, line, lines_text

_MAX_NAMES_IN_HEADING = 12


def preview_text(preview: Preview, width: int | None = None) -> Text:
    """Return a preview as text; its last line is the verdict.

    Without a width no line is wrapped.
    """
    return lines_text(_preview_lines(preview), width)


def _preview_lines(preview: Preview) -> Iterator[Line]:
    yield line(f"{preview.head} compared with {preview.base}", style="bold")
    for remark in preview.remarks:
        yield line(f"note: {remark}", style="yellow")
    if preview.problems:
        yield line("")
        yield line("Problems", style="bold red")
    for problem in preview.problems:
        yield line(str(preview.places.problem(problem)), style="red", indent=2)
    if preview.warnings:
        yield line("")
        yield line("Warnings", style="bold yellow")
    for warning in preview.warnings:
        yield line(str(preview.places.problem(warning)), style="yellow", indent=2)
    for group in director_groups(preview.plans):
        yield line("")
        yield from _group_lines(group)
    if preview.risks:
        yield line("")
        yield from risk_lines(preview.risks)
    yield line("")
    yield line(counts_text(preview))
    yield _verdict_line(preview)


def _group_lines(group: DirectorGroup) -> Iterator[Line]:
    """Yield one section for directors with the same changes."""
    plan = group.plan
    names = names_text(group.directors, _MAX_NAMES_IN_HEADING)
    match plan.presence:
        case Presence.DISAPPEARS:
            yield line(f"{names}: left the manifests; {LEFT_MANIFESTS_NOTE}", style="bold red")
            return
        case Presence.APPEARS:
            names = f"{names} (new)"
    counts = changes_text(plan) if plan.has_changes else "no change"
    yield line(f"{names}: {counts}", style="bold")
    yield from director_lines(plan)
    if len(group.directors) == 1:
        yield line("")
        yield line(f"digest of the desired state {plan.desired_digest}", style="dim")


def _verdict_line(preview: Preview) -> Line:
    text = verdict_text(preview)
    match preview.verdict:
        case Verdict.INVALID:
            return line(text, style="bold red")
        case Verdict.BLOCKED:
            return line(f"{text}: nothing would be changed there", style="bold red")
        case Verdict.CHANGES:
            return line(text, style="bold")
        case Verdict.NONE:
            return line(text)
