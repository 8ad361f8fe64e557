"""One object that cannot be repaired hurts nothing else, and no commit is judged by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from errno import EACCES
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gitvs.core.errors import KernelUnreadable
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.resources import (
    DummyInterface,
    Key,
    RealServer,
    Resource,
    Scheduler,
    SyncDaemon,
    Sysctl,
    Timeout,
    TimeoutName,
    Vip,
    VirtualService,
)
from gitvs.core.planning.overlay import with_fallback_flags
from gitvs.core.planning.plan import Change
from gitvs.ports import Applied, WriteResult
from gitvs.reconcile.one_pass import PassResult, reconcile
from gitvs.reconcile.repair_memory import RepairMemory
from tests.support import scenario
from tests.support.faults import Crashed, FaultyKernel, How
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import ALLOW, World

VIP6 = Vip(ip_address("2001:db8::10"), "gitvs0", 128)
SETTINGS = (Sysctl, Timeout)
BEFORE = with_fallback_flags(scenario.before().state)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return applied_world(tmp_path)


def applied_world(folder: Path) -> World:
    """A director on which the scenario's first state is in force."""
    kernel = MemoryKernel("gitvs:test")
    kernel.add_link(scenario.UPLINK, "veth", addresses=["192.0.2.1/24"])
    folder.mkdir(exist_ok=True)
    world = World(kernel, folder)
    assert world.bring(scenario.before()).outcome is Outcome.APPLIED
    return world


def drift(world: World) -> None:
    """Somebody takes everything away, and sets what is left to something else."""
    state = world.state()
    for setting in state.of_type(Sysctl):
        world.kernel.put(replace(setting, value="0" if setting.value == "1" else "1"))
    world.kernel.put(Timeout(TimeoutName.TCP, 77))
    world.kernel.remove(*state.of_type(SyncDaemon), *state.of_type(VirtualService))
    world.kernel.delete_link("gitvs0")
    for resource in state.values():
        if resource.key.startswith("local "):
            world.kernel.remove(resource)


def needs(resource: Resource, sick: Resource) -> bool:
    """Whether an object cannot be made without another."""
    match sick:
        case DummyInterface(name):
            return isinstance(resource, Vip) and resource.interface == name
        case VirtualService(listener):
            is_its_server = isinstance(resource, RealServer) and resource.listener == listener
            is_its_vip = isinstance(resource, Vip) and resource.address == getattr(
                listener, "address", None
            )
            return is_its_server or is_its_vip
    return False


@pytest.mark.parametrize("key", sorted(scenario.before().state))
def test_all_is_repaired_but_the_object_that_cannot_be_and_what_needs_it(
    world: World, key: Key
) -> None:
    sick = BEFORE[key]
    drift(world)
    world.kernel.refused_keys[key] = EACCES
    result = world.bring(scenario.before())
    assert result.outcome is Outcome.APPLIED
    assert result.exit_code == 1
    hurt = {k for k, r in BEFORE.items() if r == sick or needs(r, sick)}
    state = world.state()
    assert {k for k, r in BEFORE.items() if state.get(k) != r} == hurt
    assert {u.key for u in result.unrepairable} == hurt
    world.kernel.refused_keys.clear()
    result = world.bring(scenario.before())
    assert (result.outcome, result.unrepairable, result.exit_code) == (Outcome.APPLIED, (), 0)
    assert dict(world.state()) == {**world.state(), **BEFORE}
    assert world.bring(scenario.before()).outcome is Outcome.CONVERGED


@pytest.mark.parametrize("how", list(How))
def test_a_fault_at_any_change_of_a_repair_is_made_good_by_the_next_passes(
    tmp_path: Path, how: How
) -> None:
    for at in count():
        world = applied_world(tmp_path / str(at))
        drift(world)
        faulty = FaultyKernel(world.kernel, at, how)
        try:
            outcome: Outcome | None = world.bring(scenario.before(), faulty).outcome
        except Crashed:
            outcome = world.recover()
        except KernelUnreadable:
            outcome = None
        assert outcome is not Outcome.STUCK
        with world.store() as store:
            assert store.open_transaction(world.kernel.incarnation()) is None
        world.bring(scenario.before())
        assert world.bring(scenario.before()).outcome is Outcome.CONVERGED
        assert dict(world.state()) == {**world.state(), **BEFORE}
        if not faulty.has_struck:
            break
    assert at > (1 if how is How.UNREADABLE else 15), "a sweep over so few places is no sweep"


