"""What gitvs needs from outside, as Protocols. Adapters implement them; tests exchange them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from gitvs.core.manifests.files import File
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit, HistoryEntry, Outcome, Quarantine
from gitvs.core.model.ledger import Incarnation, Ledger
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import Key
from gitvs.core.planning.operations import Operation, Operations
from gitvs.core.planning.plan import Change


class WriteStatus(StrEnum):
    """What became of one write."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What the kernel answered to one change.

    `errno` is positive, as in `errno.ENOENT`, and None unless refused. `message` is for people.
    """

    change: Change
    status: WriteStatus
    errno: int | None = None
    message: str = ""


class Kernel(Protocol):
    """One network namespace's IPVS, routing and settings."""

    def incarnation(self) -> Incarnation:
        """Return which life of which network namespace this is."""
        ...

    def observe(self, scope: Scope) -> Observation:
        """Read everything once. A reading that was cut short is read again.

        Raises:
            KernelUnavailable: no IPVS here, or no right to ask.
            KernelUnreadable: a consistent reading could not be had.
        """
        ...

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        """Write `changes` in their order, in as few calls as possible; one outcome each.

        A refusal does not stop the ones behind it (batches reach the kernel as a whole). An
        answer that got lost is `UNKNOWN`: only a reading tells. Never raises for an answer.
        A change whose before and after are equal writes nothing and is `DONE`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The manifests of one moment: a commit, or a folder (`commit` is None then)."""

    files: Sequence[File]
    commit: Commit | None = None
    skipped: Sequence[str] = ()
    """What looks like manifests but is not followed: symbolic links and submodules."""


class FollowedSource(Protocol):
    """Where manifests come from."""

    def load(self) -> Snapshot:
        """Read all manifest files.

        Raises:
            SourceError: it could not be read, and why.
        """
        ...


class Commits(Protocol):
    """A repository's commits, and the manifests of one folder in each.

    Raises (any method):
        SourceError: it could not be read, or there is no such thing, and why.
    """

    @property
    def folder(self) -> str:
        """Where the manifests are in the repository; empty: everywhere."""
        ...

    @property
    def cut_off(self) -> str:
        """What to do about a history that is not all here; empty where it is."""
        ...

    def commit(self, revision: str) -> Commit:
        """Return the commit that a revision names."""
        ...

    def has_folder(self, commit_id: str) -> bool:
        """Whether the folder is there in a commit."""
        ...

    def snapshot(self, commit_id: str) -> Snapshot:
        """Read all manifest files of a commit."""
        ...

    def since(self, base_id: str, head_id: str) -> Sequence[str]:
        """Return the commits of `head_id` that `base_id` lacks, the newest first.

        `head_id` alone where it does not descend from `base_id`; none on the way back.
        """
        ...

    def message(self, commit_id: str) -> str:
        """Return the message of a commit, whole."""
        ...

    def first_parents(self, commit_id: str, limit: int) -> Sequence[str]:
        """Return the commits before one, along first parents, the newest first."""
        ...

    def merge_bases(self, first_id: str, second_id: str) -> Sequence[str]:
        """Return the newest commits that both descend from: one, as a rule, or none here."""
        ...


class Clock(Protocol):
    """Time. Deadlines use `boottime`, people `now`."""

    def boottime(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        ...

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class TransactionStage(StrEnum):
    """How far an open transaction is known to have come."""

    OPEN = "open"
    COMMITTED = "committed"
    """Past the point of no return: only ever finished."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The desired state in force, with the commit that said it (None: a work tree)."""

    desired: Desired
    commit: Commit | None
    applied_at: datetime

    @property
    def commit_id(self) -> str | None:
        return None if self.commit is None else self.commit.id


@dataclass(frozen=True, slots=True)
class Transaction:
    """One plan being applied or undone, as recorded before its first write."""

    id: int
    incarnation: Incarnation
    started_at: datetime
    stage: TransactionStage
    changes: Sequence[Change]
    ledger: Ledger
    """The ledger in force: until the point of no return, what an undo goes back to."""
    target: Applied
    conflicts: frozenset[Key] = field(default_factory=frozenset)
    """Creates that found somebody else's object: out of reach of an undo."""


class Store(Protocol):
    """What must outlive the process. Every method is durable when it returns.

    Raises (any method):
        StoreError: the database is damaged, locked, full or not ours; in plain words.
    """

    @property
    def id(self) -> str:
        """This store's own name, made once; it marks the dummy interface."""
        ...

    def ledger(self, incarnation: Incarnation) -> Ledger:
        """Return what is owned in this incarnation; empty in another."""
        ...

    def applied(self) -> Applied | None:
        """Return the desired state in force, which outlives incarnations."""
        ...

    def open_transaction(self, incarnation: Incarnation) -> Transaction | None:
        """Return the transaction left open in this incarnation. One of another is void."""
        ...

    def begin(
        self, incarnation: Incarnation, changes: Sequence[Change], target: Applied
    ) -> Transaction:
        """Record a transaction before its first write."""
        ...

    def record_conflicts(self, transaction: Transaction, keys: frozenset[Key]) -> None:
        """Add creates that found somebody else's object."""
        ...

    def commit(self, transaction: Transaction, ledger: Ledger) -> None:
        """Pass the point of no return: `target` is applied and `ledger` in force, as one write."""
        ...

    def finish(
        self, transaction: Transaction, outcome: Outcome, ledger: Ledger, message: str = ""
    ) -> None:
        """Close the transaction with the ledger then in force, and add it to the history."""
        ...

    def record_converged(self, incarnation: Incarnation, ledger: Ledger, target: Applied) -> None:
        """Record, without a transaction, that the kernel already is as `target` says."""
        ...

    def history(self, limit: int = 500) -> Sequence[HistoryEntry]:
        """Return finished transactions, the newest first."""
        ...

    def accepted_head(self) -> str | None:
        """Return the newest commit that was accepted from the remote."""
        ...

    def accept_head(self, commit_id: str) -> None:
        """Record what later commits must descend from."""
        ...

    def count_found_open(self, incarnation: Incarnation, commit_id: str) -> int:
        """Count once more that a commit's transaction was found open at start; return how often."""
        ...

    def quarantine(self, incarnation: Incarnation, commit_id: str, reason: str) -> None:
        """Keep a commit from being tried again by this gitvs version in this incarnation."""
        ...

    def pin(self, pin: Operation, barred: Iterable[str], reason: str) -> None:
        """Pin a commit, let it be tried again, and keep others from that for good, as one write."""
        ...

    def quarantined(self, incarnation: Incarnation) -> Sequence[Quarantine]:
        """Return the commits that are not tried again: those that failed here, and barred ones."""
        ...

    def clear_quarantine(self, commit_id: str | None = None) -> None:
        """Let a commit, or every commit, be tried again."""
        ...

    def operations(self) -> Operations:
        """Return what operators have said and not taken back, the oldest first."""
        ...

    def put_operation(self, operation: Operation) -> None:
        """Record what an operator said, in the place of an earlier word on the same thing."""
        ...

    def end_operation(self, operation: Operation) -> None:
        """Forget what an operator said."""
        ...

    def alive_at(self) -> datetime | None:
        """Return when an agent last said that it was alive, by the wall clock."""
        ...

    def record_alive(self) -> None:
        """Record that an agent is alive now."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside, as a transaction needs it."""

    kernel: Kernel
    store: Store
    clock: Clock
