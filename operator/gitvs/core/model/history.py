"""Commits, how the passes for them ended, and which commits are in quarantine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gitvs.core.errors import ExitCode

MAX_SHOWN_CHARACTERS = 120
"""The longest text of a commit that is kept; a commit may have a line of a megabyte."""


def one_line(text: str) -> str:
    """Return a text of a commit as one line, shortened for display."""
    line = " ".join(text.splitlines())
    if len(line) <= MAX_SHOWN_CHARACTERS:
        return line
    return line[: MAX_SHOWN_CHARACTERS - 1] + "…"


@dataclass(frozen=True, slots=True)
class Commit:
    """A Git commit as shown to people; `id` is the full object name.

    Author and subject are shortened to one line, wherever they come from.
    """

    id: str
    author: str = ""
    subject: str = ""
    committed_at: datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "author", one_line(self.author))
        object.__setattr__(self, "subject", one_line(self.subject))


class Outcome(StrEnum):
    """How a pass ended (design section 4)."""

    CONVERGED = "converged"
    APPLIED = "applied"
    BLOCKED = "blocked"
    ROLLED_BACK = "rolled-back"
    STUCK = "stuck"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command whose pass ended with this outcome."""
        codes = {
            Outcome.BLOCKED: ExitCode.BLOCKED,
            Outcome.ROLLED_BACK: ExitCode.ROLLED_BACK,
            Outcome.STUCK: ExitCode.STUCK,
        }
        return codes.get(self, ExitCode.DONE)


class Cause(StrEnum):
    """Why a transaction was made."""

    COMMIT = "commit"
    """To apply its commit, or a folder of manifests."""
    DRAIN_END = "drain-end"
    """To remove drained real servers of a commit that was already applied."""
    UPKEEP = "upkeep"
    """To repair drift, or for an operation by hand; the commit was in force already."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One finished transaction, or a commit for which nothing had to change.

    `state_digest` is that of the desired state that it applied; empty if it applied none, or if
    a gitvs recorded it whose digests have another form.
    """

    id: int
    started_at: datetime
    finished_at: datetime
    outcome: Outcome
    commit: Commit | None
    summary: Mapping[str, int]
    message: str
    state_digest: str = ""
    cause: Cause = Cause.COMMIT


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A commit that is not tried again by this gitvs version in this incarnation."""

    commit_id: str
    reason: str
    quarantined_at: datetime
    found_open_count: int = 0
    """How often its transaction was found open at start."""
    state_digest: str = ""
    """The digest of the desired state that failed; empty if it was not recorded in this form."""
