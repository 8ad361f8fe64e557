"""The store on real SQLite files: round trips, incarnations, damage, and death at every step."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gitvs.adapters.store.sqlite_store as store_module
from gitvs import __version__
from gitvs.adapters.store.chains import extend_chain
from gitvs.adapters.store.packed_plans import pack_changes, unpack_changes
from gitvs.adapters.store.packed_resources import pack_resources, unpack_resources
from gitvs.adapters.store.packed_states import _pack_whole_state
from gitvs.adapters.store.sealed_records import Unreadable, seal, unseal
from gitvs.adapters.store.small_records import history_from_record, history_record
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.core.errors import StoreDamaged, StoreError
from gitvs.core.model.desired import Desired, ManifestLocation, Policy
from gitvs.core.model.health import Health, TcpCheck
from gitvs.core.model.history import Cause, Commit, HistoryEntry, Outcome, Quarantine
from gitvs.core.model.ledger import Drain, Incarnation, Ledger
from gitvs.core.model.resources import (
    DummyInterface,
    Endpoint,
    Forwarding,
    Key,
    LocalRoute,
    Persistence,
    PersistenceEngine,
    Protocol,
    RealServer,
    Resource,
    Scheduler,
    SchedulerFlag,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Timeout,
    TimeoutName,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.model.state_digest import state_and_health_digest, state_digest
from gitvs.core.planning.operations import Operation, OperationKind, Operations
from gitvs.core.planning.plan import Change, Phase
from gitvs.core.planning.records import desired_from_record, desired_record
from gitvs.core.settings import KEPT_PLANS, KEPT_TRANSACTIONS
from gitvs.ports import Applied, Store, Transaction, TransactionStage
from tests.adapters.store.old_stores import OldStore
from tests.support.effort import examples
from tests.support.strategies import any_resources, desired_states

HERE = Incarnation("boot-1", 7)
OTHER_NAMESPACE = Incarnation("boot-1", 8)
AFTER_REBOOT = Incarnation("boot-2", 7)
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
WEB = Endpoint(Protocol.UDP, ip_address("2001:db8::10"), 443)
SERVER = RealServer(
    WEB,
    ip_address("2001:db8:3::5"),
    8443,
    10,
    Forwarding.TUN,
    Tunnel(TunnelType.GUE, 6080, TunnelChecksum.REMOTE),
    1000,
    800,
)
RESOURCES: tuple[Resource, ...] = (
    Sysctl("net.ipv4.ip_local_port_range", "1024 65535"),
    Timeout(TimeoutName.TCP_FIN, 120),
    SyncDaemon(SyncRole.BACKUP, "eth1", 3),
    DummyInterface("gitvs0"),
    Vip(ip_address("203.0.113.10"), "gitvs0", 32, has_route=False),
    LocalRoute(ip_network("10.20.0.0/24")),
    VirtualService(
        WEB,
        Scheduler.MH,
        frozenset({SchedulerFlag.MH_PORT, SchedulerFlag.MH_FALLBACK}),
        True,
        Persistence(300, 64, PersistenceEngine.SIP),
    ),
    SERVER,
)
DRAIN = Drain(SERVER.key, 60.0, 1234.5678901)
COMMIT = Commit("c" * 40, "Ada <ada@example.org>", "Add “web”\x1b[31m", NOON)


def applied(number: int = 1, commit: Commit | None = COMMIT) -> Applied:
    """A desired state that `number` runs through."""
    desired = Desired(
        f"lb{number}",
        "gitvs0",
        State(RESOURCES),
        {Key(str(WEB)): float(number)},
        Policy(
            12.5,
            40,
            3,
            frozenset({ip_address("203.0.113.10")}),
            ManifestLocation(None, "p.yaml", 2),
        ),
        {SERVER.key: ManifestLocation("web", "a/b.yaml", 12)},
        {SERVER.key: "web1"},
        is_standby=True,
    )
    return Applied(desired, commit, NOON + timedelta(minutes=number))


def ledger(number: int = 1) -> Ledger:
    """A ledger that `number` runs through."""
    saved = Sysctl("net.ipv4.vs.expire_nodest_conn", str(number))
    owned = {Key(f"local 10.{number}.0.0/24"), SERVER.key}
    return Ledger(frozenset(owned), {DRAIN.key: DRAIN}, {saved.key: saved})


CHANGES = (
    Change(None, RESOURCES[4], Phase.BIND),
    Change(SERVER, replace(SERVER, weight=0), Phase.MODIFY, DRAIN),
    Change(RESOURCES[6], None, Phase.BREAK),
)


@pytest.fixture(autouse=True)
def every_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test leaves open, as Python 3.13 wants it."""
    with ExitStack() as connections:
        for name in ("open_for_writing", "open_for_reading"):
            opened = getattr(store_module, name)

            def closed_later(
                folder: Path, opened: Callable[[Path], sqlite3.Connection] = opened
            ) -> sqlite3.Connection:
                return connections.enter_context(closing(opened(folder)))

            monkeypatch.setattr(store_module, name, closed_later)
        yield


with_strict_tables = pytest.mark.skipif(
    sqlite3.sqlite_version_info < (3, 37), reason="no older gitvs ran with this SQLite"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path) as store:
        yield store


def reopened(store: SqliteStore, folder: Path) -> SqliteStore:
    store.close()
    return SqliteStore(folder)


def run_one(store: Store, number: int = 1, incarnation: Incarnation = HERE) -> None:
    """A transaction from its beginning to its end."""
    transaction = store.begin(incarnation, CHANGES, applied(number))
    store.commit(transaction, ledger(number))
    store.finish(transaction, Outcome.APPLIED, ledger(number))


