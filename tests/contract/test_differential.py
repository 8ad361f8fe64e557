"""Random writes, in a world so small that everything meets everything: both kernels agree.

What happens is drawn from a few resources in a few variants, without regard to what is
there: so much of it is refused, and both have to refuse it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitvs.core.model.observation import Scope
from gitvs.core.model.resources import (
    AddressFamily,
    ForeignName,
    Forwarding,
    Listener,
    Persistence,
    Protocol,
    RealServer,
    Resource,
    Scheduler,
    SchedulerFlag,
    SyncRole,
    TimeoutName,
    Tunnel,
    TunnelType,
    Vip,
    VirtualService,
)
from gitvs.core.planning.plan import Change
from gitvs.ports import WriteStatus
from tests.contract.host import SCOPE, Host, enter_bare_namespace, memory_host, twin_host
from tests.harness.namespace import set_up
from tests.support.builders import (
    WEB,
    WEB6,
    create,
    creates,
    delete,
    dummy,
    endpoint,
    firewall_mark,
    local_route,
    real_server,
    sync_daemon,
    sysctl,
    timeout,
    update,
    vip,
    virtual_service,
)
from tests.support.effort import examples

LISTENERS: list[Listener] = [
    WEB,
    WEB6,
    endpoint(port=53, protocol=Protocol.UDP),
    firewall_mark(),
    firewall_mark(family=AddressFamily.IPV6),
]
SYSCTLS = [
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.accept_redirects",
    "net.ipv4.conf.default.rp_filter",
    "net.ipv4.conf.gitvs0.rp_filter",
    "net.ipv4.conf.gitvs0.forwarding",
    "net.ipv4.conf.gitvs0.promote_secondaries",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.gitvs0.disable_ipv6",
    "net.ipv4.vs.expire_nodest_conn",
    "net.ipv4.vs.nope",
]
WIDE = Scope(SCOPE.interfaces, frozenset(SYSCTLS))


def services(listener: Listener) -> list[VirtualService]:
    """The variants of one virtual service."""
    length = 64 if listener.family is AddressFamily.IPV6 else 24
    return [
        virtual_service(listener),
        virtual_service(listener, Scheduler.RR, one_packet=True),
        virtual_service(listener, Scheduler.SH, flags=[SchedulerFlag.SH_FALLBACK]),
        virtual_service(listener, Scheduler.MH, persistence=Persistence(300, length)),
        virtual_service(listener, persistence=Persistence(300, 0)),
        virtual_service(listener, ForeignName("nope")),
    ]


def servers(listener: Listener) -> list[RealServer]:
    """Some real servers of one virtual service, in variants."""
    ways = ["10.0.0.1", "203.0.113.10", "192.0.2.255", "224.0.0.1", "2001:db8:1::1", "2001:db8::10"]
    gue = Tunnel(TunnelType.GUE, 6080)
    return [
        server
        for address in ways
        for server in (
            real_server(listener, address),
            real_server(listener, address, weight=0, upper_threshold=9, lower_threshold=5),
            real_server(listener, address, forwarding=Forwarding.DR, lower_threshold=1),
            real_server(listener, address, forwarding=Forwarding.TUN, tunnel=gue),
            real_server(listener, address, forwarding=Forwarding.TUN, weight=2**31),
        )
    ]


INTERFACES = ("gitvs0", "gitvs1")
VIPS = [
    vip(address, interface, length)
    for (address, length), interface in product(
        [
            ("203.0.113.10", 32),
            ("203.0.113.11", 32),
            ("203.0.113.10", 24),
            ("203.0.113.12", 24),
            ("2001:db8::10", 128),
            ("2001:db8::10", 64),
            ("2001:db8::11", 128),
        ],
        INTERFACES,
    )
]
ROUTES = [
    local_route(prefix)
    for prefix in (
        *("198.51.100.0/24", "203.0.113.10/32", "192.0.2.255/32"),
        *("2001:db8:a::/64", "2001:db8::10/128"),
    )
]


def same(resources: list[Resource]) -> st.SearchStrategy[Change]:
    """Changes of one object between these variants of it and absence."""
    state = st.sampled_from(resources)
    return st.one_of(
        state.map(create),
        state.map(create),
        state.map(delete),
        st.tuples(state, state).filter(lambda pair: pair[0] != pair[1]).map(_update),
    )


def _update(pair: tuple[Resource, Resource]) -> Change:
    return update(*pair)


def groups() -> Iterator[list[Resource]]:
    """The variants of each object, by key; those with one variant are created and deleted."""
    everything: list[Resource] = [
        *(service for listener in LISTENERS for service in services(listener)),
        *(server for listener in LISTENERS for server in servers(listener)),
        *VIPS,
        *ROUTES,
        *(dummy(name) for name in INTERFACES),
        *(timeout(name, seconds) for name in TimeoutName for seconds in (0, 60, 2**31)),
        *(
            sync_daemon(role, name, id_)
            for role, name, id_ in product(SyncRole, ("up0", "gitvs0", "nope"), (1, 2))
        ),
        *(sysctl(name, value) for name in SYSCTLS for value in ("0", "1", "x")),
    ]
    by_key: dict[str, list[Resource]] = {}
    for resource in everything:
        by_key.setdefault(resource.key, []).append(resource)
    yield from by_key.values()


def of_kind(*classes: type) -> st.SearchStrategy[Change]:
    """Changes of the objects of some kinds."""
    chosen = [group for group in groups() if isinstance(group[0], classes)]
    return st.sampled_from(chosen).flatmap(
        lambda group: (
            same(group)
            if len(group) > 1
            else st.sampled_from([create, delete]).map(lambda verb: verb(group[0]))
        )
    )


CHANGES = st.one_of(
    of_kind(VirtualService),
    of_kind(RealServer),
    of_kind(RealServer),
    of_kind(Vip),
    of_kind(*{type(group[0]) for group in groups()} - {VirtualService, RealServer, Vip}),
)


@dataclass(frozen=True)
class Event:
    """Something that another program does to an interface."""

    name: str
    do: Callable[[Host, str], None]


def lose_routes(host: Host, name: str) -> None:
    """Delete the routes that the kernel made for the addresses of an interface."""
    bound = (v for v in host.observe().state.of_type(Vip) if v.interface == name and v.has_route)
    for one in {v.address: v for v in bound}.values():
        host.delete_vip_route(one)


def repair_routes(host: Host, name: str) -> None:
    """Repair them, as a plan would: for addresses with a prefix of their own."""
    lost = (v for v in host.observe().state.of_type(Vip) if v.interface == name and not v.has_route)
    own = (v for v in lost if v.prefix_length == v.address.max_prefixlen)
    host.execute(*(update(v, replace(v, has_route=True)) for v in own))


EVENTS = [
    Event(name, do)
    for name in INTERFACES
    for do in (Host.set_link_up, Host.set_link_down, lose_routes, repair_routes)
]
BATCHES = st.lists(CHANGES, min_size=1, max_size=8, unique_by=lambda change: change.key)
STEPS = st.lists(st.one_of(BATCHES, BATCHES, BATCHES, st.sampled_from(EVENTS)), max_size=6)
FULL = [dummy(), dummy("gitvs1"), *(group[0] for group in groups())]
BEGINNINGS: list[list[Resource]] = [
    [],
    [dummy(), vip(), vip("2001:db8::10"), virtual_service(), virtual_service(WEB6)],
    FULL,
    FULL,
]


def run(host: Host, beginning: list[Resource], steps: list[list[Change] | Event]) -> None:
    """Do everything; the host compares after each step."""
    host.scope = WIDE
    host.add_link("up0", addresses=["192.0.2.1/24"])
    host.execute(*creates(*beginning))
    for step in steps:
        if isinstance(step, Event):
            if step.name in host.observe().links:
                step.do(host, step.name)
                host.observe()
        else:
            outcomes = host.execute(*step)
            assert {o.status for o in outcomes} <= {WriteStatus.DONE, WriteStatus.REFUSED}


quiet = settings(database=None, suppress_health_check=[HealthCheck.too_slow])


@settings(quiet, max_examples=examples(200))
@given(st.sampled_from(BEGINNINGS), STEPS)
def test_the_kernel_in_memory_answers_whatever_is_asked(
    beginning: list[Resource], steps: list[list[Change] | Event]
) -> None:
    run(memory_host(), beginning, steps)


@pytest.mark.kernel(timeout_seconds=examples(300))
@settings(quiet, max_examples=examples(60))
@given(st.sampled_from(BEGINNINGS), STEPS)
def test_linux_and_the_kernel_in_memory_agree(
    beginning: list[Resource], steps: list[list[Change] | Event]
) -> None:
    enter_bare_namespace()
    set_up("lo")
    run(twin_host(), beginning, steps)