@pytest.mark.parametrize("how", list(How))
def test_a_fault_in_a_repair_is_never_held_against_a_commit(tmp_path: Path, how: How) -> None:
    """Whichever repair fails, the commit is in force after the next pass."""
    commit = changed(scenario.server(scenario.DNS, 2, 7))
    for at in count():
        world = applied_world(tmp_path / str(at))
        drift(world)
        faulty = FaultyKernel(world.kernel, at, how)
        try:
            result = world.bring(commit, faulty)
        except Crashed:
            world.recover()
        except KernelUnreadable:
            pass
        else:
            if result.outcome is Outcome.ROLLED_BACK:
                assert result.transaction is not None
                failures = "".join(result.transaction.failures)
                assert (
                    result.transaction.is_repair
                    or "10.0.0.2:8080" in failures
                    or (result.transaction.is_transient)
                )
        world.bring(commit)
        assert world.bring(commit).outcome is Outcome.CONVERGED
        assert dict(world.state()) == {**world.state(), **with_fallback_flags(commit.state)}
        if not faulty.has_struck:
            break


def changed(*resources: Resource) -> Desired:
    """The first state with some objects changed."""
    before = scenario.before()
    return replace(before, state=before.state.with_changes(resources))


OWN_SERVER = scenario.server(scenario.DNS, 2, 7)


@pytest.mark.parametrize("key", sorted(scenario.before().state.keys() - {OWN_SERVER.key}))
def test_a_commit_is_applied_whatever_else_cannot_be_repaired(world: World, key: Key) -> None:
    server = OWN_SERVER
    drift(world)
    world.kernel.refused_keys[key] = EACCES
    commit = changed(server)
    assert world.bring(commit).outcome is Outcome.APPLIED
    with world.store() as store:
        applied = store.applied()
        assert applied is not None
        assert applied.desired == commit
    if not needs(server, BEFORE[key]):
        assert world.state()[server.key] == server
    world.kernel.refused_keys.clear()
    assert world.bring(commit).outcome is Outcome.APPLIED
    assert world.state()[server.key] == server
    assert world.bring(commit).outcome is Outcome.CONVERGED


def test_a_commit_that_fails_is_judged_by_itself_and_the_drift_is_repaired(world: World) -> None:
    server = scenario.server(scenario.DNS, 2, 7)
    world.kernel.remove(VIP6, BEFORE[scenario.WEB4.key])
    world.kernel.refused_keys |= {VIP6.key: EACCES, server.key: EACCES}
    result = world.bring(changed(server))
    assert result.outcome is Outcome.ROLLED_BACK
    assert result.transaction is not None
    assert len(result.transaction.failures) == 1
    assert server.key in result.transaction.failures[0]
    assert {u.key for u in result.unrepairable} == {VIP6.key}
    assert BEFORE.keys() - world.state().keys() == {VIP6.key}


def test_drift_of_everything_is_one_transaction(world: World) -> None:
    drift(world)
    world.kernel.refused_keys[VIP6.key] = EACCES
    world.bring(scenario.before())
    with world.store() as store:
        newest, *earlier = store.history()
    assert len(earlier) == 1
    assert newest.outcome is Outcome.APPLIED
    assert newest.message.startswith(f"not repaired: VIP {VIP6.key}")


def test_what_failed_is_tried_again_less_and_less_often(world: World) -> None:
    memory, tries = RepairMemory(), []
    world.kernel.remove(VIP6)
    world.kernel.refused_keys[VIP6.key] = EACCES
    for second in range(2000):
        world.clock.seconds = 5000.0 + second
        result = one_pass(world, scenario.before(), memory)
        assert result.outcome is Outcome.APPLIED
        assert [u.key for u in result.unrepairable] == [VIP6.key]
        if result.transaction is not None:
            tries.append(second)
    assert tries == [0, 15, 45, 105, 225, 465, 945, 1545]
    world.kernel.refused_keys.clear()
    world.clock.seconds += 600
    assert one_pass(world, scenario.before(), memory).unrepairable == ()
    assert one_pass(world, scenario.before(), memory).outcome is Outcome.CONVERGED


def one_pass(world: World, desired: Desired, memory: RepairMemory) -> PassResult:
    """A pass of an agent, which remembers what failed."""
    with world.store() as store:
        target = Applied(desired, None, world.clock.now())
        return reconcile(world.ports(store), target, ALLOW, memory=memory)


def test_a_commit_that_heals_the_sick_object_need_not_wait(world: World) -> None:
    memory = RepairMemory()
    service = BEFORE[scenario.WEB6.key]
    assert isinstance(service, VirtualService)
    world.kernel.remove(service)
    world.kernel.refused_keys[service.key] = EACCES
    one_pass(world, scenario.before(), memory)
    world.kernel.refused_keys.clear()
    healed = changed(replace(service, scheduler=Scheduler.WRR))
    result = one_pass(world, healed, memory)
    assert (result.outcome, result.unrepairable) == (Outcome.APPLIED, ())
    assert one_pass(world, healed, memory).outcome is Outcome.CONVERGED
    assert world.state().keys() >= healed.state.keys()