def test_it_is_what_the_port_asks_for(store: SqliteStore) -> None:
    port: Store = store
    assert port.id


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.key)
def test_every_kind_of_change_comes_back_as_it_was(resource: Resource) -> None:
    changes = (
        Change(None, resource, Phase.MAKE),
        Change(resource, None, Phase.BREAK),
        Change(resource, resource, Phase.MODIFY, DRAIN),
    )
    assert unpack_changes(json.loads(json.dumps(pack_changes(changes)))) == changes


@given(st.lists(any_resources()))
@settings(max_examples=examples(300))
def test_all_resources_come_back_as_they_were_in_their_order(resources: list[Resource]) -> None:
    assert unpack_resources(json.loads(json.dumps(pack_resources(resources)))) == resources


@given(desired=desired_states())
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=30)
def test_every_desired_state_comes_back_as_it_was(desired: Desired) -> None:
    again = desired_from_record(desired_record(desired))
    assert again == desired
    assert list(again.state) == list(desired.state)


def test_the_name_of_a_store_is_made_once(store: SqliteStore, tmp_path: Path) -> None:
    name = store.id
    assert reopened(store, tmp_path).id == name
    assert SqliteStore(tmp_path / "other").id != name


def test_a_new_store_is_empty(store: SqliteStore) -> None:
    assert store.ledger(HERE) == Ledger()
    assert store.applied() is None
    assert store.open_transaction(HERE) is None
    assert store.history() == []
    assert store.accepted_head() is None
    assert store.quarantined(HERE) == []


def test_the_folder_and_its_file_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    SqliteStore(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "gitvs.db").stat().st_mode) == 0o600
    assert not list(folder.glob("*.new"))


def test_an_open_transaction_is_found_after_a_restart(store: SqliteStore, tmp_path: Path) -> None:
    begun = store.begin(HERE, CHANGES, applied())
    assert reopened(store, tmp_path).open_transaction(HERE) == begun
    assert begun.stage is TransactionStage.OPEN


def test_sources_and_names_survive_although_they_take_no_part_in_comparisons(
    store: SqliteStore, tmp_path: Path
) -> None:
    store.record_converged(HERE, Ledger(), applied())
    found = reopened(store, tmp_path).applied()
    assert found is not None
    assert found.desired.locations == applied().desired.locations
    assert found.desired.server_names == applied().desired.server_names
    assert found.desired.policy.location == ManifestLocation(None, "p.yaml", 2)


def test_beginning_leaves_the_ledger_and_the_applied_state_alone(store: SqliteStore) -> None:
    store.begin(HERE, CHANGES, applied())
    assert store.ledger(HERE) == Ledger()
    assert store.applied() is None


def test_the_point_of_no_return_puts_target_and_ledger_in_force(
    store: SqliteStore, tmp_path: Path
) -> None:
    transaction = store.begin(HERE, CHANGES, applied())
    store.commit(transaction, ledger())
    store = reopened(store, tmp_path)
    found = store.open_transaction(HERE)
    assert found == replace(transaction, stage=TransactionStage.COMMITTED, ledger=ledger())
    assert store.applied() == applied()
    assert store.ledger(HERE) == ledger()


def test_a_rolled_back_transaction_leaves_the_applied_state(store: SqliteStore) -> None:
    run_one(store, 1)
    transaction = store.begin(HERE, CHANGES, applied(2))
    store.finish(transaction, Outcome.ROLLED_BACK, ledger(3), "scheduler mh is unknown")
    assert store.applied() == applied(1)
    assert store.ledger(HERE) == ledger(3)
    assert store.open_transaction(HERE) is None
    newest = store.history()[0]
    assert (newest.outcome, newest.message) == (Outcome.ROLLED_BACK, "scheduler mh is unknown")


def test_conflicts_add_up(store: SqliteStore, tmp_path: Path) -> None:
    transaction = store.begin(HERE, CHANGES, applied())
    store.record_conflicts(transaction, frozenset({Key("a")}))
    store.record_conflicts(transaction, frozenset({Key("b")}))
    found = reopened(store, tmp_path).open_transaction(HERE)
    assert found is not None
    assert found.conflicts == {"a", "b"}


def test_a_ledger_is_replaced_not_merged(store: SqliteStore) -> None:
    store.record_converged(HERE, ledger(1), applied())
    later = replace(ledger(2), drains={DRAIN.key: replace(DRAIN, deadline_seconds=9.0)})
    store.record_converged(HERE, later, applied())
    assert store.ledger(HERE) == later
    store.record_converged(HERE, Ledger(), applied())
    assert store.ledger(HERE) == Ledger()


def test_a_second_transaction_waits_for_the_first(store: SqliteStore) -> None:
    store.begin(HERE, CHANGES, applied(1))
    with pytest.raises(StoreError, match="transaction 1 is still open"):
        store.begin(HERE, CHANGES, applied(2))
    found = store.open_transaction(HERE)
    assert found is not None
    assert found.target == applied(1)


def test_a_reboot_voids_ledger_transaction_and_quarantine_but_not_the_applied_state(
    store: SqliteStore,
) -> None:
    run_one(store)
    store.begin(HERE, CHANGES, applied(2))
    store.quarantine(HERE, COMMIT.id, "rolled back")
    assert store.ledger(AFTER_REBOOT) == Ledger()
    assert store.open_transaction(AFTER_REBOOT) is None
    assert store.quarantined(AFTER_REBOOT) == []
    assert store.applied() == applied()
    run_one(store, 3, AFTER_REBOOT)
    assert store.open_transaction(HERE) is None
    assert store.ledger(HERE) == Ledger()
    assert [entry.id for entry in store.history()] == [3, 1]


