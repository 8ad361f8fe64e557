"""The way back: what was there is there again, and new servers with connections drain."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.ledger import Incarnation, Ledger
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import (
    DummyInterface,
    Key,
    Listener,
    RealServer,
    Resource,
    Scheduler,
    SchedulerFlag,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.plan import Change
from gitvs.ports import WriteResult, WriteStatus
from tests.support.builders import (
    dummy,
    endpoint,
    firewall_mark,
    local_route,
    real_server,
    sysctl,
    vip,
    virtual_service,
)
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import World, assert_state

OTHER = endpoint("203.0.113.20")
REFUSED = vip("203.0.113.99")
"""The last change of each plan here, which the kernel refuses."""


def desired(*resources: Resource, drain_seconds: float = 60, interface: str = "gitvs0") -> Desired:
    """A desired state in which all services drain as long."""
    state = State([dummy(interface), *resources])
    return Desired(
        "lb1", interface, state, {s.key: drain_seconds for s in state.of_type(VirtualService)}
    )


class Refusing:
    """A kernel that refuses to bind one VIP; right before that, real servers get connections.

    `quick` are those whose connections are gone again before anybody looks a second time.
    """

    def __init__(
        self, kernel: MemoryKernel, busy: Sequence[RealServer], quick: Sequence[RealServer]
    ) -> None:
        self._kernel, self._busy, self._quick = kernel, busy, quick
        self._is_over = False

    def incarnation(self) -> Incarnation:
        return self._kernel.incarnation()

    def read_witness(self) -> int | None:
        return self._kernel.read_witness()

    def write_witness(self, number: int, adopted_interface: str | None = None) -> None:
        self._kernel.write_witness(number, adopted_interface)

    def observe(self, scope: Scope) -> Observation:
        seen = self._kernel.observe(scope)
        if self._is_over:
            for server in self._quick:
                self._kernel.set_connections(server)
            self._quick = ()
        return seen

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        return [self._execute(change) for change in changes]

    def _execute(self, change: Change) -> WriteResult:
        if change.key != REFUSED.key or change.after is None:
            return self._kernel.execute([change])[0]
        for server in (*self._busy, *self._quick):
            self._kernel.set_connections(server, inactive=1)
        self._is_over = True
        return WriteResult(change, WriteStatus.REFUSED, errno.ENOMEM, "no memory")


def world_with(folder: Path, before: Desired) -> World:
    """A director on which `before` is in force."""
    world = World(MemoryKernel("gitvs:test"), folder)
    assert world.bring(before).outcome is Outcome.APPLIED
    return world


def undo(
    world: World,
    wanted: Desired,
    *busy: RealServer,
    quick: Sequence[RealServer] = (),
) -> Ledger:
    """Apply what ends in a refusal, and return the ledger after its undo."""
    wanted = replace(wanted, state=wanted.state.with_changes([REFUSED]))
    done = world.bring(wanted, Refusing(world.kernel, busy, quick))
    assert done.outcome is Outcome.ROLLED_BACK, done.transaction
    with world.store() as store:
        return store.ledger(world.kernel.incarnation())


NEW = real_server(address="10.0.0.2")


@pytest.mark.parametrize("scheduler", [Scheduler.WLC, Scheduler.SH, Scheduler.MH])
def test_a_new_server_of_a_service_that_does_not_change_goes_without_a_trace(
    tmp_path: Path, scheduler: Scheduler
) -> None:
    service = virtual_service(scheduler=scheduler)
    world = world_with(tmp_path, desired(service, real_server()))
    snapshot = world.state()
    assert not undo(world, desired(service, real_server(), NEW)).drains
    assert_state(world, snapshot)


def test_a_new_server_with_an_inactive_connection_drains_in_a_service_that_does_not_change(
    tmp_path: Path,
) -> None:
    world = world_with(tmp_path, desired(virtual_service(), real_server()))
    snapshot = world.state()
    ledger = undo(world, desired(virtual_service(), real_server(), NEW), NEW)
    assert set(ledger.drains) == {NEW.key}
    assert_state(world, snapshot.with_changes([replace(NEW, weight=0)]))


def test_a_server_that_drains_under_mh_keeps_the_fallback_flag(tmp_path: Path) -> None:
    service = virtual_service(scheduler=Scheduler.MH)
    world = world_with(tmp_path, desired(service, real_server()))
    snapshot = world.state()
    undo(world, desired(service, real_server(), NEW), NEW)
    flagged = replace(service, flags=frozenset({SchedulerFlag.MH_FALLBACK}))
    assert_state(world, snapshot.with_changes([flagged, replace(NEW, weight=0)]))


def test_where_servers_drain_for_no_time_a_new_one_goes_with_its_connections(
    tmp_path: Path,
) -> None:
    before = desired(virtual_service(), real_server(), drain_seconds=0)
    world = world_with(tmp_path, before)
    snapshot = world.state()
    wanted = desired(virtual_service(), real_server(), NEW, drain_seconds=0)
    assert not undo(world, wanted, NEW).drains
    assert_state(world, snapshot)


@pytest.mark.parametrize("listener", [OTHER, firewall_mark()])
def test_a_new_service_that_drains_keeps_what_its_traffic_needs_and_owns_it(
    tmp_path: Path, listener: Listener
) -> None:
    world = world_with(tmp_path, desired(virtual_service(), real_server()))
    snapshot = world.state()
    new = real_server(listener, "10.0.0.2", port=0)
    needed: list[Resource] = [
        virtual_service(listener),
        vip("203.0.113.20"),
        local_route("203.0.113.16/28"),
    ]
    wanted = desired(virtual_service(), real_server(), *needed, new)
    ledger = undo(world, wanted, new)
    assert_state(world, snapshot.with_changes([*needed, replace(new, weight=0)]))
    assert {needed[0].key, needed[1].key} <= ledger.owned
    world.clock.seconds += 61
    world.bring(desired(virtual_service(), real_server()))
    assert_state(world, snapshot)


def test_a_new_service_does_not_keep_what_others_need(tmp_path: Path) -> None:
    world = world_with(tmp_path, desired(virtual_service(), real_server()))
    snapshot = world.state()
    new = real_server(OTHER, "10.0.0.2")
    others: list[Resource] = [vip("203.0.113.30"), local_route()]
    undo(world, desired(*others, virtual_service(OTHER), vip("203.0.113.20"), new), new)
    kept: list[Resource] = [virtual_service(OTHER), vip("203.0.113.20"), replace(new, weight=0)]
    assert_state(world, snapshot.with_changes(kept))


def test_a_new_service_on_an_address_that_was_bound_before_keeps_no_second_vip(
    tmp_path: Path,
) -> None:
    world = world_with(tmp_path, desired(vip(), virtual_service(), real_server()))
    snapshot = world.state()
    beside = endpoint(port=443)
    new = real_server(beside, "10.0.0.2")
    wanted = desired(vip(interface="gitvs1"), virtual_service(beside), new, interface="gitvs1")
    undo(world, wanted, new)
    assert_state(world, snapshot.with_changes([virtual_service(beside), replace(new, weight=0)]))


def test_a_setting_of_an_interface_that_has_to_stay_stays_with_it(tmp_path: Path) -> None:
    world = World(MemoryKernel("gitvs:test"), tmp_path)
    setting = sysctl("net.ipv4.conf.gitvs0.arp_ignore")
    new = real_server(OTHER, "10.0.0.2")
    ledger = undo(world, desired(setting, virtual_service(OTHER), vip("203.0.113.20"), new), new)
    assert dummy().key in ledger.owned
    assert set(world.state().of_type(DummyInterface)) == {dummy()}


def test_a_service_whose_last_connection_ends_during_the_undo_goes_too(tmp_path: Path) -> None:
    world = world_with(tmp_path, desired(virtual_service(), real_server()))
    snapshot = world.state()
    new = real_server(OTHER, "10.0.0.2")
    service = virtual_service(OTHER, Scheduler.MH)
    wanted = desired(virtual_service(), real_server(), service, vip("203.0.113.20"), new)
    assert not undo(world, wanted, quick=[new]).drains
    assert_state(world, snapshot)


def test_our_server_in_a_service_that_somebody_made_meanwhile_goes_with_its_connections(
    tmp_path: Path,
) -> None:
    world = world_with(tmp_path, desired(virtual_service(), real_server()))
    snapshot = world.state()
    theirs = virtual_service(OTHER, Scheduler.SED)
    new = real_server(OTHER, "10.0.0.2")

    class Forestalled(Refusing):
        def observe(self, scope: Scope) -> Observation:
            seen = super().observe(scope)
            if OTHER_KEY not in seen.state:
                self._kernel.put(theirs)
            elif new.key in seen.state:
                self._kernel.set_connections(new, active=1)
                seen = super().observe(scope)
            return seen

    wanted = desired(virtual_service(), real_server(), virtual_service(OTHER), new)
    done = world.bring(wanted, Forestalled(world.kernel, (), ()))
    assert done.outcome is Outcome.ROLLED_BACK
    assert_state(world, snapshot.with_changes([theirs]))
    with world.store() as store:
        assert not store.ledger(world.kernel.incarnation()).drains


def test_an_interface_of_ours_that_somebody_used_meanwhile_stays(tmp_path: Path) -> None:
    world = World(MemoryKernel("gitvs:test"), tmp_path)
    theirs = vip("192.0.2.77")

    class Shared(Refusing):
        def observe(self, scope: Scope) -> Observation:
            if dummy().key in super().observe(scope).state:
                self._kernel.put(theirs)
            return super().observe(scope)

    wanted = desired(virtual_service(), real_server())
    wanted = replace(wanted, state=wanted.state.with_changes([REFUSED]))
    assert world.bring(wanted, Shared(world.kernel, (), ())).outcome is Outcome.ROLLED_BACK
    assert set(world.state().of_type(Vip)) == {theirs}
    assert not world.state().of_type(VirtualService)


OTHER_KEY = Key(str(OTHER))