@pytest.mark.parametrize("key", sorted(scenario.after().state))
def test_after_a_reboot_a_commit_is_judged_without_what_cannot_come_back(
    world: World, key: Key
) -> None:
    world.kernel.reboot()
    world.kernel.add_link(scenario.UPLINK, "veth", addresses=["192.0.2.1/24"])
    world.kernel.refused_keys[key] = EACCES
    before, after = scenario.before().state, with_fallback_flags(scenario.after().state)
    result = world.bring(scenario.after())
    state = world.state()
    if before.get(key) != scenario.after().state[key]:
        assert result.outcome is Outcome.ROLLED_BACK
        kept = {k for k, r in before.items() if after.get(k) == r}
        assert kept <= state.keys()
    else:
        assert result.outcome is Outcome.APPLIED
        hurt = {k for k, r in after.items() if k == key or needs(r, after[key])}
        assert {k for k, r in after.items() if state.get(k) != r} <= hurt


def test_a_setting_that_went_away_blocks_nothing(world: World) -> None:
    vlan = Sysctl("net.ipv4.conf.vlan5.rp_filter", "1")
    world.kernel.add_link("vlan5", "vlan")
    commit = changed(vlan)
    assert world.bring(commit).outcome is Outcome.APPLIED
    world.kernel.delete_link("vlan5")
    world.kernel.remove(BEFORE[scenario.WEB4.key])
    result = world.bring(commit)
    assert result.outcome is Outcome.APPLIED
    assert [(u.key, u.next_try_at) for u in result.unrepairable] == [(vlan.key, None)]
    assert scenario.server(scenario.WEB4, 1).key in world.state()
    world.kernel.add_link("vlan5", "vlan")
    assert world.bring(commit).unrepairable == ()
    assert world.bring(commit).outcome is Outcome.CONVERGED


def owned(world: World) -> frozenset[Key]:
    with world.store() as store:
        return store.ledger(world.kernel.incarnation()).owned


def test_what_could_not_be_made_is_not_owned(world: World) -> None:
    """After a reboot, somebody else may take the key: then it is theirs."""
    before = owned(world)
    world.kernel.reboot()
    world.kernel.add_link(scenario.UPLINK, "veth", addresses=["192.0.2.1/24"])
    world.kernel.refused_keys[VIP6.key] = EACCES
    world.bring(scenario.before())
    assert owned(world) == before - {VIP6.key}
    world.kernel.refused_keys.clear()
    world.kernel.put(VIP6)
    result = world.bring(scenario.before())
    assert [u.key for u in result.unrepairable] == [VIP6.key]
    assert "is not gitvs's" in result.unrepairable[0].reason
    world.kernel.remove(VIP6)
    assert world.bring(scenario.before()).unrepairable == ()
    assert owned(world) == before


def test_a_repair_owns_nothing_of_a_commit_that_is_rolled_back(world: World) -> None:
    before = owned(world)
    new = VirtualService(scenario.NEW)
    drift(world)
    world.kernel.refused_keys[new.key] = EACCES
    assert world.bring(changed(new)).outcome is Outcome.ROLLED_BACK
    assert owned(world) == before
    assert dict(world.state()) == {**world.state(), **BEFORE}


class Rival:
    """A kernel on which somebody else makes an object right before gitvs does."""

    def __init__(self, kernel: MemoryKernel, rival: Resource) -> None:
        self._kernel, self._rival = kernel, rival

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        if any(c.key == self._rival.key and c.before is None for c in changes):
            self._kernel.put(self._rival)
        return self._kernel.execute(changes)


def test_no_real_server_is_left_in_a_service_that_somebody_else_made_meanwhile(
    world: World,
) -> None:
    world.kernel.reboot()
    world.kernel.add_link(scenario.UPLINK, "veth", addresses=["192.0.2.1/24"])
    theirs = VirtualService(scenario.WEB4, Scheduler.SED)
    kernel: Any = Rival(world.kernel, theirs)
    result = world.bring(scenario.before(), kernel)
    assert result.outcome is Outcome.APPLIED
    state = world.state()
    assert state[theirs.key] == theirs
    assert not [s for s in state.of_type(RealServer) if s.listener == scenario.WEB4]
    assert theirs.key not in owned(world)
    lost = {k for k, r in BEFORE.items() if state.get(k) != r}
    assert lost == {k for k, r in BEFORE.items() if r == BEFORE[theirs.key] or needs(r, theirs)}