def test_another_namespace_of_this_boot_keeps_what_is_its_own(store: SqliteStore) -> None:
    run_one(store)
    begun = store.begin(HERE, CHANGES, applied(2))
    run_one(store, 3, OTHER_NAMESPACE)
    assert store.ledger(HERE) == ledger(1)
    assert store.ledger(OTHER_NAMESPACE) == ledger(3)
    assert store.open_transaction(HERE) == begun


def test_history_tells_when_what_and_how(tmp_path: Path) -> None:
    now = [NOON]
    store = SqliteStore(tmp_path, now=lambda: now[0])
    transaction = store.begin(HERE, CHANGES, applied())
    now[0] += timedelta(seconds=3)
    store.finish(transaction, Outcome.APPLIED, ledger())
    (entry,) = store.history()
    assert entry.started_at == NOON
    assert entry.finished_at == NOON + timedelta(seconds=3)
    assert entry.outcome is Outcome.APPLIED
    assert entry.commit == COMMIT
    assert entry.summary == {"create": 1, "drain": 1, "delete": 1}


def test_history_keeps_500_transactions_and_50_plans(store: SqliteStore) -> None:
    assert (KEPT_TRANSACTIONS, KEPT_PLANS) == (500, 50)
    store._database.execute("PRAGMA synchronous = OFF")  # 1,500 writes
    for number in range(1, 506):
        run_one(store, number)
    assert [entry.id for entry in store.history()] == list(range(505, 5, -1))
    assert [entry.id for entry in store.history(2)] == [505, 504]
    assert store.changes_of(505) == CHANGES
    assert store.changes_of(456) == CHANGES
    assert store.changes_of(455) is None


def test_settings_say_how_much_history_is_kept(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, kept_transactions=3, kept_plans=1)
    for number in range(1, 6):
        run_one(store, number)
    assert [entry.id for entry in store.history()] == [5, 4, 3]
    assert [store.changes_of(number) is not None for number in (3, 4, 5)] == [False, False, True]


def test_an_open_transaction_is_never_forgotten(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, kept_transactions=1, kept_plans=1)
    begun = store.begin(HERE, CHANGES, applied(2))
    for number in range(1, 4):
        run_one(store, number, OTHER_NAMESPACE)
    assert store.open_transaction(HERE) == begun


def test_a_work_tree_has_no_commit(store: SqliteStore) -> None:
    store.record_converged(HERE, Ledger(), applied(1, commit=None))
    assert store.applied() == applied(1, commit=None)


def test_the_newest_accepted_head_is_kept(store: SqliteStore, tmp_path: Path) -> None:
    store.accept_head("a" * 40)
    store.accept_head("b" * 40)
    assert reopened(store, tmp_path).accepted_head() == "b" * 40


