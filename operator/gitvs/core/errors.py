"""The expected errors, each with its exit code.

An error carries values and builds its text from them: what failed, on which key, against which
limit or error code, and what happens next. Any other exception is a bug.
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
    SETTINGS = 78
    """Source: sysexits.h, EX_CONFIG; the shipped unit does not restart the agent after it."""
    INTERRUPTED = 130

    @classmethod
    def severest(cls, codes: Iterable[ExitCode]) -> ExitCode:
        """Return the most severe of several exit codes (design section 7)."""
        by_severity = (
            cls.STUCK,
            cls.ROLLED_BACK,
            cls.UNEXPECTED_PLAN,
            cls.INVALID,
            cls.BLOCKED,
            cls.SETTINGS,
            cls.ERROR,
        )
        present = set(codes)
        return next((code for code in by_severity if code in present), cls.DONE)


class GitvsError(Exception):
    """The base class; subclasses set `exit_code` and `is_transient` (worth a retry)."""

    exit_code: ExitCode = ExitCode.ERROR
    is_transient: bool = False


class UsageError(GitvsError):
    """An argument or setting with an impossible value."""

    exit_code = ExitCode.USAGE


class SettingsError(GitvsError):
    """A settings file that cannot be used; waiting does not change that."""

    exit_code = ExitCode.SETTINGS


class CannotListen(GitvsError):
    """An address of the settings that cannot be listened on now; that may pass."""

    is_transient = True


class FileUnusable(GitvsError):
    """A file that an option names, and that could not be read or written."""


class UnknownTransaction(GitvsError):
    """There is no transaction with this id, or not any more."""


class SourceError(GitvsError):
    """Manifests that could not be read: no repository, no such revision, no such folder."""


class UnusableManifests(SourceError):
    """Manifests that exist and cannot be read: too large, or with a file name that is not UTF-8."""


class SourceUnreachable(SourceError):
    """A remote that did not answer in time, or gave an unusable answer."""

    is_transient = True


class UntrustedCommit(SourceError):
    """A commit that the signature policy rejects, with the problem and the remedy."""

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


class MetBug(GitvsError):
    """An unexpected exception, as an error of what was being done, which is left as it was."""

    def __init__(self, what: str, bug: BaseException) -> None:
        super().__init__(
            f"{what}: gitvs met a bug, {type(bug).__name__}: {bug}. The applied state"
            " stays in force. The log has the details; please report them"
        )


class Quarantined(GitvsError):
    """A commit that failed and is not tried again."""

    exit_code = ExitCode.ROLLED_BACK


class UncountedLines(GitvsError):
    """Lines of a commit's message that lift no gate, and why; the step is blocked without them."""

    exit_code = ExitCode.BLOCKED

    def __init__(self, commit_id: str, reason: str) -> None:
        super().__init__(f"`Gitvs-Allow` in commit {commit_id[:12]} is ignored: {reason}")


def forked_earlier_text(base_id: str) -> str:
    """Return why a commit's lines are not counted that does not descend from the base.

    It was written without knowing the base, so there is no step from the base to it.
    """
    return (
        f"its branch began before commit {base_id[:12]}, so it does not cover later"
        " changes; put the line into the merge commit"
    )


class UnknownDirector(GitvsError):
    """A director that no manifest describes; it is never treated as an empty state."""

    exit_code = ExitCode.INVALID


class KernelUnavailable(GitvsError):
    """This kernel has no IPVS, or the process may not use it."""


class KernelUnreadable(GitvsError):
    """The kernel could not be read, or its answers stayed inconsistent or incomplete."""

    is_transient = True


class StoreError(GitvsError):
    """The database is damaged, locked, full, read-only, or another user's or program's."""


class StoreDamaged(StoreError):
    """The database cannot be trusted; gitvs stops until a person has examined it."""


class StoreOutdated(StoreDamaged):
    """A store that is older than the kernel: its records are not what gitvs last did here.

    `number` is the store's, `witness` the one that was recorded beside the kernel.
    """

    def __init__(self, number: int, witness: int) -> None:
        self.number = number
        self.witness = witness
        super().__init__(
            f"the store in the state folder is older than what gitvs last did here: it is at number"
            f" {number}, and number {witness} was recorded outside it. Either a copy was brought"
            " back, or the newest records were lost with a damaged gitvs.db-wal. gitvs does not"
            " guess what it owns, and nothing was changed. Bring back the newest gitvs.db together"
            " with its gitvs.db-wal, if there is one; or take the objects over again with"
            " `gitvs apply --adopt`"
        )


class LockHeld(GitvsError):
    """Another gitvs is the writer of this network namespace."""

    is_transient = True


class LockUnusable(GitvsError):
    """The lock of this network namespace can be neither held nor looked at by this user."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no lock of this network namespace: {reason}. Nothing was changed")


class UnexpectedPlan(GitvsError):
    """The plan is not the one that `--expect` names."""

    exit_code = ExitCode.UNEXPECTED_PLAN


class AgentUnreachable(GitvsError):
    """No agent answers on this host's control socket."""


class AgentNotAnswering(AgentUnreachable):
    """An agent may be running, but this user may not ask it or it does not answer in time."""


class ControlFailed(GitvsError):
    """The agent rejected an operator's request; `exit_code` depends on the reason."""

    def __init__(self, text: str, exit_code: ExitCode = ExitCode.ERROR) -> None:
        self.exit_code = exit_code
        super().__init__(text)
