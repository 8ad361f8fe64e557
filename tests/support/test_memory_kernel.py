"""The kernel in memory: what tests do to it by another program. What it answers is contract."""

from __future__ import annotations

import errno
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from gitvs.core.model.observation import ConnectionCounts, Counters, Observation, Scope
from gitvs.core.model.resources import ForeignName, Resource, Scheduler, TimeoutName
from gitvs.core.model.state import State
from tests.support.builders import (
    create,
    creates,
    dummy,
    local_route,
    real_server,
    sysctl,
    timeout,
    update,
    vip,
    virtual_service,
)
from tests.support.memory.kernel import MemoryKernel

SCOPE = Scope(frozenset({"gitvs0"}), frozenset({"net.ipv4.vs.expire_nodest_conn"}))
EVERYTHING: list[Resource] = [
    dummy(),
    sysctl(),
    timeout(),
    vip(),
    vip("2001:db8::10"),
    local_route(),
    virtual_service(),
    real_server(),
]


@pytest.fixture
def kernel() -> MemoryKernel:
    return MemoryKernel("gitvs:test")


def observe(kernel: MemoryKernel) -> Observation:
    return kernel.observe(SCOPE)


def test_a_stranger_s_objects_are_observed_like_any_other(kernel: MemoryKernel) -> None:
    kernel.put(*EVERYTHING)
    others = [timeout(TimeoutName.TCP_FIN, 120), timeout(TimeoutName.UDP, 300)]
    assert observe(kernel).state == State([*EVERYTHING, *others])
    link = observe(kernel).links["gitvs0"]
    assert (link.alias, link.is_up) == ("", False)


def test_objects_drift_in_place(kernel: MemoryKernel) -> None:
    kernel.execute(creates(*EVERYTHING))
    drifted: list[Resource] = [
        real_server(weight=9),
        virtual_service(scheduler=Scheduler.RR),
        timeout(seconds=5),
    ]
    kernel.put(*drifted)
    state = observe(kernel).state
    assert [state[r.key] for r in drifted] == drifted


def test_a_route_is_lost_and_found(kernel: MemoryKernel) -> None:
    kernel.execute(creates(*EVERYTHING))
    lost = replace(vip(), has_route=False)
    kernel.delete_vip_route(vip())
    assert observe(kernel).state[vip().key] == lost
    kernel.put(vip())
    assert observe(kernel).state[vip().key] == vip()
    kernel.put(lost)
    assert observe(kernel).state[vip().key] == lost


def test_what_is_there_without_its_route_is_put_so(kernel: MemoryKernel) -> None:
    lost = vip(has_route=False)
    kernel.put(dummy(), lost)
    assert observe(kernel).state[lost.key] == lost


def test_objects_are_removed(kernel: MemoryKernel) -> None:
    kernel.put(*EVERYTHING)
    kernel.remove(virtual_service(), local_route(), dummy())
    assert observe(kernel).state.keys() == {
        *(timeout(name).key for name in TimeoutName),
        sysctl().key,
    }
    with pytest.raises(ProcessLookupError):
        kernel.remove(virtual_service())


def test_a_name_that_gitvs_has_no_word_for_is_known_once_a_stranger_used_it(
    kernel: MemoryKernel,
) -> None:
    theirs = virtual_service(scheduler=ForeignName("theirs"))
    assert kernel.execute([create(theirs)])[0].errno == errno.ENOENT
    kernel.put(theirs)
    kernel.execute([update(theirs, virtual_service()), update(virtual_service(), theirs)])
    assert observe(kernel).state[theirs.key] == theirs


def test_connections_are_what_a_test_says(kernel: MemoryKernel) -> None:
    kernel.put(virtual_service(), real_server(), real_server(port=1))
    kernel.set_connections(real_server(), active=3, inactive=2)
    key, other = real_server().key, real_server(port=1).key
    assert observe(kernel).connections == {key: ConnectionCounts(3, 2), other: ConnectionCounts()}
    kernel.put(real_server(weight=0))
    assert observe(kernel).connections[key] == ConnectionCounts(3, 2)
    kernel.remove(real_server())
    kernel.put(real_server())
    assert observe(kernel).connections[key] == ConnectionCounts()


def test_counters_are_what_a_test_says_and_end_with_their_object(kernel: MemoryKernel) -> None:
    kernel.put(virtual_service(), real_server())
    counted = Counters(1, 2, 3, 4, 5)
    kernel.set_counters(virtual_service(), counted)
    kernel.set_counters(real_server(), counted)
    kernel.put(virtual_service(scheduler=Scheduler.RR), real_server(weight=0))
    both = {virtual_service().key, real_server().key}
    assert observe(kernel).counters == dict.fromkeys(both, counted)
    kernel.remove(real_server())
    kernel.put(real_server())
    assert observe(kernel).counters == {
        virtual_service().key: counted,
        real_server().key: Counters(),
    }
    kernel.remove(virtual_service())
    kernel.put(virtual_service())
    assert observe(kernel).counters == {virtual_service().key: Counters()}


def test_the_host_has_links_gateways_routes_and_what_has_no_name(kernel: MemoryKernel) -> None:
    kernel.add_link("eth0", addresses=["192.0.2.1/24", "2001:db8:9::1/64"])
    kernel.add_gateway(ip_address("192.0.2.254"))
    kernel.add_foreign_route(ip_network("198.51.100.0/24"))
    kernel.add_unnamed("protocol 1 192.0.2.7:80")
    observation = observe(kernel)
    link = observation.links["eth0"]
    assert (link.kind, link.is_up) == ("", True)
    assert [str(a) for a in link.addresses] == ["192.0.2.1", "2001:db8:9::1"]
    assert observation.gateways == {ip_address("192.0.2.254")}
    assert observation.foreign_routes == {ip_network("198.51.100.0/24")}
    assert observation.unknown_objects == {"protocol 1 192.0.2.7:80"}


def test_a_kernel_may_lack_schedulers_and_have_more_sysctls() -> None:
    kernel = MemoryKernel(
        missing_schedulers=frozenset({Scheduler.MH}), extra_sysctls={"net.ipv4.more": (1, 2)}
    )
    assert kernel.execute([create(virtual_service(scheduler=Scheduler.MH))])[0].errno == 2
    more = sysctl("net.ipv4.more", "3 2")
    kernel.put(more)
    observation = kernel.observe(Scope(frozenset(), frozenset({more.name})))
    assert observation.state[more.key] == more
    assert observation.missing_schedulers == {Scheduler.MH}


def test_a_timeout_fits_into_31_bits_of_jiffies(kernel: MemoryKernel) -> None:
    """At 250 a second, as in Debian's kernels; Linux in the tests may have another number."""
    kernel.put(timeout(seconds=8_589_934))
    with pytest.raises(OSError, match="Invalid argument"):
        kernel.put(timeout(seconds=8_589_935))
    assert timeout(seconds=8_589_934) in observe(kernel).state.values()


def test_a_reboot_takes_everything_and_is_another_life(kernel: MemoryKernel) -> None:
    first, empty = kernel.incarnation(), observe(kernel)
    kernel.put(*EVERYTHING)
    kernel.add_link("eth0")
    assert kernel.incarnation() == first
    kernel.reboot()
    assert kernel.incarnation() != first
    assert observe(kernel) == empty
