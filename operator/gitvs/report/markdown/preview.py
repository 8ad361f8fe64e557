"""A preview as Markdown for a comment on a pull request: the verdict first, never too long.

What does not fit is left out in steps, the least important first, and the comment lists what is
missing. Cuts are only between rows, lines and sections, so that the Markdown stays valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitvs.report.markdown.details import GroupDetails, details_of, details_text
from gitvs.report.markdown.escaping import code, code_names, linked, prose
from gitvs.report.markdown.sections import Section, sections_of
from gitvs.report.plan.plan_view import Presence
from gitvs.report.plan.preview_view import Preview, director_groups
from gitvs.report.plan.preview_words import LEFT_MANIFESTS_NOTE, counts_text, verdict_text

COMMENT_MARKER = "<!-- gitvs plan -->"
"""The first line, which identifies the comment for the next update."""


@dataclass(frozen=True, slots=True)
class _CommentParts:
    """All parts of a comment, before any cut. The sections are in display order."""

    overview: str
    sections: Mapping[str, Section]
    details: tuple[GroupDetails, ...]


_ItemCounts = Mapping[str, int]
"""The number of items of each type."""

_CUT_ORDER = {
    "rows": "lists of real servers that stay as they are",
    "services": "tables of real servers",
    "changes": "changes",
    "directors": "rows of directors",
    "risks": "risk notes",
    "remarks": "remarks",
    "warnings": "warnings",
    "allowed": "allowed gates",
    "problems": "problems",
    "blocked": "gates that block",
}
"""The types of items in the order in which they are left out, with their names."""


def preview_markdown(preview: Preview, max_characters: int = 60_000) -> str:
    """Return a preview as Markdown of at most `max_characters` characters.

    Only the overview is never cut: it takes a few thousand characters at most.
    """
    parts = _comment_parts(preview)
    total_counts = _total_counts(parts)
    shown_counts = dict(total_counts)
    for item_type in _CUT_ORDER:
        if len(_comment_text(parts, total_counts, shown_counts, max_characters)) <= max_characters:
            break
        shown_counts[item_type] = _max_fitting_count(
            parts, total_counts, shown_counts, item_type, max_characters
        )
    return _comment_text(parts, total_counts, shown_counts, max_characters)


def _max_fitting_count(
    parts: _CommentParts,
    total_counts: _ItemCounts,
    shown_counts: _ItemCounts,
    item_type: str,
    max_characters: int,
) -> int:
    """Return how many items of a type fit if not all do; 0 even if that is too long."""

    def fits(number: int) -> bool:
        return (
            len(
                _comment_text(
                    parts, total_counts, {**shown_counts, item_type: number}, max_characters
                )
            )
            <= max_characters
        )

    low, high = 0, shown_counts[item_type]
    if not fits(0):
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _total_counts(parts: _CommentParts) -> _ItemCounts:
    services = [service for one in parts.details for service in one.services]
    return {
        "rows": sum(service.full_text != service.short_text for service in services),
        "services": len(services),
        "changes": sum(len(one.changes) for one in parts.details),
        **{sort: len(section.items) for sort, section in parts.sections.items()},
    }


def _comment_text(
    parts: _CommentParts, total_counts: _ItemCounts, shown_counts: _ItemCounts, max_characters: int
) -> str:
    sections = [
        section.title + "".join(section.items[: shown_counts[item_type]])
        for item_type, section in parts.sections.items()
        if shown_counts[item_type]
    ]
    details = details_text(
        parts.details, shown_counts["changes"], shown_counts["services"], shown_counts["rows"]
    )
    left_out_text = _left_out_text(total_counts, shown_counts, max_characters)
    return "\n".join(part for part in (parts.overview, left_out_text, *sections, details) if part)


def _left_out_text(
    total_counts: _ItemCounts, shown_counts: _ItemCounts, max_characters: int
) -> str:
    left_out = [
        f"{total_counts[item_type] - shown_counts[item_type]} of {total_counts[item_type]} {noun}"
        for item_type, noun in _CUT_ORDER.items()
        if shown_counts[item_type] < total_counts[item_type]
    ]
    if not left_out:
        return ""
    return (
        f"Left out, to stay within {max_characters} characters: {', '.join(left_out)}."
        " `gitvs plan --format html` shows all of it.\n"
    )


def _comment_parts(preview: Preview) -> _CommentParts:
    groups = director_groups(preview.plans)
    details = tuple(
        details_of(g) for g in groups if g.plan.has_changes or g.plan.repairs or g.plan.unrepairable
    )
    return _CommentParts("\n".join(_overview_lines(preview)), sections_of(preview, groups), details)


def _overview_lines(preview: Preview) -> Iterator[str]:
    """Yield what is never cut: the verdict, base and head, and the number of directors."""
    yield f"{COMMENT_MARKER}\n## gitvs plan: {verdict_text(preview)}\n"
    folder_text = f", manifests in {code(preview.folder)}" if preview.folder else ""
    base, head = (
        linked(code(str(side)), preview.places.commit_url(side.commit))
        for side in (preview.base, preview.head)
    )
    yield f"From {base} to {head}{folder_text}\n"
    yield f"{counts_text(preview)}\n"
    if appearing := preview.directors_with(Presence.APPEARS):
        yield f"New: {code_names(appearing)}\n"
    if disappearing := preview.directors_with(Presence.DISAPPEARS):
        yield f"Left the manifests: {code_names(disappearing)}; {prose(LEFT_MANIFESTS_NOTE)}\n"
