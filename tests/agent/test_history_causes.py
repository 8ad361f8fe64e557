"""Why each transaction of the history was made."""

from __future__ import annotations

from pathlib import Path

from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.model.history import Cause
from tests.support.agents import Site, eventually, service, site


def causes(here: Site) -> list[Cause]:
    """The causes of all transactions, the oldest first."""
    with SqliteStore.open_readonly(here.state_dir) as store:
        return [entry.cause for entry in store.history()][::-1]


def test_the_end_of_a_drain_is_no_second_transaction_of_the_commit(tmp_path: Path) -> None:
    here = site(tmp_path)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.push(service(servers=1))
        running.order("sync")
        eventually(lambda: here.weights() == [1])
    assert causes(here) == [Cause.COMMIT, Cause.COMMIT, Cause.DRAIN_END]


def test_repairs_and_operations_by_hand_are_upkeep(tmp_path: Path) -> None:
    here = site(tmp_path)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        here.set_weight(7)
        running.order("sync")
        assert here.weights() == [1, 1]
        running.order("drain", subject="s2", now=True)
        running.order("undrain", subject="s2")
        assert here.weights() == [1, 1]
        here.push(service(weight=3))
        running.order("sync")
        assert here.weights() == [3, 3]
    assert causes(here) == [Cause.COMMIT, *[Cause.UPKEEP] * 3, Cause.COMMIT]