def test_a_commit_is_in_quarantine_for_this_version_and_incarnation(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.quarantine(HERE, "a" * 40, "rolled back: mh is unknown")
    (found,) = store.quarantined(HERE)
    assert (found.commit_id, found.reason) == ("a" * 40, "rolled back: mh is unknown")
    assert store.quarantined(OTHER_NAMESPACE) == []
    monkeypatch.setattr("gitvs.adapters.store.sqlite_store.__version__", "99.0")
    assert store.quarantined(HERE) == []


def test_transactions_found_open_are_counted_up_to_a_quarantine(store: SqliteStore) -> None:
    assert [store.count_found_open(HERE, "a" * 40) for _ in range(3)] == [1, 2, 3]
    assert store.count_found_open(HERE, "b" * 40) == 1
    assert store.quarantined(HERE) == []
    store.quarantine(HERE, "a" * 40, "found open three times")
    (found,) = store.quarantined(HERE)
    assert found.found_open_count == 3
    store.clear_quarantine("a" * 40)
    assert store.quarantined(HERE) == []
    assert store.count_found_open(HERE, "a" * 40) == 1


def test_all_of_a_quarantine_is_cleared_at_once(store: SqliteStore) -> None:
    for commit in ("a" * 40, "b" * 40):
        store.quarantine(HERE, commit, "rolled back")
    store.clear_quarantine()
    assert store.quarantined(HERE) == []


def test_reading_where_there_is_no_store_finds_nothing_and_makes_nothing(tmp_path: Path) -> None:
    reader = SqliteStore.open_readonly(tmp_path / "state")
    assert reader.ledger(HERE) == Ledger()
    assert reader.applied() is None
    assert reader.id != SqliteStore.open_readonly(tmp_path / "state").id
    assert not (tmp_path / "state").exists()


def test_a_reader_sees_what_a_writer_wrote_and_cannot_write(
    store: SqliteStore, tmp_path: Path
) -> None:
    reader = SqliteStore.open_readonly(tmp_path)
    run_one(store)
    assert (reader.id, reader.ledger(HERE)) == (store.id, ledger())
    with pytest.raises(StoreError, match="cannot be written"):
        reader.accept_head("a" * 40)
    assert store.accepted_head() is None


def test_what_is_remembered_of_the_applied_state_is_given_up_once_another_is_applied(
    store: SqliteStore, tmp_path: Path
) -> None:
    store.record_converged(HERE, Ledger(), applied(1))
    first = store.applied()
    assert first is not None
    again = store.applied()
    assert again is not None
    assert again.desired is first.desired
    with SqliteStore(tmp_path) as other:
        other.record_converged(HERE, Ledger(), applied(2))
    assert store.applied() == applied(2)


def with_weight(target: Applied, weight: int) -> Applied:
    state = target.desired.state.with_changes([replace(SERVER, weight=weight)], [SERVER.key])
    return replace(target, desired=replace(target.desired, state=state))


def without(target: Applied, key: Key) -> Applied:
    state = target.desired.state.with_changes((), [key])
    return replace(target, desired=replace(target.desired, state=state))


def segment_sizes(folder: Path) -> dict[str, int]:
    """The segments of large values, and how many bytes each has."""
    with closing(sqlite3.connect(folder / "gitvs.db")) as hand:
        query = "SELECT name, length(sealed) FROM record WHERE name LIKE 'segment %'"
        return dict(hand.execute(query).fetchall())


def many(number: int) -> Applied:
    """A desired state of this many virtual services."""
    services = [VirtualService(replace(WEB, port=port)) for port in range(1, number + 1)]
    return replace(applied(), desired=replace(applied().desired, state=State(services)))


def test_a_transaction_records_only_in_what_its_target_differs(
    store: SqliteStore, tmp_path: Path
) -> None:
    store.record_converged(HERE, ledger(), many(2000))
    before = segment_sizes(tmp_path)
    later = without(many(2000), many(1).desired.state.of_type(VirtualService)[0].key)
    begun = store.begin(HERE, CHANGES, later)
    (added,) = segment_sizes(tmp_path).keys() - before.keys()
    assert segment_sizes(tmp_path)[added] < max(before.values()) / 10
    assert SqliteStore.open_readonly(tmp_path).open_transaction(HERE) == begun
    store.commit(begun, ledger())
    store.finish(begun, Outcome.APPLIED, ledger())
    assert reopened(store, tmp_path).applied() == later


CHECKED = Health((TcpCheck(8080),))


def with_checks(target: Applied, *checked: Health | None) -> Applied:
    """A desired state whose first virtual services have these checks."""
    services = target.desired.state.of_type(VirtualService)
    health = {s.key: h for s, h in zip(services, checked, strict=False) if h is not None}
    return replace(target, desired=replace(target.desired, health=health))


@pytest.mark.parametrize("count", [1, 3, 40])
def test_health_checks_are_kept_whatever_changes_beside_them(
    store: SqliteStore, tmp_path: Path, count: int
) -> None:
    other = Health((TcpCheck(25, "QUIT", "220"), TcpCheck()), fall=2)
    steps = [
        with_checks(many(count), CHECKED),
        with_checks(many(count), other),
        with_checks(many(count), other, CHECKED, other),
        with_checks(many(count)),
        with_checks(many(count), *count * [CHECKED]),
        with_checks(many(count), None, *count * [CHECKED]),
        with_checks(many(count + 1), other),
        many(1),
    ]
    for target in steps:
        store.record_converged(HERE, Ledger(), target)
        store = reopened(store, tmp_path)
        assert store.applied() == target


def test_a_virtual_service_that_changes_and_loses_its_checks_has_none(
    store: SqliteStore, tmp_path: Path
) -> None:
    before = with_checks(many(20), CHECKED)
    store.record_converged(HERE, Ledger(), before)
    first = before.desired.state.of_type(VirtualService)[0]
    state = before.desired.state.with_changes([replace(first, scheduler=Scheduler.RR)], [first.key])
    after = replace(before, desired=replace(before.desired, state=state, health={}))
    store.record_converged(HERE, Ledger(), after)
    assert reopened(store, tmp_path).applied() == after


def test_the_same_checks_of_many_virtual_services_are_written_once(
    store: SqliteStore, tmp_path: Path
) -> None:
    without_checks = many(1000)
    store.record_converged(HERE, Ledger(), without_checks)
    before = sum(segment_sizes(tmp_path).values())
    long = Health((TcpCheck(8080, "x" * 500),))
    store.record_converged(HERE, Ledger(), with_checks(without_checks, *1000 * [long]))
    assert sum(segment_sizes(tmp_path).values()) < before + 10_000


def test_a_segment_without_checks_is_what_an_older_gitvs_wrote() -> None:
    packed = _pack_whole_state(applied().desired)
    assert not any("health" in name.lower() for name in packed)
    assert "health" not in desired_record(applied().desired)


def test_a_commit_of_which_only_checks_differ_has_another_digest(
    store: SqliteStore, tmp_path: Path
) -> None:
    bare = many(3)
    for number, target in enumerate([bare, with_checks(bare, CHECKED), bare]):
        commit = OTHER_COMMITS[number]
        store.record_converged(HERE, Ledger(), replace(target, commit=commit))
    third, second, first = (e.state_digest for e in reopened(store, tmp_path).history())
    assert first == third == state_digest(bare.desired.state)
    assert second == state_and_health_digest(with_checks(bare, CHECKED).desired)
    assert first != second


def test_a_transaction_whose_target_has_other_checks_is_no_upkeep(store: SqliteStore) -> None:
    store.record_converged(HERE, Ledger(), many(3))
    for target in (many(3), with_checks(many(3), CHECKED)):
        begun = store.begin(HERE, CHANGES, target)
        store.commit(begun, Ledger())
        store.finish(begun, Outcome.APPLIED, Ledger())
    other_checks, upkeep = (entry.cause for entry in store.history()[:2])
    assert (other_checks, upkeep) == (Cause.COMMIT, Cause.UPKEEP)


def test_segments_that_nothing_needs_are_deleted_and_chains_stay_short(
    store: SqliteStore, tmp_path: Path
) -> None:
    counts = []
    for number in range(1, 100):
        target = with_weight(many(300), number)
        begun = store.begin(HERE, CHANGES, target)
        store.commit(begun, ledger(number))
        store.finish(begun, Outcome.APPLIED, ledger(number))
        counts.append(len(segment_sizes(tmp_path)))
        assert SqliteStore.open_readonly(tmp_path).applied() == target
    assert max(counts) < 100
    assert counts[-1] < 70
    begun = store.begin(HERE, CHANGES, many(1))
    store.finish(begun, Outcome.ROLLED_BACK, ledger())
    assert SqliteStore.open_readonly(tmp_path).applied() == with_weight(many(300), 99)


def test_a_chain_of_any_number_of_small_differences_stays_short(store: SqliteStore) -> None:
    chain: list[str] = []
    whole = "".join(random.Random(7).choices("0123456789abcdef", k=100_000))
    with store._writing():
        for number in range(100):
            chain = extend_chain(store._sealed, chain, lambda n=number: n, lambda: whole, False)  # type: ignore[misc]
            assert len(chain) <= 32
    assert len(chain) == 100 % 32


@pytest.mark.parametrize("has_transaction", [True, False])
def test_what_another_namespace_brought_into_force_is_no_part_of_what_comes_after(
    store: SqliteStore, tmp_path: Path, has_transaction: bool
) -> None:
    store.record_converged(HERE, ledger(), applied())
    target, others = with_weight(applied(), 0), without(applied(), RESOURCES[4].key)
    begun = store.begin(HERE, CHANGES, target)
    if has_transaction:
        store.commit(store.begin(OTHER_NAMESPACE, CHANGES, others), ledger())
    else:
        store.record_converged(OTHER_NAMESPACE, ledger(), others)
    store.commit(begun, ledger())
    assert store.applied() == target
    assert SqliteStore.open_readonly(tmp_path).applied() == target


@given(desired_states(), desired_states(), desired_states())
@settings(max_examples=examples(40))
def test_one_state_after_another_comes_back_as_it_was(
    first: Desired, second: Desired, third: Desired
) -> None:
    targets = [Applied(desired, COMMIT, NOON) for desired in (first, second, third)]
    with TemporaryDirectory() as folder, SqliteStore(Path(folder)) as store:
        for target in targets:
            begun = store.begin(HERE, CHANGES, target)
            assert SqliteStore.open_readonly(Path(folder)).open_transaction(HERE) == begun
            store.commit(begun, ledger())
            assert SqliteStore.open_readonly(Path(folder)).applied() == target
            store.finish(begun, Outcome.APPLIED, ledger())


@pytest.mark.parametrize("count", [0, 1, 1000, 2001])
def test_however_many_changes_come_back_as_they_were(
    store: SqliteStore, tmp_path: Path, count: int
) -> None:
    changes = [Change(None, replace(SERVER, port=port), Phase.MAKE) for port in range(count)]
    begun = store.begin(HERE, changes, applied())
    assert reopened(store, tmp_path).open_transaction(HERE) == begun


def test_a_write_that_failed_is_not_remembered(store: SqliteStore) -> None:
    run_one(store, 1)
    transaction = store.begin(HERE, CHANGES, applied(2))
    store._database.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError):
        store.commit(transaction, ledger(2))
    with pytest.raises(StoreError):
        store.record_converged(HERE, ledger(3), applied(3))
    assert (store.applied(), store.ledger(HERE)) == (applied(1), ledger(1))


