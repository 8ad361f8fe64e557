"""What risk notes need of a host is read for people, and not by the agent's passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitvs.cli.shared.host import observe_host
from gitvs.core.model.desired import Desired
from gitvs.core.model.observation import Observation, WildcardListener
from gitvs.core.model.resources import AddressFamily, Protocol
from gitvs.core.model.state import State
from gitvs.core.planning.risks import director_risks
from gitvs.reconcile.one_pass import plan_pass
from tests.support.builders import dummy, sysctl, vip, virtual_service
from tests.support.memory.kernel import MemoryKernel
from tests.support.sweep import World

SSH = WildcardListener(Protocol.TCP, AddressFamily.IPV4, 22)
WEB = Desired("lb1", "gitvs0", State([dummy(), vip("192.0.2.99"), virtual_service()]))
OF_LINK = "net.ipv4.conf.eth0.arp_ignore"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A host with a neighbourhood and a daemon."""
    kernel = MemoryKernel("gitvs:test")
    kernel.add_link("eth0", addresses=["192.0.2.1/24"])
    kernel.listen(SSH)
    return World(kernel, tmp_path)


def is_read(observation: Observation) -> bool:
    return SSH in observation.wildcard_listeners and sysctl(OF_LINK).key in observation.state


def test_a_live_plan_knows_its_surroundings(world: World) -> None:
    with world.store() as store:
        survey = plan_pass(world.ports(store), WEB)
    assert is_read(survey.observation)
    found = director_risks(None, WEB, survey.proposal.plan, survey.observation)
    assert {"arp-flux", "answered-by-host"} <= {r.name for r in found}


def test_a_pass_does_not_read_them(world: World) -> None:
    done = world.bring(WEB)
    assert done.planned is not None
    assert done.planned.observation.wildcard_listeners == frozenset()
    assert not is_read(done.planned.observation)


def test_what_is_saved_holds_them(world: World) -> None:
    with world.store() as store:
        seen = observe_host(world.ports(store))
    assert is_read(seen.observation)
    wanted = Desired("lb1", "gitvs0", State([sysctl(OF_LINK, "1")]))
    assert seen.unread_sysctls(wanted) == [], "it was read, so nothing has to be guessed"
