"""Hosts that lost what gitvs needs: IPv6 switched off, the interface renamed or in a VRF."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Scope
from gitvs.core.model.resources import (
    Key,
    LocalRoute,
    Resource,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Vip,
)
from gitvs.reconcile.one_pass import PassResult
from gitvs.reconcile.teardown import teardown
from tests.support import scenario
from tests.support.builders import dummy, sysctl, vip
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import World

VIP, VIP6 = vip("203.0.113.10"), vip("2001:db8::10")
SERVICE = [r for r in scenario.before().state.values() if r.key.startswith(str(scenario.WEB4))]


@pytest.fixture
def world(tmp_path: Path) -> World:
    kernel = MemoryKernel("gitvs:test")
    with World(kernel, tmp_path).store() as store:
        kernel = MemoryKernel("gitvs:" + store.id)
    return World(kernel, tmp_path)


def desired(*resources: Resource) -> Desired:
    """One service on an IPv4 VIP, and what is given."""
    return scenario.desired("gitvs0", *SERVICE, VIP, *resources)


def switched_off(name: str) -> Sysctl:
    return sysctl(f"net.ipv6.conf.{name}.disable_ipv6", "1")


def blocking(result: PassResult) -> list[tuple[str, Key | None]]:
    """The gates that block, with what they are about."""
    assert result.planned is not None
    return [(g.name, g.key) for g in result.planned.proposal.gates if not g.is_allowed]


def reasons(result: PassResult) -> dict[Key, str]:
    return {u.key: u.reason for u in result.unrepairable}


@pytest.mark.parametrize("name", ["all", "default"])
def test_a_commit_that_needs_ipv6_is_blocked_before_anything_is_written(
    world: World, name: str
) -> None:
    world.kernel.put(switched_off(name))
    result = world.bring(desired(VIP6))
    assert blocking(result) == [("unsupported", VIP6.key)]
    assert result.planned is not None
    assert "sysctl -w net.ipv6.conf.default.disable_ipv6=0" in (
        result.planned.proposal.gates[0].message
    )
    assert dummy().key not in world.state()


def test_a_commit_that_needs_ipv6_on_the_interface_is_blocked(world: World) -> None:
    world.bring(desired())
    world.kernel.put(switched_off("gitvs0"))
    route = LocalRoute(ip_network("2001:db8:a::/64"))
    assert blocking(world.bring(desired(VIP6, route))) == [("unsupported", VIP6.key)]
    world.kernel.put(switched_off("lo"))
    assert blocking(world.bring(desired(route))) == [("unsupported", route.key)]
    assert world.bring(desired()).outcome is Outcome.CONVERGED


@pytest.mark.parametrize("name", ["all", "default", "gitvs0"])
def test_a_commit_that_switches_ipv6_on_may_use_it(world: World, name: str) -> None:
    if name != "default":  # that one is for interfaces to come
        world.bring(desired())
    world.kernel.put(switched_off(name))
    on = sysctl(switched_off(name).name, "0")
    assert world.bring(desired(VIP6, on)).outcome is Outcome.APPLIED
    assert VIP6.key in world.state()


def test_ipv6_switched_off_later_hurts_nothing_but_ipv6(world: World) -> None:
    world.bring(desired(VIP6))
    world.kernel.put(switched_off("gitvs0"))
    world.kernel.remove(SERVICE[0])
    result = world.bring(desired(VIP6))
    assert result.outcome is Outcome.APPLIED
    assert reasons(result).keys() == {VIP6.key}
    assert "net.ipv6.conf.gitvs0.disable_ipv6 is 1" in reasons(result)[VIP6.key]
    assert {r.key for r in SERVICE} <= world.state().keys()
    world.kernel.put(sysctl(switched_off("gitvs0").name, "0"))
    assert world.bring(desired(VIP6)).unrepairable == ()
    assert VIP6.key in world.state()


def test_a_gateway_that_a_later_commit_would_make_local_blocks_it(world: World) -> None:
    world.bring(desired())
    world.kernel.add_gateway(ip_address("203.0.113.11"))
    assert world.bring(desired()).outcome is Outcome.CONVERGED
    for resource in (vip("203.0.113.11"), LocalRoute(ip_network("203.0.113.8/29"))):
        result = world.bring(desired(resource))
        assert blocking(result) == [("conflict", resource.key)]
        assert resource.key not in world.state()


def test_a_renamed_interface_is_told_and_no_second_one_is_made(world: World) -> None:
    world.bring(desired(VIP6))
    world.kernel.rename_link("gitvs0", "lan7")
    world.kernel.remove(SERVICE[0])
    result = world.bring(desired(VIP6))
    assert result.outcome is Outcome.APPLIED
    assert reasons(result).keys() == {dummy().key, VIP.key, VIP6.key}
    assert "`ip link set lan7 name gitvs0`" in reasons(result)[dummy().key]
    assert links(world) == {"lo", "lan7"}
    assert {r.key for r in SERVICE} <= world.state().keys()
    world.kernel.rename_link("lan7", "gitvs0")
    assert world.bring(desired(VIP6)).outcome is Outcome.CONVERGED


def links(world: World) -> set[str]:
    return set(world.kernel.observe(Scope()).links)


def test_a_renamed_interface_beside_the_right_one_is_told(world: World) -> None:
    world.bring(desired())
    world.kernel.rename_link("gitvs0", "lan7")
    world.kernel.put(dummy())
    result = world.bring(desired())
    assert reasons(result).keys() == {dummy("lan7").key}
    assert "`ip link delete lan7`" in reasons(result)[dummy("lan7").key]
    assert VIP.key in world.state()
    result = world.bring(desired())
    assert (result.outcome, result.exit_code) == (Outcome.APPLIED, 1)


def test_teardown_removes_a_renamed_interface(world: World) -> None:
    world.bring(desired(VIP6))
    world.kernel.rename_link("gitvs0", "lan7")
    with world.store() as store:
        assert teardown(world.ports(store)).outcome is Outcome.APPLIED
        assert not store.ledger(world.kernel.incarnation()).owned
    assert links(world) == {"lo"}


def test_an_interface_in_a_vrf_is_told_and_its_ipv4_works_all_the_same(world: World) -> None:
    world.bring(desired(VIP6))
    world.kernel.put_into_vrf("gitvs0", "red")
    world.kernel.remove(SERVICE[0])
    result = world.bring(desired(VIP6))
    assert reasons(result).keys() == {dummy().key, VIP6.key}
    assert "is in VRF red" in reasons(result)[VIP6.key]
    assert "`ip link set gitvs0 nomaster`" in reasons(result)[dummy().key]
    assert world.state()[VIP.key] == VIP
    assert {r.key for r in SERVICE} <= world.state().keys()
    new = Vip(ip_address("203.0.113.11"), "gitvs0", 32)
    assert blocking(world.bring(desired(VIP6, new))) == [("unsupported", new.key)]
    world.kernel.put_into_vrf("gitvs0", "")
    assert world.bring(desired(VIP6)).unrepairable == ()
    assert world.bring(desired(VIP6)).outcome is Outcome.CONVERGED


def test_a_backup_on_a_link_with_long_packets_is_made_once_and_never_restarted(
    world: World,
) -> None:
    """An earlier gitvs left its length to the kernel, and recorded none."""
    world.kernel.add_link("up0", addresses=["192.0.2.1/24"])
    world.kernel.set_mtu("up0", 9000)
    backup = SyncDaemon(SyncRole.BACKUP, "up0", 1)
    wanted = desired(backup)
    assert world.bring(wanted).outcome is Outcome.APPLIED
    assert world.state()[backup.key] == replace(backup, max_length=8972)
    assert world.bring(wanted).outcome is Outcome.CONVERGED
    world.kernel.set_mtu("up0", 1500)
    assert world.bring(wanted).outcome is Outcome.CONVERGED
    world.kernel.remove(backup)
    assert world.bring(wanted).outcome is Outcome.APPLIED
    assert world.state()[backup.key] == replace(backup, max_length=1472)
    given = replace(backup, max_length=8972)
    assert world.bring(desired(given)).outcome is Outcome.APPLIED
    assert world.state()[backup.key] == given
    assert world.bring(wanted).outcome is Outcome.CONVERGED
    assert world.bring(desired()).outcome is Outcome.APPLIED
    assert backup.key not in world.state()