@with_strict_tables
@pytest.mark.parametrize("stage", TransactionStage)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_database_of_an_older_gitvs_is_brought_up_to_date(
    tmp_path: Path, version: int, stage: TransactionStage
) -> None:
    target = applied(1) if stage is TransactionStage.COMMITTED else with_weight(applied(2), 7)
    conflicts = frozenset({RESOURCES[4].key})
    begun = Transaction(9, HERE, NOON, stage, CHANGES, ledger(), target, conflicts)
    entry = HistoryEntry(7, NOON, NOON, Outcome.APPLIED, COMMIT, {"create": 1}, "well")
    failed = Quarantine("a" * 40, "rolled back", NOON, 2)
    barred = Quarantine("b" * 40, "rolled back by ada", NOON)
    drain = Operation(OperationKind.DRAIN, "ada", "disk", NOON, NOON, "10.0.3.5", "web")
    with OldStore(tmp_path, version, "the-id") as old:
        old.apply(applied())
        old.add_incarnation(4, HERE.boot_id, HERE.namespace_cookie)
        old.keep_ledger(4, ledger())
        old.finish(entry)
        old.finish(replace(entry, id=8), "void")
        old.keep_plan(7, CHANGES)
        old.begin(4, begun, conflicts)
        old.suspect(4, __version__, failed)
        old.accept_head("d" * 40, NOON.isoformat())
        if version > 1:
            old.put_operation(drain)
            old.bar(barred)
            old.record_alive(NOON.isoformat())
    with pytest.raises(StoreError, match="older gitvs"):
        SqliteStore.open_readonly(tmp_path)
    with SqliteStore(tmp_path):
        pass
    with SqliteStore(tmp_path) as store:
        assert store.id == "the-id"
        assert store.applied() == applied()
        assert store.ledger(HERE) == ledger()
        assert store.open_transaction(HERE) == begun
        assert store.history() == [entry]
        assert store.changes_of(7) == CHANGES
        assert store.accepted_head() == "d" * 40
        assert store.quarantined(HERE) == ([barred, failed] if version > 1 else [failed])
        assert store.operations() == Operations((drain,) if version > 1 else ())
        assert store.alive_at() == (NOON if version > 1 else None)
        store.finish(begun, Outcome.APPLIED, ledger())
        run_one(store, 3)
        assert [e.id for e in store.history()] == [10, 9, 7]
        tables = store._database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        assert [row["name"] for row in tables] == ["record"]


