"""A preview as Markdown for a comment on a pull request: the verdict first, never too long.

What does not fit is left out in steps, the least important first, and it says so. Parts are
cut between rows, lines and sections alone, so that the Markdown stays whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitvs.report.markdown.details import Details, details_of, details_text
from gitvs.report.markdown.escaping import code, names, prose
from gitvs.report.markdown.sections import Section, sections_of
from gitvs.report.plan.plan_view import Presence
from gitvs.report.plan.preview_view import Preview, grouped
from gitvs.report.plan.preview_words import LEAVES, counts_text, verdict_text

MARKER = "<!-- gitvs plan -->"
"""The first line, by which a comment is found again."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """All there is to say. The sections stand in this order."""

    opening: str
    sections: Mapping[str, Section]
    details: tuple[Details, ...]


_Room = Mapping[str, int]
"""How many items of each sort are shown."""

_CUTS = {
    "rows": "lists of real servers that stay as they are",
    "services": "tables of real servers",
    "changes": "changes",
    "directors": "rows of directors",
    "risks": "risk notes",
    "remarks": "remarks",
    "allowed": "allowed gates",
    "problems": "problems",
    "blocked": "gates that block",
}
"""What is left out, the first first."""


def preview_markdown(preview: Preview, limit: int = 60_000) -> str:
    """Return a preview as Markdown of at most so many characters.

    Only what stands above all sections is never cut: that takes a few thousand characters at most.
    """
    parts = _parts(preview)
    whole = _whole(parts)
    room = dict(whole)
    for sort in _CUTS:
        if len(_text(parts, whole, room, limit)) <= limit:
            break
        room[sort] = _most(parts, whole, room, sort, limit)
    return _text(parts, whole, room, limit)


def _most(parts: _Parts, whole: _Room, room: _Room, sort: str, limit: int) -> int:
    """Return how many items of a sort fit, where all of them do not; 0 also if none does."""

    def fits(number: int) -> bool:
        return len(_text(parts, whole, {**room, sort: number}, limit)) <= limit

    low, high = 0, room[sort]
    if not fits(0):
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _whole(parts: _Parts) -> _Room:
    services = [service for one in parts.details for service in one.services]
    return {
        "rows": sum(service.whole != service.short for service in services),
        "services": len(services),
        "changes": sum(len(one.changes) for one in parts.details),
        **{sort: len(section.items) for sort, section in parts.sections.items()},
    }


def _text(parts: _Parts, whole: _Room, room: _Room, limit: int) -> str:
    sections = [
        section.title + "".join(section.items[: room[sort]])
        for sort, section in parts.sections.items()
        if room[sort]
    ]
    details = details_text(parts.details, room["changes"], room["services"], room["rows"])
    missing = _missing(whole, room, limit)
    return "\n".join(part for part in (parts.opening, missing, *sections, details) if part)


def _missing(whole: _Room, room: _Room, limit: int) -> str:
    cut = [
        f"{whole[sort] - room[sort]} of {whole[sort]} {noun}"
        for sort, noun in _CUTS.items()
        if room[sort] < whole[sort]
    ]
    if not cut:
        return ""
    return (
        f"Left out, to stay within {limit} characters: {', '.join(cut)}."
        " `gitvs plan --format html` shows all of it.\n"
    )


def _parts(preview: Preview) -> _Parts:
    groups = grouped(preview.plans)
    details = tuple(details_of(g) for g in groups if g.plan.plan or g.plan.repairs)
    return _Parts("\n".join(_opening(preview)), sections_of(preview, groups), details)


def _opening(preview: Preview) -> Iterator[str]:
    """Yield what is always there: the verdict, of what, and how many directors it is about."""
    yield f"{MARKER}\n## gitvs plan: {verdict_text(preview)}\n"
    where = f", manifests in {code(preview.folder)}" if preview.folder else ""
    yield f"From {code(str(preview.base))} to {code(str(preview.head))}{where}\n"
    yield f"{counts_text(preview)}\n"
    if appear := preview.named(Presence.APPEARS):
        yield f"New: {names(appear)}\n"
    if leave := preview.named(Presence.DISAPPEARS):
        yield f"Left the manifests: {names(leave)}; {prose(LEAVES)}\n"
