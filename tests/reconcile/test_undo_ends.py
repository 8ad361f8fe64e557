"""An undo always ends: what the kernel refuses to undo is named, and left to the repairs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from errno import EBUSY, EINVAL
from pathlib import Path
from shutil import copytree

import pytest

from gitvs.core.errors import KernelUnreadable
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import (
    DummyInterface,
    Key,
    LocalRoute,
    RealServer,
    Resource,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Timeout,
    Vip,
    VirtualService,
)
from gitvs.core.planning.plan import Change, Phase
from gitvs.ports import Applied, WriteResult
from gitvs.reconcile.one_pass import PassResult, reconcile
from gitvs.reconcile.repair_memory import RepairMemory
from gitvs.reconcile.results import TransactionResult
from gitvs.reconcile.teardown import teardown
from gitvs.reconcile.transaction import recover
from tests.reconcile.test_repairs import BEFORE, applied_world
from tests.support import scenario
from tests.support.faults import Crashed, FaultyKernel, How, WrappedKernel
from tests.support.sweep import ALLOW, World, assert_state

PLACES = (0, 4, 9, 15, 20)
"""Crashes right after these changes of the scenario's plan: in each of its phases."""


def crashed_world(folder: Path, at: int) -> World:
    """A director on which gitvs died right after a change of the scenario's plan."""
    world = applied_world(folder)
    with pytest.raises(Crashed):
        world.bring(scenario.after(), FaultyKernel(world.kernel, at, How.CRASH_AFTER))
    return world


def copy_of(world: World, folder: Path) -> World:
    """The same director once more."""
    copytree(world.state_dir, folder)
    return World(deepcopy(world.kernel), folder)


def take_away(world: World, resource: Resource) -> None:
    """Somebody takes an object away."""
    if isinstance(resource, DummyInterface):
        world.kernel.delete_link(resource.name)
    else:
        world.kernel.remove(resource)


def recovery(world: World) -> TransactionResult:
    """What the next pass does first."""
    with world.store() as store:
        result = recover(world.ports(store))
        assert result is not None
        assert store.open_transaction(world.kernel.incarnation()) is None
        assert set(result.not_undone) <= set(result.failures)
        assert all(text in store.history()[0].message for text in result.not_undone[:9])
    return result


def repaired(world: World) -> PassResult:
    """What passes for the applied state lead to."""
    for _ in range(3):
        result = world.bring(scenario.before())
        world.clock.seconds += 61  # new servers drain
    return result


def assert_in_force(world: World) -> None:
    """All of the applied state is there, and of what gitvs made nothing else."""
    assert repaired(world).outcome is Outcome.CONVERGED
    now = world.state()
    assert {key: now.get(key) for key in BEFORE} == dict(BEFORE)
    assert {k for k, r in now.items() if not isinstance(r, Sysctl | Timeout)} <= set(BEFORE)


@pytest.mark.parametrize("at", PLACES)
def test_whatever_somebody_took_away_meanwhile_the_rest_is_undone_and_all_is_repaired(
    tmp_path: Path, at: int
) -> None:
    crashed = crashed_world(tmp_path / "crashed", at)
    resources = [r for r in crashed.state().values() if not isinstance(r, Sysctl | Timeout)]
    for number, resource in enumerate(resources):
        world = copy_of(crashed, tmp_path / str(number))
        take_away(world, resource)
        assert recovery(world).outcome is Outcome.ROLLED_BACK
        assert_in_force(world)


def test_what_lost_its_virtual_service_is_named_and_everything_else_is_as_it_was(
    tmp_path: Path,
) -> None:
    world = applied_world(tmp_path)
    snapshot = world.state()
    service, *_ = (s for s in snapshot.of_type(VirtualService) if s.listener == scenario.MARK)
    with pytest.raises(Crashed):
        world.bring(scenario.after(), FaultyKernel(world.kernel, 20, How.CRASH_AFTER))
    world.kernel.remove(service)
    result = recovery(world)
    server = scenario.server(scenario.MARK, 1)
    assert len(result.not_undone) == 1
    assert (
        f"not undone: real server {server.key}: there is no virtual service"
        in (result.not_undone[0])
    )
    assert_state(world, snapshot.with_changes(drop=[service.key, server.key]))
    assert_in_force(world)


