"""`teardown`: what is gitvs's goes, at once; what is not stays."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from gitvs.core.errors import StoreError
from gitvs.core.model.history import Outcome
from gitvs.core.model.resources import RealServer, Sysctl, VirtualService
from gitvs.reconcile.one_pass import PassResult
from gitvs.reconcile.teardown import teardown
from tests.support import scenario
from tests.support.builders import endpoint, real_server, virtual_service
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import World, assert_state


def world_in(folder: Path) -> World:
    """A director in memory, with a service of somebody else's."""
    kernel = MemoryKernel("gitvs:test")
    kernel.add_link(scenario.UPLINK, "veth", addresses=["192.0.2.1/24"])
    theirs = endpoint("192.0.2.1", 9999)
    kernel.put(virtual_service(theirs), real_server(theirs, weight=5))
    return World(kernel, folder)


def tear_down(world: World) -> PassResult:
    """Tear down with a store of its own, as one run of gitvs does."""
    with world.store() as store:
        return teardown(world.ports(store))


def test_what_was_there_before_gitvs_is_all_that_is_left(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    snapshot = world.state()
    world.bring(scenario.before())
    busy = next(s for s in world.state().of_type(RealServer) if s.address == ip_address("10.0.0.1"))
    world.kernel.set_connections(busy, active=1)
    world.bring(scenario.after())
    world.kernel.put(VirtualService(scenario.DNS))
    assert tear_down(world).outcome is Outcome.APPLIED
    switch = Sysctl("net.ipv4.ip_forward", "1")  # never turned back
    assert_state(world, snapshot.with_changes([switch]))
    with world.store() as store:
        ledger = store.ledger(world.kernel.incarnation())
    assert (ledger.owned, ledger.drains, ledger.saved_settings) == (frozenset(), {}, {})


def test_nothing_is_in_force_afterwards_even_where_nothing_was_left(tmp_path: Path) -> None:
    """A reboot, say, took everything: what was applied must not come back by itself."""
    world = world_in(tmp_path)
    world.bring(scenario.before())
    world.kernel.reboot()
    assert tear_down(world).outcome is Outcome.CONVERGED
    with world.store() as store:
        applied = store.applied()
    assert applied is not None
    assert not applied.desired.state


def test_the_wrong_store_does_not_say_that_there_is_nothing_to_remove(tmp_path: Path) -> None:
    world = world_in(tmp_path / "right")
    world.kernel.add_link("gitvs0", "dummy", alias="gitvs:another")
    with pytest.raises(StoreError, match=r"gitvs0 carries the mark gitvs:another.*--state-dir"):
        tear_down(world)


def test_a_store_that_never_applied_anything_stays_so(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    assert tear_down(world).outcome is Outcome.CONVERGED
    with world.store() as store:
        assert store.applied() is None
