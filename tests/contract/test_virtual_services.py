"""Virtual services: every attribute, and every answer."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from gitvs.core.model.resources import (
    AddressFamily,
    ForeignName,
    Persistence,
    PersistenceEngine,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    VirtualService,
)
from gitvs.core.model.state import State
from tests.contract.host import Host
from tests.support.builders import (
    WEB,
    WEB6,
    create,
    creates,
    delete,
    endpoint,
    firewall_mark,
    real_server,
    update,
    virtual_service,
)

DNS = endpoint(port=53, protocol=Protocol.UDP)
DNS6 = endpoint("2001:db8::10", 53, Protocol.UDP)
SIP = endpoint(port=5060, protocol=Protocol.UDP)
MARK = firewall_mark()
MARK6 = firewall_mark(family=AddressFamily.IPV6)
SH, MH = Scheduler.SH, Scheduler.MH

ATTRIBUTES = {
    "tcp": virtual_service(WEB),
    "tcp over ipv6": virtual_service(WEB6),
    "udp": virtual_service(DNS),
    "udp over ipv6": virtual_service(DNS6),
    "sctp": virtual_service(endpoint(protocol=Protocol.SCTP)),
    "highest port": virtual_service(endpoint(port=65535)),
    "mark": virtual_service(MARK),
    "mark over ipv6": virtual_service(MARK6),
    "highest mark": virtual_service(firewall_mark(2**32 - 1)),
    "sh-port": virtual_service(WEB, SH, flags=[SchedulerFlag.SH_PORT]),
    "sh-fallback": virtual_service(WEB6, SH, flags=[SchedulerFlag.SH_FALLBACK]),
    "sh, both": virtual_service(MARK, SH, flags=[SchedulerFlag.SH_PORT, SchedulerFlag.SH_FALLBACK]),
    "mh-port": virtual_service(WEB, MH, flags=[SchedulerFlag.MH_PORT]),
    "mh-fallback": virtual_service(WEB, MH, flags=[SchedulerFlag.MH_FALLBACK]),
    "mh, both": virtual_service(WEB, MH, flags=[SchedulerFlag.MH_PORT, SchedulerFlag.MH_FALLBACK]),
    "one packet": virtual_service(DNS, one_packet=True),
    "persistent": virtual_service(WEB, persistence=Persistence(300, 32)),
    "persistent by /24": virtual_service(WEB, persistence=Persistence(1, 24)),
    "persistent by /1": virtual_service(WEB, persistence=Persistence(300, 1)),
    "persistent for all": virtual_service(WEB, persistence=Persistence(300, 0)),
    "persistent for 31 days": virtual_service(WEB, persistence=Persistence(2678400, 32)),
    "persistent over ipv6": virtual_service(WEB6, persistence=Persistence(300, 128)),
    "persistent by /64": virtual_service(WEB6, persistence=Persistence(300, 64)),
    "persistent by ipv6 /1": virtual_service(MARK6, persistence=Persistence(300, 1)),
    "persistent mark": virtual_service(MARK, persistence=Persistence(300, 16)),
    "every port": virtual_service(endpoint(port=0), persistence=Persistence(300, 32)),
    "engine": virtual_service(SIP, persistence=Persistence(300, 32, PersistenceEngine.SIP)),
}

NONSENSE = {
    "every port without persistence": virtual_service(endpoint(port=0)),
    "unspecified address": virtual_service(endpoint("0.0.0.0")),
    "unspecified ipv6 address": virtual_service(endpoint("::")),
    "multicast address": virtual_service(endpoint("224.0.0.5")),
    "loopback address": virtual_service(endpoint("127.0.0.1")),
    "one packet on tcp": virtual_service(WEB, one_packet=True),
    "persistent for 0 s": virtual_service(WEB, persistence=Persistence(0, 32)),
    "engine on tcp": virtual_service(WEB, persistence=Persistence(9, 32, PersistenceEngine.SIP)),
    "no scheduler": virtual_service(WEB, ForeignName("none")),
}


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_every_scheduler_is_read_back_or_known_to_be_missing(
    host: Host, scheduler: Scheduler
) -> None:
    service = virtual_service(scheduler=scheduler)
    if scheduler in host.observe().missing_schedulers:
        host.refuse(errno.ENOENT, create(service))
        host.lacks(service)
    else:
        host.do(create(service))
        host.holds(service)


@pytest.mark.parametrize("service", [pytest.param(s, id=n) for n, s in ATTRIBUTES.items()])
def test_every_attribute_is_read_back_as_written(host: Host, service: VirtualService) -> None:
    host.do(create(service))
    assert host.rules() == State([service])


def test_nonsense_that_the_kernel_accepts_is_accepted(host: Host) -> None:
    for service in NONSENSE.values():
        host.do(create(service))
        assert host.rules() == State([service])
        host.do(delete(service))


def test_mark_0_is_no_mark_but_every_port_of_the_unspecified_address(host: Host) -> None:
    marks = [firewall_mark(0), firewall_mark(0, AddressFamily.IPV6)]
    host.do(*creates(*map(virtual_service, marks)))
    anywhere = [endpoint("0.0.0.0", 0), endpoint("::", 0)]
    assert host.rules() == State(map(virtual_service, anywhere))
    host.do(create(real_server(marks[0])), delete(real_server(anywhere[0])))
    host.do(*map(delete, map(virtual_service, marks)))
    assert host.rules() == State()


def test_a_persistence_that_overflows_in_jiffies_is_read_back_shorter(host: Host) -> None:
    host.do(create(virtual_service(persistence=Persistence(100_000_000, 32))))
    assert host.rules() == State([virtual_service(persistence=Persistence(14_100_654, 32))])


def test_scheduler_flags_of_another_scheduler_are_lost(host: Host) -> None:
    host.do(create(virtual_service(WEB, SH, flags=[SchedulerFlag.MH_PORT])))
    assert host.rules() == State([virtual_service(WEB, SH)])


def test_a_service_is_set_in_place_and_keeps_its_real_servers(host: Host) -> None:
    host.do(create(virtual_service()), create(real_server()))
    now = virtual_service()
    for then in (s for s in ATTRIBUTES.values() if s.listener == WEB):
        host.do(update(now, then) if then != now else create(real_server(port=1)))
        host.holds(then, real_server())
        now = then
    host.do(update(now, virtual_service()))
    host.holds(virtual_service(), real_server())


def test_every_attribute_can_be_taken_away_again(host: Host) -> None:
    full = virtual_service(
        SIP,
        SH,
        flags=[SchedulerFlag.SH_PORT],
        one_packet=True,
        persistence=Persistence(9, 24, PersistenceEngine.SIP),
    )
    plain = virtual_service(SIP)
    host.do(create(full), update(full, plain))
    assert host.rules() == State([plain])


def test_a_service_that_exists_is_not_made_again(host: Host) -> None:
    host.do(create(virtual_service()))
    host.refuse(errno.EEXIST, create(virtual_service(scheduler=Scheduler.RR)))
    host.holds(virtual_service())


def test_a_mark_exists_once_in_each_family(host: Host) -> None:
    host.do(*creates(virtual_service(MARK), virtual_service(MARK6)))
    host.refuse(errno.EEXIST, create(virtual_service(MARK, Scheduler.RR)))
    host.do(delete(virtual_service(MARK)))
    host.holds(virtual_service(MARK6))


def test_a_missing_service_is_neither_set_nor_deleted(host: Host) -> None:
    host.refuse(errno.ESRCH, update(virtual_service(scheduler=Scheduler.RR), virtual_service()))
    host.refuse(errno.ESRCH, delete(virtual_service()))
    assert host.rules() == State()


UNKNOWN = [
    virtual_service(scheduler=ForeignName("nope")),
    virtual_service(scheduler=ForeignName("")),
    virtual_service(persistence=Persistence(9, 32, ForeignName("nope"))),
]


@pytest.mark.parametrize("service", UNKNOWN)
def test_an_unknown_name_is_refused_and_changes_nothing(
    host: Host, service: VirtualService
) -> None:
    host.refuse(errno.ENOENT, create(service))
    host.do(create(virtual_service()))
    host.refuse(errno.ENOENT, update(virtual_service(), service))
    assert host.rules() == State([virtual_service()])


@pytest.mark.parametrize("length", [0, 129])
def test_an_impossible_ipv6_prefix_is_refused(host: Host, length: int) -> None:
    service = virtual_service(WEB6, persistence=Persistence(300, length))
    host.refuse(errno.EINVAL, create(service))
    host.do(create(virtual_service(WEB6)))
    host.refuse(errno.EINVAL, update(virtual_service(WEB6), service))


def test_deleting_a_service_deletes_its_real_servers_and_no_others(host: Host) -> None:
    other = virtual_service(WEB6)
    host.do(*creates(virtual_service(), *servers(8), other, real_server(WEB6)))
    host.do(delete(virtual_service()))
    assert host.rules() == State([other, real_server(WEB6)])
    host.do(create(virtual_service()))
    assert host.rules() == State([other, real_server(WEB6), virtual_service()])


def servers(count: int) -> list[RealServer]:
    return [real_server(address=f"10.0.0.{n}", weight=n) for n in range(1, count + 1)]


def test_a_change_without_a_difference_writes_nothing(host: Host) -> None:
    service = virtual_service()
    host.do(replace(create(service), before=service))
    assert host.rules() == State()
