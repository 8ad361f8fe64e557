"""The store's large records: the applied state, ledgers, open transactions, plans, the history.

The applied state and the ledgers are cached as long as no other connection has written. Call
every method inside a transaction of the store; a method that writes leaves the index to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gitvs.adapters.store.chains import (
    Chain,
    delete_unused_segments,
    extend_chain,
    read_segments,
)
from gitvs.adapters.store.packed_plans import pack_changes, unpack_changes
from gitvs.adapters.store.packed_states import (
    EMPTY_DESIRED,
    extend_ledger_chain,
    extend_state_chain,
    read_ledger,
    read_state,
)
from gitvs.adapters.store.sealed_records import SealedRecords
from gitvs.adapters.store.small_records import (
    commit_from_record,
    commit_record,
    history_from_record,
    history_record,
)
from gitvs.core.errors import StoreError
from gitvs.core.model.health import Health
from gitvs.core.model.health_json import health_digest
from gitvs.core.model.history import Cause, HistoryEntry, Outcome
from gitvs.core.model.ledger import Incarnation, Ledger
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.resources import Key
from gitvs.core.model.state import State
from gitvs.core.model.state_digest import state_digest, with_health_digest
from gitvs.core.planning.plan import Action, Change
from gitvs.core.planning.records import desired_head_record
from gitvs.ports import Applied, Transaction, TransactionStage

_INCARNATION_KINDS = ("ledger", "open", "suspects")
"""The kinds of records that belong to an incarnation, which is the rest of their name."""


class LargeRecords:
    """The large records of one connection."""

    def __init__(self, records: SealedRecords) -> None:
        self._records = records
        self._last_digest: tuple[State, str] | None = None
        self._last_health: tuple[Mapping[Key, Health], str] | None = None
        self.invalidate()

    def invalidate(self) -> None:
        """Drop the cache, because a write may have been rolled back or another connection wrote."""
        self._applied: Applied | None = None
        self._ledgers: dict[Incarnation, Ledger] = {}

    # The applied state

    def applied(self) -> Applied | None:
        """Return the desired state in force."""
        if self._applied is None:
            self._applied = self._records.read("applied", self._read_target)
        return self._applied

    def _read_target(self, record: Mapping[str, Any]) -> Applied:
        desired = read_state(record["head"], read_segments(self._records, record["chain"]))
        at = datetime.fromisoformat(record["at"])
        return Applied(desired, commit_from_record(record["commit"]), at)

    def record_applied(self, target: Applied) -> None:
        """Put a desired state in force without a transaction."""
        self._records.put("applied", self._target_record(target))
        self._applied = target
        delete_unused_segments(self._records)

    def _target_record(self, target: Applied) -> JsonObject:
        applied = self.applied()
        before = EMPTY_DESIRED if applied is None else applied.desired
        chain = self._chain("applied")
        return {
            "at": target.applied_at.isoformat(),
            "commit": commit_record(target.commit),
            "head": desired_head_record(target.desired),
            "chain": extend_state_chain(self._records, chain, before, target.desired),
        }

    def _chain(self, name: str) -> Chain:
        return self._records.read(name, lambda record: list(record["chain"])) or []

    # Transactions

    def open_transaction(self, incarnation: Incarnation) -> Transaction | None:
        """Return the open transaction of an incarnation."""
        return self._records.read(
            f"open {incarnation}", lambda record: self._read_transaction(incarnation, record)
        )

    def _read_transaction(self, incarnation: Incarnation, record: Mapping[str, Any]) -> Transaction:
        return Transaction(
            record["id"],
            incarnation,
            datetime.fromisoformat(record["startedAt"]),
            TransactionStage(record["stage"]),
            self._records.require(f"plan {record['id']}", unpack_changes),
            self.ledger(incarnation),
            self._read_target(record),
            frozenset(map(Key, record["conflicts"])),
        )

    def begin(self, transaction: Transaction) -> None:
        """Record a transaction.

        Raises:
            StoreError: one is open already.
        """
        name = f"open {transaction.incarnation}"
        if name in self._records:
            open_id = self._records.require(name, lambda record: int(record["id"]))
            raise StoreError(
                f"transaction {open_id} is still open; it is undone or finished before"
                " another may begin. Nothing was changed"
            )
        self._records.put(f"plan {transaction.id}", pack_changes(transaction.changes))
        record = {
            "id": transaction.id,
            "startedAt": transaction.started_at.isoformat(),
            "stage": str(transaction.stage),
            "conflicts": sorted(transaction.conflicts),
            "cause": str(self._cause_of(transaction)),
            **self._target_record(transaction.target),
        }
        self._records.put(name, record)
        self._delete_old_plans()

    def _cause_of(self, transaction: Transaction) -> Cause:
        """Return why a transaction is made, before it is: afterwards its target is in force."""
        applied, target = self.applied(), transaction.target
        if (
            applied is None
            or applied.commit_id != target.commit_id
            or applied.desired.state != target.desired.state
            or applied.desired.health != target.desired.health
        ):
            return Cause.COMMIT
        draining = transaction.ledger.drains
        is_removal = all(change.action is Action.DELETE for change in transaction.changes)
        if is_removal and any(change.key in draining for change in transaction.changes):
            return Cause.DRAIN_END
        return Cause.UPKEEP

    def record_conflicts(self, transaction: Transaction, keys: frozenset[Key]) -> None:
        """Add keys to the conflicts of an open transaction."""
        name = f"open {transaction.incarnation}"
        record = self._records.require(name, dict)
        self._records.put(name, record | {"conflicts": sorted({*record["conflicts"], *keys})})

    def commit(self, transaction: Transaction) -> None:
        """Put the target of an open transaction in force: only pointers move."""
        name = f"open {transaction.incarnation}"
        record = self._records.require(name, dict)
        self._records.put(name, record | {"stage": str(TransactionStage.COMMITTED)})
        self._records.put(
            "applied", {key: record[key] for key in ("at", "commit", "head", "chain")}
        )
        self._applied = transaction.target
        delete_unused_segments(self._records)

    def finish(
        self,
        transaction: Transaction,
        outcome: Outcome,
        message: str,
        finished_at: datetime,
        is_history: bool = True,
    ) -> None:
        """Close an open transaction, and add it to the history, or forget it."""
        name = f"open {transaction.incarnation}"
        if not is_history:
            self._records.delete(name)
            self._records.delete(f"plan {transaction.id}")
            delete_unused_segments(self._records)
            return
        cause = self._records.read(name, lambda record: Cause(record.get("cause", Cause.COMMIT)))
        self._records.delete(name)
        self.add_history(
            [
                HistoryEntry(
                    transaction.id,
                    transaction.started_at,
                    finished_at,
                    outcome,
                    transaction.target.commit,
                    Counter(str(change.action) for change in transaction.changes),
                    message,
                    self._digest_of(transaction.target) if outcome is Outcome.APPLIED else "",
                    cause or Cause.COMMIT,
                )
            ]
        )
        delete_unused_segments(self._records)

    def void_other_boots(self, incarnation: Incarnation) -> None:
        """Drop the records and open transactions of other boots.

        Other namespaces of this boot may still exist, so their records stay.
        """
        boot_id = incarnation.boot_id
        for kind in _INCARNATION_KINDS:
            for name in self._records.names(kind):
                if not name.startswith(f"{kind} {boot_id}/"):
                    self._records.delete(name)
        self._ledgers = {i: ledger for i, ledger in self._ledgers.items() if i.boot_id == boot_id}

    def void(self, incarnation: Incarnation) -> None:
        """Drop the records and the open transaction of an incarnation."""
        for kind in _INCARNATION_KINDS:
            self._records.delete(f"{kind} {incarnation}")
        self._ledgers.pop(incarnation, None)
        delete_unused_segments(self._records)

    # Ledgers

    def ledger(self, incarnation: Incarnation) -> Ledger:
        """Return the ledger of an incarnation; an empty one if nothing was ever recorded."""
        cached = self._ledgers.get(incarnation)
        if cached is None:
            cached = self._records.read(
                f"ledger {incarnation}",
                lambda record: read_ledger(read_segments(self._records, record["chain"])),
            )
            cached = self._ledgers[incarnation] = cached or Ledger()
        return cached

    def write_ledger(self, incarnation: Incarnation, ledger: Ledger) -> None:
        """Replace the incarnation's ledger."""
        name = f"ledger {incarnation}"
        former, former_chain = self.ledger(incarnation), self._chain(name)
        chain = extend_ledger_chain(self._records, former_chain, former, ledger)
        if chain != former_chain:
            self._records.put(name, {"chain": chain})
            delete_unused_segments(self._records)
        self._ledgers[incarnation] = ledger

    # Plans and history

    def changes_of(self, transaction_id: int) -> tuple[Change, ...] | None:
        """Return the changes of a transaction; None after they were deleted."""
        return self._records.read(f"plan {transaction_id}", unpack_changes)

    def put_changes(self, transaction_id: int, changes: Sequence[Change]) -> None:
        """Record the changes of a finished transaction."""
        self._records.put(f"plan {transaction_id}", pack_changes(changes))

    def _delete_old_plans(self) -> None:
        """Keep the newest plans, and those of open transactions."""
        ids = sorted(int(name.partition(" ")[2]) for name in self._records.names("plan"))
        open_ids = {
            self._records.require(name, lambda record: int(record["id"]))
            for name in self._records.names("open")
        }
        for old_id in ids[: max(len(ids) - self._records.index.kept_plans, 0)]:
            if old_id not in open_ids:
                self._records.delete(f"plan {old_id}")

    def history(self) -> list[HistoryEntry]:
        """Return finished transactions and converged commits, in the order in which they began."""
        return [history_from_record(record) for _, record in sorted(self._history().items())]

    def _history(self) -> dict[int, JsonObject]:
        entries: dict[int, JsonObject] = {}
        for segment in read_segments(self._records, self._chain("history")):
            entries |= {entry["id"]: entry for entry in segment["put"]}
            for dropped in segment["dropped"]:
                entries.pop(dropped, None)
        return entries

    def add_converged(self, target: Applied, at: datetime) -> None:
        """Add a commit for which nothing had to change to the history."""
        id_, digest = self._records.next_transaction(), self._digest_of(target)
        entry = HistoryEntry(id_, at, at, Outcome.CONVERGED, target.commit, {}, "", digest)
        self.add_history([entry])

    def _digest_of(self, target: Applied) -> str:
        """Return the digest of a desired state, computed from the last one by difference."""
        state, health = target.desired.state, target.desired.health
        self._last_digest = state, state_digest(state, self._last_digest)
        self._last_health = health, health_digest(health, self._last_health)
        return with_health_digest(self._last_digest[1], self._last_health[1])

    def add_history(self, added: Sequence[HistoryEntry]) -> None:
        """Add to the history, and drop the oldest entries over the limit.

        Commits for which nothing had to change are counted apart: many of them displace no
        transaction.
        """
        entries = self._history() | {entry.id: history_record(entry) for entry in added}
        dropped = self._excess(entries)
        kept = {id_: entries[id_] for id_ in sorted(entries.keys() - dropped)}
        chain = extend_chain(
            self._records,
            self._chain("history"),
            lambda: {
                "put": [kept[e.id] for e in added if e.id in kept],
                "dropped": sorted(dropped),
            },
            lambda: {"put": list(kept.values()), "dropped": []},
            is_mostly_changed=len(added) * 2 > len(kept),
        )
        self._records.put("history", {"chain": chain})

    def _excess(self, entries: Mapping[int, JsonObject]) -> set[int]:
        """Return the ids of the oldest transactions and converged commits that are too many.

        The newest of each commit is dropped last: repairs of one commit displace no other one.
        """
        kept_count = self._records.index.kept_transactions
        excess: set[int] = set()
        converged = {i for i, entry in entries.items() if entry["outcome"] == Outcome.CONVERGED}
        for ids in (converged, entries.keys() - converged):
            newest = set({_commit_of(entries[id_]): id_ for id_ in sorted(ids)}.values())
            by_worth = sorted(ids, key=lambda id_: (id_ in newest, id_))
            excess.update(by_worth[: max(len(ids) - kept_count, 0)])
        return excess


def _commit_of(entry: JsonObject) -> str:
    return str((entry["commit"] or {}).get("id", ""))