@with_strict_tables
@pytest.mark.parametrize("table", ["applied_part", "plan", "saved", "operation", "history"])
def test_an_older_database_with_a_row_that_cannot_be_read_is_left_as_it_is(
    tmp_path: Path, table: str
) -> None:
    with OldStore(tmp_path, 3, "the-id") as old:
        old.apply(applied())
        old.add_incarnation(4, HERE.boot_id, HERE.namespace_cookie)
        old.keep_ledger(4, ledger())
        old.finish(HistoryEntry(7, NOON, NOON, Outcome.APPLIED, COMMIT, {}, ""))
        old.keep_plan(7, CHANGES)
        old.put_operation(Operation(OperationKind.PAUSE, "ada", "", NOON))
    column = {"plan": "changes", "saved": "resource", "operation": "said", "history": "summary"}
    with closing(sqlite3.connect(tmp_path / "gitvs.db")) as hand:
        hand.execute(f"UPDATE {table} SET {column.get(table, 'record')} = '{{\"kind\": 1'")
        hand.commit()
    for _ in range(2):
        with pytest.raises(StoreDamaged, match=r"older gitvs.*nothing was changed"):
            SqliteStore(tmp_path)
    with closing(sqlite3.connect(tmp_path / "gitvs.db")) as hand:
        assert hand.execute("PRAGMA user_version").fetchone() == (3,)


def test_a_new_store_needs_no_newer_sqlite_than_3_34(tmp_path: Path) -> None:
    """RHEL 9 has 3.34. Source: sqlite.org/changes.html."""
    newer_than_3_34 = r"\b(STRICT|RETURNING|DROP COLUMN|->>?|UNIXEPOCH|RIGHT JOIN|FULL JOIN)\b"
    said: list[str] = []
    with SqliteStore(tmp_path) as store:
        store._database.set_trace_callback(said.append)
        run_one(store)
        store.quarantine(HERE, "a" * 40, "rolled back")
        store.clear_quarantine()
    with closing(sqlite3.connect(tmp_path / "gitvs.db")) as hand:
        said += [row[0] for row in hand.execute("SELECT sql FROM sqlite_master WHERE sql != ''")]
    assert len(said) > 20
    assert [x for x in said if re.search(newer_than_3_34, x, re.I)] == []
    assert [x for x in said if re.search(r"ON CONFLICT\s+DO", x, re.I)] == []


# Commits that converged

OTHER_COMMITS = [Commit(f"{number:040x}") for number in range(20)]


def test_a_commit_that_converged_is_a_line_of_the_history_once(store: SqliteStore) -> None:
    run_one(store)
    for commit in (COMMIT, OTHER_COMMITS[1], OTHER_COMMITS[1], OTHER_COMMITS[2]):
        store.record_converged(HERE, Ledger(), replace(applied(), commit=commit))
    found = [(entry.outcome, entry.commit) for entry in store.history()]
    assert found == [
        (Outcome.CONVERGED, OTHER_COMMITS[2]),
        (Outcome.CONVERGED, OTHER_COMMITS[1]),
        (Outcome.APPLIED, COMMIT),
    ]
    digests = {entry.state_digest for entry in store.history()}
    assert digests == {state_digest(applied().desired.state)}


def test_only_what_was_applied_has_a_digest(store: SqliteStore) -> None:
    run_one(store)
    store.finish(store.begin(HERE, CHANGES, applied(2)), Outcome.ROLLED_BACK, Ledger())
    assert store.history()[0].state_digest == ""


def test_the_digest_follows_what_is_applied(store: SqliteStore, tmp_path: Path) -> None:
    for weight in (7, 8, 7):
        target = with_weight(applied(), weight)
        transaction = store.begin(HERE, CHANGES, target)
        store.commit(transaction, Ledger())
        store.finish(transaction, Outcome.APPLIED, Ledger())
        assert store.history()[0].state_digest == state_digest(target.desired.state)
    first, second, third = (entry.state_digest for entry in reopened(store, tmp_path).history())
    assert first == third != second


def test_commits_that_converged_displace_no_transaction(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, kept_transactions=3, kept_plans=1)
    run_one(store)
    for commit in OTHER_COMMITS:
        store.record_converged(HERE, Ledger(), replace(applied(), commit=commit))
    outcomes = [str(entry.outcome) for entry in store.history()]
    assert outcomes == ["converged"] * 3 + ["applied"]
    assert store.changes_of(1) == CHANGES


def test_transactions_displace_no_commit_that_converged(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, kept_transactions=2)
    store.record_converged(HERE, Ledger(), replace(applied(), commit=OTHER_COMMITS[0]))
    for number in range(4):
        run_one(store, number)
    outcomes = [str(entry.outcome) for entry in store.history()]
    assert outcomes == ["applied"] * 2 + ["converged"]


def test_a_line_of_the_history_of_an_older_gitvs_has_no_digest() -> None:
    digest = state_digest(applied().desired.state)
    entry = HistoryEntry(7, NOON, NOON, Outcome.APPLIED, COMMIT, {"create": 1}, "well", digest)
    record = history_record(entry)
    assert history_from_record(record) == entry
    record["stateDigest"] = "0" * 32  # the form before digests had versions
    assert history_from_record(record) == replace(entry, state_digest="")
    del record["stateDigest"]
    assert history_from_record(record) == replace(entry, state_digest="")


def test_an_ended_operation_is_kept_until_it_is_forgotten(
    store: SqliteStore, tmp_path: Path
) -> None:
    standby = Operation(OperationKind.STANDBY, "ada", "", NOON)
    drain = Operation(OperationKind.DRAIN, "ada", "", NOON, None, "10.0.0.1")
    for operation in (standby, drain, standby):
        store.put_operation(operation)
        store.end_operation(operation)
    with reopened(store, tmp_path) as again:
        assert again.operations() == Operations()
        assert again.ended_operations() == Operations((drain, standby))
        again.forget_ended_operations()
    with reopened(again, tmp_path) as again:
        assert again.ended_operations() == Operations()


# Damage


def closed_store(folder: Path) -> Path:
    with SqliteStore(folder) as store:
        run_one(store)
    return folder / "gitvs.db"


ALL_KINDS = {
    *("index", "applied", "history", "ledger", "open", "plan", "segment"),
    *("operations", "ended-operations", "barred", "suspects", "accepted-head", "alive"),
}


