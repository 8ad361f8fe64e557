"""After a reboot: what was applied comes back early, without what needs other interfaces."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Scope
from gitvs.core.model.resources import RealServer, SyncDaemon, Sysctl, Vip
from gitvs.core.model.state import State
from gitvs.core.planning.operations import Operation, OperationKind
from gitvs.reconcile.one_pass import PassResult
from gitvs.reconcile.restore import restore
from tests.support.builders import dummy, real_server, sync_daemon, sysctl, vip, virtual_service
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import World

NEIGHBOUR = "net.ipv4.conf.up0.rp_filter"


def desired() -> Desired:
    resources = [
        dummy(),
        vip(),
        virtual_service(),
        real_server(),
        real_server(address="10.0.0.2"),
        sysctl(),
        sysctl(NEIGHBOUR, "2"),
        sync_daemon(interface="up0"),
    ]
    return Desired("lb1", "gitvs0", State(resources))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A director on which this was applied."""
    kernel = MemoryKernel("gitvs:test")
    kernel.add_link("up0", is_up=True, addresses=["192.0.2.1/24"])
    made = World(kernel, tmp_path)
    done = made.bring(desired())
    assert done.outcome is Outcome.APPLIED, done
    return made


def restored(world: World) -> PassResult | None:
    with world.store() as store:
        return restore(world.ports(store))


def test_rules_and_vips_come_back_without_sync_daemons_and_interface_settings(
    world: World,
) -> None:
    world.kernel.reboot()
    done = restored(world)
    assert done is not None
    assert done.outcome is Outcome.APPLIED
    state = world.state()
    assert [str(v.address) for v in state.of_type(Vip)] == ["203.0.113.10"]
    assert len(state.of_type(RealServer)) == 2
    assert state.of_type(SyncDaemon) == []


def test_what_is_restored_shares_its_rules_with_what_was_applied(world: World) -> None:
    world.kernel.reboot()
    done = restored(world)
    assert done is not None
    assert done.planned is not None
    assert done.planned.applied is not None
    wanted, applied = done.planned.proposal.desired.state, done.planned.applied.desired.state
    rules = virtual_service().key
    assert wanted.groups[rules] is applied.groups[rules]
    assert set(wanted) == set(applied) - {NEIGHBOUR, sync_daemon().key}


def test_all_of_it_still_counts_as_applied_and_the_next_pass_adds_the_rest(world: World) -> None:
    world.kernel.reboot()
    restored(world)
    with world.store() as store:
        applied = store.applied()
    assert applied is not None
    assert applied.desired == desired()
    world.kernel.add_link("up0", is_up=True, addresses=["192.0.2.1/24"])
    assert world.bring(desired()).outcome is Outcome.APPLIED
    assert [d.interface for d in world.state().of_type(SyncDaemon)] == ["up0"]
    assert world.bring(desired()).outcome is Outcome.CONVERGED


def test_nothing_is_restored_twice_or_over_what_was_applied_since(world: World) -> None:
    assert restored(world) is None
    world.kernel.reboot()
    assert restored(world) is not None
    assert restored(world) is None


def test_nothing_that_was_never_applied_is_restored(tmp_path: Path) -> None:
    assert restored(World(MemoryKernel(), tmp_path)) is None


def test_drains_are_forgotten_since_their_connections_are_gone(world: World) -> None:
    fewer = desired()
    state = fewer.state.with_changes(drop=[real_server(address="10.0.0.2").key])
    world.kernel.set_connections(real_server(address="10.0.0.2"), active=1)
    world.bring(replace(fewer, state=state))
    assert [s.weight for s in world.state().of_type(RealServer)] == [1, 0]
    world.kernel.reboot()
    restored(world)
    assert [s.weight for s in world.state().of_type(RealServer)] == [1]


def test_what_operators_said_holds_after_a_reboot_too(world: World) -> None:
    with world.store() as store:
        at = world.clock.now()
        store.put_operation(Operation(OperationKind.STANDBY, "ada", "", at))
        until = at - timedelta(hours=1)
        store.put_operation(Operation(OperationKind.DRAIN, "ada", "", at, until, "10.0.0.2"))
    world.kernel.reboot()
    restored(world)
    assert world.state().of_type(Vip) == []
    assert [s.weight for s in world.state().of_type(RealServer)] == [1, 1]


def test_a_setting_of_all_interfaces_comes_back(world: World) -> None:
    world.kernel.reboot()
    restored(world)
    scope = Scope(sysctls=frozenset({"net.ipv4.vs.expire_nodest_conn", NEIGHBOUR}))
    assert world.kernel.observe(scope).state.of_type(Sysctl) == [sysctl()]