def test_a_sync_daemon_without_its_interface_is_left_to_the_repairs(tmp_path: Path) -> None:
    world = crashed_world(tmp_path, 20)
    world.kernel.delete_link(scenario.UPLINK)
    assert "does not exist (ENODEV)" in recovery(world).not_undone[0]
    result = repaired(world)
    assert {u.key for u in result.unrepairable} == {Key("sync-daemon primary")}
    world.kernel.add_link(scenario.UPLINK, "veth", addresses=["192.0.2.1/24"])
    assert_in_force(world)


@pytest.mark.parametrize("mtu", [1500, 9000])
@pytest.mark.parametrize("how", [How.CRASH_BEFORE, How.CRASH_AFTER])
def test_a_plan_of_an_earlier_gitvs_that_named_no_length_of_a_sync_daemon_is_recovered(
    tmp_path: Path, how: How, mtu: int
) -> None:
    """The kernel chose it, so no restart is due, and one that is to go is still ours."""
    for at in range(100):
        folder = tmp_path / str(at)
        world = applied_world(folder)
        world.kernel.set_mtu(scenario.UPLINK, mtu)
        backup = SyncDaemon(SyncRole.BACKUP, scenario.UPLINK, 3)
        target = scenario.before()
        target = replace(target, state=target.state.with_changes([backup]))
        assert world.bring(target).outcome is Outcome.APPLIED
        snapshot = world.state()
        faulty = FaultyKernel(world.kernel, at, how)
        with suppress(Crashed):
            world.bring(scenario.after(), faulty)
        if not faulty.has_struck:
            break
        with world.store() as store:
            opened = store.open_transaction(world.kernel.incarnation())
            assert opened is not None
            earlier = [
                replace(c, before=without_length(c.before), after=without_length(c.after))
                for c in opened.changes
            ]
            with store._writing(is_about_kernel=False):
                store._records.put_changes(opened.id, earlier)
        result = recovery(world)
        assert result.not_undone == ()
        if result.outcome is Outcome.ROLLED_BACK:
            assert_state(world, snapshot)
            assert world.bring(target).outcome is Outcome.CONVERGED
        else:
            assert backup.key not in world.state()
    assert at > 20


def without_length(resource: Resource | None) -> Resource | None:
    """A sync daemon as an earlier gitvs recorded it."""
    return replace(resource, max_length=None) if isinstance(resource, SyncDaemon) else resource


@pytest.mark.parametrize("code", [EBUSY, EINVAL])
def test_an_object_that_the_kernel_refuses_to_undo_keeps_nothing_else_from_being_undone(
    tmp_path: Path, code: int
) -> None:
    crashed = crashed_world(tmp_path / "crashed", 20)
    with crashed.store() as store:
        opened = store.open_transaction(crashed.kernel.incarnation())
    assert opened is not None
    ledger, state = opened.ledger, crashed.state()
    undoable = (c for c in opened.changes if c.phase is not Phase.BREAK and c.before != c.after)
    changed = {c.key for c in undoable if state.get(c.key) == c.after}
    for number, key in enumerate(sorted(changed)):
        world = copy_of(crashed, tmp_path / str(number))
        world.kernel.refused_keys[key] = code
        result = recovery(world)
        assert result.outcome is Outcome.ROLLED_BACK
        present = world.state().get(key)
        if present is None:
            continue  # it goes with what it belongs to
        assert result.not_undone
        with world.store() as store:
            owned = store.ledger(world.kernel.incarnation()).owned
        if not isinstance(present, RealServer | Sysctl | Timeout):
            assert key in owned, "so that a later pass can remove it"
        assert owned - {key} <= ledger.owned
        world.kernel.refused_keys.clear()
        assert_in_force(world)


def test_an_undo_that_is_refused_altogether_is_made_good_by_later_repairs(tmp_path: Path) -> None:
    world = crashed_world(tmp_path, 20)
    halfway = world.state()
    keys = {*halfway, *BEFORE}
    world.kernel.refused_keys = dict.fromkeys(keys, EINVAL)
    assert recovery(world).outcome is Outcome.ROLLED_BACK
    assert_state(world, halfway)
    assert world.clock.slept == [0.4]
    world.kernel.refused_keys.clear()
    assert_in_force(world)