def full_store(folder: Path) -> list[str]:
    """Fill a store with a record of each kind; return the names of all."""
    with SqliteStore(folder) as store:
        run_one(store)
        store.begin(HERE, CHANGES, with_weight(applied(), 3))
        store.quarantine(HERE, "a" * 40, "rolled back")
        pin = Operation(OperationKind.PIN, "ada", "", NOON, None, "c" * 40)
        store.pin(pin, ["b" * 40], "rolled back by ada")
        store.end_operation(Operation(OperationKind.STANDBY, "ada", "", NOON))
        store.accept_head("d" * 40)
        store.record_alive()
        found = store._database.execute("SELECT name FROM record ORDER BY name")
        return [row["name"] for row in found]


def read_everything(store: SqliteStore) -> tuple[object, ...]:
    """Everything that a store can say."""
    return (
        *(store.id, store.applied(), store.ledger(HERE), store.open_transaction(HERE)),
        *(store.history(), store.changes_of(1), store.changes_of(2), store.accepted_head()),
        *(store.quarantined(HERE), store.operations(), store.alive_at()),
        store.ended_operations(),
    )


def zero_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(path.stat().st_size - 4096))


def drop_store(path: Path) -> None:
    with closing(sqlite3.connect(path)) as hand:
        hand.execute("DROP TABLE record")
        hand.commit()


def with_format_versions(path: Path, versions: bytes) -> None:
    """As one flipped bit in the header, after which SQLite ignores the journal, or cannot write."""
    data = bytearray(path.read_bytes())
    data[18:20] = versions
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut off": lambda path: os.truncate(path, path.stat().st_size // 2),
    "zeroed": zero_page,
    "another file": lambda path: path.write_bytes(b"apiVersion: gitvs/v1\n" * 1000),
    "without our tables": drop_store,
    "with another journal mode": lambda path: with_format_versions(path, b"\x01\x01"),
    "with a schema that is not UTF-8": lambda path: path.write_bytes(
        path.read_bytes().replace(b"CREATE TABLE record", b"CREATE TABLE\xa0record")
    ),
    "read-only by its header": lambda path: with_format_versions(path, b"\x03\x02"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("opened", [SqliteStore, SqliteStore.open_readonly])
def test_a_damaged_database_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: str, opened: Callable[[Path], SqliteStore]
) -> None:
    path = closed_store(tmp_path)
    DAMAGES[damage](path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"damaged.*nothing was changed.*--adopt"):
        opened(tmp_path)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "gitvs.db") as other:
        other.execute("CREATE TABLE cookies (id)")
    other.close()
    with pytest.raises(StoreError, match="not a database of gitvs"):
        SqliteStore(tmp_path)


def test_a_folder_in_place_of_the_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gitvs.db").mkdir()
    with pytest.raises(StoreError, match="it is a folder"):
        SqliteStore(tmp_path)


