"""What gitvs needs from outside, as Protocols. Adapters implement them; tests replace them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from gitvs.core.manifests.files import File
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit, HistoryEntry, Outcome, Quarantine
from gitvs.core.model.ledger import Incarnation, Ledger
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import Key
from gitvs.core.planning.operations import Moment, Operation, Operations
from gitvs.core.planning.plan import Change
from gitvs.core.problems import Problem


class WriteStatus(StrEnum):
    """How one write ended."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class WriteResult(NamedTuple):
    """What the kernel answered to one change; a tuple, since there is one for each rule.

    `errno` is positive, as in `errno.ENOENT`, and None unless refused. `message` is for people.
    """

    change: Change
    status: WriteStatus
    errno: int | None = None
    message: str = ""


class Kernel(Protocol):
    """One network namespace's IPVS, routing and settings."""

    def incarnation(self) -> Incarnation:
        """Return which boot and which network namespace this is."""

    def observe(self, scope: Scope) -> Observation:
        """Read everything once. An interrupted reading is repeated.

        Raises:
            KernelUnavailable: no IPVS here, or no permission to read.
            KernelUnreadable: no consistent reading was possible.
        """

    def read_witness(self) -> int | None:
        """Return the newest number of this store that was recorded outside it, for this kernel.

        None if none is known: after a reboot, or where nothing could be recorded.

        Raises:
            KernelUnavailable, KernelUnreadable: the interfaces could not be read.
        """

    def write_witness(self, number: int, adopted_interface: str | None = None) -> None:
        """Record the store's number outside it: in the alias of its interfaces, and in a file.

        If `adopted_interface` has the alias of another store, it gets that of this one, and the
        numbers of other stores of this network namespace are raised beyond what they hold. Never
        raises: where nothing can be recorded, the next number is.
        """

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        """Write `changes` in their order, in as few calls as possible; return a result for each.

        A refusal does not stop the changes after it (batches reach the kernel as a whole). The
        result of a lost answer is `UNKNOWN`: only a reading shows what happened. Never raises
        for an answer.
        A change whose before and after are equal writes nothing and is `DONE`.
        """


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The manifests of one moment: a commit, or a folder (`commit` is None then)."""

    files: Sequence[File]
    commit: Commit | None = None
    skipped: Sequence[str] = ()
    """What looks like manifests but is not followed: symbolic links and submodules."""


class ManifestSource(Protocol):
    """Where manifests come from, once."""

    def load(self) -> Snapshot:
        """Read all manifest files.

        Raises:
            SourceError: it could not be read; the message says why.
        """


class FollowedManifests(Protocol):
    """The manifests of one commit of a followed source; of a folder, those that it has now.

    Raises (any method):
        SourceError: they could not be read; the message says why.
    """

    def open_snapshot(self) -> AbstractContextManager[Snapshot]:
        """Find all manifest files; inside the block, each may be read on demand."""

    def commit_messages(
        self, base: str | None, known: Container[str] = ()
    ) -> Iterator[tuple[str, str]]:
        """Yield the commits since `base` with their messages, the newest first."""


class FollowedSource(Protocol):
    """What an agent follows: a branch of a remote with its local copy, or a folder on this host.

    Raises (any method that returns something):
        SourceError: it cannot be used, or it is a folder, which has no commits; and why.
    """

    @property
    def name(self) -> str:
        """What it is, for messages and without credentials."""

    @property
    def has_commits(self) -> bool:
        """Whether it has commits. A folder has none, and is read again whenever it changes."""

    def fetch(self, accepted_head: str | None) -> Commit | None:
        """Fetch, and return the head, which descends from the accepted one; None for a folder."""

    def verify_signature(self, commit_id: str) -> str:
        """Return who signed a fetched commit; empty if no signature is required.

        Raises:
            UntrustedCommit: it is not signed by a trusted signer.
        """

    def check_rewritten_commit(self, abbreviated_id: str) -> Commit:
        """Return a commit of the rewritten branch that an operator names, if it may be followed."""

    def manifests_of(self, commit_id: str | None) -> FollowedManifests:
        """Return the manifests of a fetched commit, which is None for a folder."""

    def resolve(self, revision: str) -> str:
        """Return the full id of a commit."""

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` is `older` or descends from it."""

    def keep_commits(self, commit_ids: Iterable[str]) -> None:
        """Keep these commits, and no others, even if the branch is rewritten. Never raises."""

    def maintain(self) -> None:
        """Tidy up; once a day is enough."""


class Commits(Protocol):
    """A repository's commits, and the manifests of one folder in each.

    Raises (any method):
        SourceError: something could not be read, or does not exist; the message says why.
    """

    @property
    def folder(self) -> str:
        """The folder of the manifests in the repository; empty for the whole repository."""

    @property
    def cut_off(self) -> str:
        """What to do about an incomplete history; empty if it is complete."""

    def commit(self, revision: str) -> Commit:
        """Return the commit that a revision names."""

    def has_folder(self, commit_id: str) -> bool:
        """Whether the folder exists in a commit."""

    def snapshot(self, commit_id: str) -> Snapshot:
        """Read all manifest files of a commit."""

    def since(self, base_id: str, head_id: str) -> Sequence[str]:
        """Return the commits of `head_id` that `base_id` lacks, the newest first.

        Only `head_id` if it does not descend from `base_id`; none if it is an ancestor of that.
        """

    def message(self, commit_id: str) -> str:
        """Return the full message of a commit."""

    def first_parents(self, commit_id: str, limit: int) -> Sequence[str]:
        """Return the commits before one, along first parents, the newest first."""

    def merge_bases(self, first_id: str, second_id: str) -> Sequence[str]:
        """Return the newest commits that both descend from: usually one; none if none is here."""