def test_a_removal_that_is_refused_is_tried_twice_and_left_to_the_repairs(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    service = scenario.server(scenario.DNS, 1).service_key
    world.kernel.refused_keys[service] = EBUSY
    state = scenario.before().state
    without_dns = state.with_changes(drop=[k for k in state if k.startswith(service)])
    wanted = replace(scenario.before(), state=without_dns)
    memory = RepairMemory()
    for count in (1, 2):
        with world.store() as store:
            target = Applied(wanted, None, world.clock.now())
            result = reconcile(world.ports(store), target, ALLOW, memory=memory)
        assert result.outcome is Outcome.APPLIED
        assert world.clock.slept == [0.4] * count
    assert [u.key for u in result.unrepairable] == [service]


class Fought(WrappedKernel):
    """A kernel in which somebody sets a weight to something else again and again."""

    readings = 0

    def observe(self, scope: Scope) -> Observation:
        self.readings += 1
        server = replace(scenario.server(scenario.WEB4, 1), weight=100 + self.readings)
        self._kernel.put(server)  # type: ignore[attr-defined]  # a kernel in memory
        return super().observe(scope)


def test_an_undo_ends_although_another_program_undoes_it(tmp_path: Path) -> None:
    world = crashed_world(tmp_path, 20)
    fought = Fought(world.kernel)
    with world.store() as store:
        result = recover(world.ports(store, fought))
    assert result is not None
    assert result.outcome is Outcome.ROLLED_BACK
    assert "when read back, it was not as before" in result.not_undone[0]
    assert fought.readings < 30
    assert_in_force(world)


class Sightless(WrappedKernel):
    """A kernel that cannot be read right after the first write; a service goes meanwhile."""

    def __init__(self, world: World) -> None:
        super().__init__(world.kernel)
        self._world = world
        self._is_blind = self._has_been_blind = False

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        self._is_blind = not self._has_been_blind
        return super().execute(changes)

    def observe(self, scope: Scope) -> Observation:
        if self._is_blind:
            self._is_blind, self._has_been_blind = False, True
            take_away(self._world, self._world.state()[Key(str(scenario.WEB4))])
            raise KernelUnreadable("the kernel changed while it was read: try again")
        return super().observe(scope)


def test_a_repair_that_cannot_be_undone_is_made_again(tmp_path: Path) -> None:
    world = applied_world(tmp_path)
    world.kernel.put(replace(scenario.server(scenario.WEB4, 1), weight=77))
    result = world.bring(scenario.before(), Sightless(world))
    assert result.repairs is not None
    assert (result.outcome, result.repairs.is_repair) == (Outcome.ROLLED_BACK, True)
    assert "there is no virtual service" in result.repairs.not_undone[0]
    assert_in_force(world)


@pytest.mark.parametrize("code", [0, EBUSY])
def test_teardown_goes_on_after_an_undo_that_left_something(tmp_path: Path, code: int) -> None:
    world = crashed_world(tmp_path, 20)
    world.kernel.delete_link(scenario.UPLINK)
    new = Key(str(scenario.NEW))
    if code:
        world.kernel.refused_keys[new] = code
    with world.store() as store:
        result = teardown(world.ports(store))
    assert result.recovered is not None
    assert result.recovered.not_undone
    assert result.outcome is Outcome.APPLIED
    kinds = VirtualService | RealServer | Vip | SyncDaemon | LocalRoute
    left = {k for k, r in world.state().items() if isinstance(r, kinds)}
    assert left == ({new} if code else set())
    world.kernel.refused_keys.clear()
    with world.store() as store:
        teardown(world.ports(store))
    assert not world.state().of_type(VirtualService)


def test_adopting_goes_on_after_an_undo_that_left_something(tmp_path: Path) -> None:
    world = crashed_world(tmp_path, 20)
    take_away(world, world.state()[Key(str(scenario.MARK))])
    with world.store() as store:
        applied = store.applied()
        assert applied is not None
        result = reconcile(world.ports(store), applied, replace(ALLOW, adopt=True))
    assert result.outcome is Outcome.APPLIED
    assert_in_force(world)