def test_a_store_that_cannot_be_made_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk and a timer would leave new files every minute."""

    def fail(path: Path, _mode: str) -> sqlite3.Connection:
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).touch()
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("gitvs.adapters.store.database._connect", fail)
    with pytest.raises(StoreError, match="disk I/O error"):
        SqliteStore(tmp_path)
    assert list(tmp_path.iterdir()) == []


RECORD_DAMAGES = {
    "changed": "UPDATE record SET sealed = CAST(sealed || X'00' AS BLOB) WHERE name = ?",
    "another's": "UPDATE record SET sealed = (SELECT sealed FROM record WHERE name != ?1)"
    " WHERE name = ?1",
    "lost": "DELETE FROM record WHERE name = ?",
    "no blob": "UPDATE OR IGNORE record SET sealed = X'' WHERE name = ?",
}


@pytest.mark.parametrize("damage", RECORD_DAMAGES)
def test_whichever_record_is_damaged_the_store_is_refused_and_the_record_named(
    tmp_path: Path, damage: str
) -> None:
    names = full_store(tmp_path)
    assert {name.split()[0] for name in names} == ALL_KINDS
    whole = (tmp_path / "gitvs.db").read_bytes()
    for name in names:
        (tmp_path / "gitvs.db").write_bytes(whole)
        with closing(sqlite3.connect(tmp_path / "gitvs.db")) as hand:
            hand.execute(RECORD_DAMAGES[damage], (name,))
            hand.commit()
        with pytest.raises(StoreDamaged, match=rf"record {name} .*nothing was changed"):
            SqliteStore(tmp_path)


@pytest.mark.parametrize("damage", RECORD_DAMAGES)
def test_a_reader_refuses_whichever_damaged_record_it_needs(tmp_path: Path, damage: str) -> None:
    names = full_store(tmp_path)
    whole = (tmp_path / "gitvs.db").read_bytes()
    for name in names:
        (tmp_path / "gitvs.db").write_bytes(whole)
        with closing(sqlite3.connect(tmp_path / "gitvs.db")) as hand:
            hand.execute(RECORD_DAMAGES[damage], (name,))
            hand.commit()
        with (
            SqliteStore.open_readonly(tmp_path) as reader,
            pytest.raises(StoreDamaged, match=rf"record {name} "),
        ):
            read_everything(reader)


def test_an_older_record_put_back_is_noticed(tmp_path: Path) -> None:
    with SqliteStore(tmp_path) as store:
        store.put_operation(Operation(OperationKind.PAUSE, "ada", "", NOON))
        (older,) = store._database.execute(
            "SELECT sealed FROM record WHERE name = 'operations'"
        ).fetchone()
        store.put_operation(Operation(OperationKind.STANDBY, "ada", "", NOON))
        store._database.execute("UPDATE record SET sealed = ? WHERE name = 'operations'", (older,))
        with pytest.raises(StoreDamaged, match="operations is not the one that the index lists"):
            store.operations()


@given(st.data())
@settings(max_examples=examples(100))
def test_a_sealed_record_is_what_was_sealed_or_unreadable(data: st.DataObject) -> None:
    value = {"key": data.draw(st.text()), "list": data.draw(st.lists(st.integers()))}
    sealed = seal("name", value)
    assert unseal("name", sealed) == value
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    flipped = bytearray(sealed)
    flipped[place // 8] ^= 1 << place % 8
    for name, record in (
        ("name", bytes(flipped)),
        ("other", sealed),
        ("name", sealed[: place // 8]),
    ):
        with pytest.raises(Unreadable, match=f"record {name} "):
            unseal(name, record)


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = closed_store(tmp_path)
    with sqlite3.connect(path) as hand:
        hand.execute("PRAGMA user_version = 999")
    hand.close()
    with pytest.raises(StoreError, match=r"newer gitvs.*schema 999"):
        SqliteStore(tmp_path)


def test_a_database_that_lost_its_file_but_not_its_journal_is_refused(tmp_path: Path) -> None:
    path = closed_store(tmp_path)
    path.with_name("gitvs.db-wal").write_bytes(b"left over")
    path.unlink()
    with pytest.raises(StoreError, match=r"journal gitvs\.db-wal is there"):
        SqliteStore(tmp_path)
    assert not path.exists()


def test_a_locked_database_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = closed_store(tmp_path)
    monkeypatch.setattr("gitvs.adapters.store.database.BUSY_SECONDS", 0.1)
    store = SqliteStore(tmp_path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="another process has kept it locked"):
        store.accept_head("a" * 40)
    other.close()
    store.accept_head("a" * 40)
    assert store.accepted_head() == "a" * 40


def test_a_full_disk_says_so_and_changes_nothing(store: SqliteStore) -> None:
    run_one(store)
    store._database.execute("PRAGMA max_page_count = 1")  # the lowest it takes: the present size
    huge = Ledger(frozenset(Key(f"local 10.0.0.{n}/32 {'x' * 100}") for n in range(10_000)))
    with pytest.raises(StoreError, match="disk is full"):
        store.record_converged(HERE, huge, applied(2))
    assert store.ledger(HERE) == ledger()
    assert store.applied() == applied()


def test_a_state_folder_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match=r"state: .*has to be a folder"):
        SqliteStore(tmp_path / "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_state_folder_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(StoreError, match="belongs to user 65534, and gitvs runs as user 0"):
        SqliteStore(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_without_permission_says_so() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        closed_store(Path(folder, "state"))
        os.seteuid(65534)
        try:
            with pytest.raises(StoreError, match="run gitvs as root, or as the owner"):
                SqliteStore.open_readonly(Path(folder, "state"))
        finally:
            os.seteuid(0)


# Death


class Killed:
    """Kills the process at the nth statement that reaches SQLite."""

    def __init__(self, statement: int) -> None:
        self._left = statement

    def __call__(self, _sql: str) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; return its wait status."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def assert_one_or_the_other(folder: Path) -> int:
    """Return which of the numbered transactions is in force; all records have to agree."""
    with SqliteStore(folder) as store:
        found = store.applied()
        assert found is not None
        number = int(found.desired.director.removeprefix("lb"))
        assert found == applied(number)
        assert store.ledger(HERE) == ledger(number)
        open_one = store.open_transaction(HERE)
        if open_one is not None and open_one.stage is TransactionStage.COMMITTED:
            assert open_one.target == found
        elif open_one is not None:
            assert open_one.target == applied(number + 1)
            assert open_one.changes == CHANGES
        return number


def test_a_process_killed_at_any_statement_leaves_the_old_or_the_new_record(
    tmp_path: Path,
) -> None:
    numbers = set()
    for statement in range(1, 200):
        folder = tmp_path / str(statement)
        with SqliteStore(folder) as store:
            run_one(store, 1)

        def work(folder: Path = folder, statement: int = statement) -> None:
            store = SqliteStore(folder)
            store._database.set_trace_callback(Killed(statement))
            run_one(store, 2)

        was_killed = os.WIFSIGNALED(in_child(work))
        numbers.add(assert_one_or_the_other(folder))
        if not was_killed:
            break
    else:
        pytest.fail("more statements than the test knows of")
    assert statement > 20
    assert numbers == {1, 2}


def test_a_process_killed_at_any_moment_leaves_the_old_or_the_new_record(tmp_path: Path) -> None:
    random_delay = random.Random(7)
    with SqliteStore(tmp_path) as store:
        run_one(store, 1)

    def work() -> None:
        with SqliteStore(tmp_path) as store:
            found = store.applied()
            assert found is not None
            number = int(found.desired.director.removeprefix("lb"))
            left = store.open_transaction(HERE)
            if left is not None:
                store.finish(left, Outcome.APPLIED, ledger(number))
            while True:
                number += 1
                run_one(store, number)

    number = 1
    for attempt in range(500):
        if attempt >= 25 and number > 1:
            break
        child = os.fork()
        if child == 0:
            try:
                work()
            finally:
                os._exit(0)
        time.sleep(random_delay.uniform(0.005, 0.06) * (1 + attempt / 25))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        number = assert_one_or_the_other(tmp_path)
    assert number > 1


def test_a_process_killed_while_making_the_store_leaves_none_or_a_whole_one(
    tmp_path: Path,
) -> None:
    random_delay = random.Random(7)
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        child = os.fork()
        if child == 0:
            try:
                SqliteStore(folder)
            finally:
                os._exit(0)
        time.sleep(random_delay.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with SqliteStore(folder) as store:
            run_one(store)
            assert store.applied() == applied()