class Clock(Protocol):
    """Time. Deadlines use `boottime`; times shown to people use `now`."""

    def boottime(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class TransactionStage(StrEnum):
    """The last recorded stage of an open transaction."""

    OPEN = "open"
    COMMITTED = "committed"
    """Past the point of no return: it is always finished, never undone."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The desired state in force, with the commit that it comes from (None: a work tree)."""

    desired: Desired
    commit: Commit | None
    applied_at: datetime
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
    """What is allowed in these manifests, and probably not meant. It is not recorded."""

    @property
    def commit_id(self) -> str | None:
        return None if self.commit is None else self.commit.id


@dataclass(frozen=True, slots=True)
class Transaction:
    """One plan that is applied or undone, as recorded before its first write."""

    id: int
    incarnation: Incarnation
    started_at: datetime
    stage: TransactionStage
    changes: Sequence[Change]
    ledger: Ledger
    """The ledger in force; before the point of no return, the one that an undo restores."""
    target: Applied
    conflicts: frozenset[Key] = field(default_factory=frozenset)
    """Creates that found somebody else's object; an undo does not touch these."""


class Store(Protocol):
    """What must survive the process. Every method is durable when it returns.

    Raises (any method):
        StoreError: the database is damaged, locked, full or not gitvs's; the message says which.
    """

    @property
    def id(self) -> str:
        """The id of this store, generated once; it is part of the owner alias."""

    @property
    def number(self) -> int:
        """A number that rises with every write that may matter to the kernel."""

    def void(self, incarnation: Incarnation, witness: int) -> None:
        """Drop what was recorded in this incarnation, and continue after the number `witness`."""

    def ledger(self, incarnation: Incarnation) -> Ledger:
        """Return the ledger of this incarnation; empty if none was recorded in it."""

    def applied(self) -> Applied | None:
        """Return the desired state in force, which is kept across incarnations."""

    def open_transaction(self, incarnation: Incarnation) -> Transaction | None:
        """Return the transaction left open in this incarnation; others are void."""

    def begin(
        self, incarnation: Incarnation, changes: Sequence[Change], target: Applied
    ) -> Transaction:
        """Record a transaction before its first write."""

    def record_conflicts(self, transaction: Transaction, keys: frozenset[Key]) -> None:
        """Record creates that found somebody else's object."""

    def commit(self, transaction: Transaction, ledger: Ledger) -> None:
        """Pass the point of no return: `target` is applied and `ledger` in force, as one write."""

    def finish(
        self,
        transaction: Transaction,
        outcome: Outcome,
        ledger: Ledger,
        message: str = "",
        is_history: bool = True,
    ) -> None:
        """Close the transaction with the ledger that is now in force.

        It is added to the history, or forgotten without `is_history`: those of health are many.
        """

    def record_converged(self, incarnation: Incarnation, ledger: Ledger, target: Applied) -> None:
        """Record, without a transaction, that the kernel already matches `target`.

        A commit that was not applied before is added to the history.
        """

    def history(self, limit: int | None = None) -> Sequence[HistoryEntry]:
        """Return finished transactions and converged commits, the newest first."""

    def keep_history(self, transactions: int | None, plans: int | None) -> None:
        """Limit the history from now on; a limit that is None stays as it was."""

    def accepted_head(self) -> str | None:
        """Return the newest commit that was accepted from the remote."""

    def accept_head(self, commit_id: str) -> None:
        """Record the newest accepted commit, which later commits must descend from."""

    def count_found_open(self, incarnation: Incarnation, commit_id: str) -> int:
        """Count that a commit's transaction was found open at start; return the new count."""

    def quarantine(
        self, incarnation: Incarnation, commit_id: str, reason: str, state_digest: str = ""
    ) -> None:
        """Keep a commit from being tried again by this gitvs version in this incarnation.

        `state_digest` is that of the desired state which failed.
        """

    def pin(self, pin: Operation, barred: Iterable[str], reason: str) -> None:
        """Pin a commit, let it be tried again, and bar `barred` until cleared, as one write."""

    def quarantined(self, incarnation: Incarnation) -> Sequence[Quarantine]:
        """Return the commits that are not tried again: those that failed here, and barred ones."""

    def clear_quarantine(self, commit_id: str | None = None) -> None:
        """Let a commit, or every commit, be tried again."""

    def operations(self) -> Operations:
        """Return the operations that have not been ended, the oldest first."""

    def put_operation(self, operation: Operation) -> None:
        """Record an operation; it replaces an earlier one with the same identity."""

    def end_operation(self, operation: Operation) -> None:
        """End an operation; it is kept as ended until a pass has undone it."""

    def ended_operations(self) -> Operations:
        """Return the operations that were ended, and that no pass has undone yet."""

    def forget_ended_operations(self) -> None:
        """Delete the operations that were ended, because a pass has undone them."""

    def alive_at(self) -> datetime | None:
        """Return when an agent last recorded that it was alive, by the wall clock."""

    def record_alive(self) -> None:
        """Record that an agent is alive now."""

    def health(self) -> Mapping[str, Any] | None:
        """Return the newest record of health (`core.health.records`); None if there is none."""

    def record_health(self, record: Mapping[str, Any]) -> None:
        """Record what a restart must know of health; it replaces the record before."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that a pass needs."""

    kernel: Kernel
    store: Store
    clock: Clock
    ensure_writer: Callable[[], None] = lambda: None
    """Makes sure that no other process writes; called before a transaction begins or is recovered.

    Raises:
        LockHeld, LockUnusable: one may; nothing is to be written.
    """

    def moment(self) -> Moment:
        """Return the present moment, by which operations end."""
        boot_id = self.kernel.incarnation().boot_id
        return Moment(self.clock.now(), self.clock.boottime(), boot_id)
