"""Everything that can go wrong and is expected to, with its exit code.

An error carries values and builds its text from them: what failed, on which key, measured
against what, and what happens next. Anything that is not a `GitvsError` is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command (public contract)."""

    DONE = 0
    ERROR = 1
    CHANGES = 2
    BLOCKED = 3
    INVALID = 4
    UNEXPECTED_PLAN = 5
    ROLLED_BACK = 6
    STUCK = 7
    USAGE = 64
    INTERRUPTED = 130

    @classmethod
    def severest(cls, codes: Iterable[ExitCode]) -> ExitCode:
        """Return the exit code that holds where several do (design section 7)."""
        by_severity = (
            cls.STUCK,
            cls.ROLLED_BACK,
            cls.UNEXPECTED_PLAN,
            cls.INVALID,
            cls.BLOCKED,
            cls.ERROR,
        )
        present = set(codes)
        return next((code for code in by_severity if code in present), cls.DONE)


class GitvsError(Exception):
    """The root. `exit_code` and `is_transient` (worth a retry) sit on the class."""

    exit_code: ExitCode = ExitCode.ERROR
    is_transient: bool = False


class UsageError(GitvsError):
    """An argument or setting that cannot be meant."""

    exit_code = ExitCode.USAGE


class SettingsError(GitvsError):
    """A settings file that cannot be used."""


class SourceError(GitvsError):
    """Manifests that could not be read: no repository, no such revision, no such folder."""


class UnusableManifests(SourceError):
    """Manifests that are there and cannot be read: too many bytes, or a name that is no text."""


class SourceUnreachable(SourceError):
    """A remote that did not answer in time, or not sensibly."""

    is_transient = True


class UntrustedCommit(SourceError):
    """A commit that the signature policy keeps out: what is wrong with it, and what to do."""

    def __init__(self, commit_id: str, problem: str, remedy: str) -> None:
        self.commit_id = commit_id
        super().__init__(f"commit {commit_id[:12]} {problem}. It is not used; {remedy}")


class RewrittenBranch(SourceError):
    """A branch whose `head` does not descend from `accepted`, the newest accepted commit."""

    def __init__(self, name: str, accepted: str, head: str) -> None:
        self.accepted = accepted
        self.head = head
        old, new = accepted[:12], head[:12]
        super().__init__(
            f"{name}: its head {new} does not descend from {old}, the newest commit that was"
            " accepted from it: the branch was rewritten, or went back. The commit in force stays."
            f" If that is meant, run `gitvs accept-rewrite {new}` on every director, or merge the"
            f" accepted commit into the branch and push (`git merge -s ours {old}`)"
        )


class Quarantined(GitvsError):
    """A commit that failed, and is not tried again."""

    exit_code = ExitCode.ROLLED_BACK


class UnknownDirector(GitvsError):
    """A director that no manifest describes; never an empty state."""

    exit_code = ExitCode.INVALID


class KernelUnavailable(GitvsError):
    """No IPVS in this kernel, or no right to ask it."""


class KernelUnreadable(GitvsError):
    """A reading that stayed inconsistent or cut short."""

    is_transient = True


class StoreError(GitvsError):
    """The database is damaged, locked, full, read-only or not ours."""


class StoreDamaged(StoreError):
    """The database cannot be trusted: nothing goes on before a person has looked."""


class LockHeld(GitvsError):
    """Another gitvs is the writer of this network namespace."""

    is_transient = True


class UnexpectedPlan(GitvsError):
    """The plan is not the one that `--expect` names."""

    exit_code = ExitCode.UNEXPECTED_PLAN


class AgentUnreachable(GitvsError):
    """No agent answers on this host's control socket."""


class AgentNotAnswering(AgentUnreachable):
    """An agent may well be there, but it may not be asked, or does not answer in time."""


class ControlFailed(GitvsError):
    """What an operator asked of the agent was refused; the exit code is the refusal's own."""

    def __init__(self, text: str, exit_code: ExitCode = ExitCode.ERROR) -> None:
        self.exit_code = exit_code
        super().__init__(text)
