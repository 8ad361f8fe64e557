"""Batches: refusals in the middle, cascades, more answers than a buffer holds, large tables."""

from __future__ import annotations

import errno
from dataclasses import replace

from gitvs.core.model.resources import Resource, Scheduler, SyncRole
from gitvs.core.model.state import State
from gitvs.core.planning.plan import Change
from gitvs.ports import WriteStatus
from tests.contract.host import Host
from tests.support.builders import (
    WEB,
    WEB6,
    create,
    creates,
    delete,
    dummy,
    endpoint,
    local_route,
    real_server,
    sync_daemon,
    sysctl,
    timeout,
    update,
    vip,
    virtual_service,
)


def codes(host: Host, *changes: Change) -> list[int | None]:
    """Write changes and return what each was answered; None is done."""
    return [outcome.errno for outcome in host.execute(*changes)]


def test_nothing_to_write_is_no_outcome(host: Host) -> None:
    assert host.execute() == []


def test_what_stands_behind_a_refusal_is_done(host: Host) -> None:
    service = virtual_service()
    answers = codes(
        host,
        create(real_server()),
        create(service),
        create(service),
        create(real_server(weight=2**31)),
        create(real_server()),
        update(real_server(port=1), real_server(port=1, weight=2)),
        update(real_server(), real_server(weight=0)),
        delete(real_server(port=2)),
    )
    missing, exists, is_range, none = errno.ESRCH, errno.EEXIST, errno.ERANGE, errno.ENOENT
    assert answers == [missing, None, exists, is_range, None, none, None, none]
    assert host.rules() == State([service, real_server(weight=0)])


def test_a_batch_of_every_kind_tells_which_change_was_refused(host: Host) -> None:
    host.add_link("up0", addresses=["192.0.2.1/24"])
    good: list[Resource] = [
        sysctl(),
        timeout(),
        dummy(),
        sync_daemon(),
        virtual_service(),
        real_server(),
        local_route(),
        vip(),
        vip("2001:db8::10"),
    ]
    bad: list[tuple[Resource, int]] = [
        (sysctl("net.ipv4.nope"), errno.ENOENT),
        (timeout(seconds=2**31), errno.EINVAL),
        (dummy(), errno.EEXIST),
        (sync_daemon(SyncRole.BACKUP, "nope"), errno.ENODEV),
        (virtual_service(scheduler=Scheduler.RR), errno.EEXIST),
        (real_server(address="224.0.0.1"), errno.EINVAL),
        (local_route(), errno.EEXIST),
        (vip(), errno.EEXIST),
        (vip("2001:db8::10", "nope"), errno.ENODEV),
    ]
    changes = [create(r) for pair in zip(good, (b for b, _ in bad), strict=True) for r in pair]
    expected = [code for _, refused in bad for code in (None, refused)]
    assert codes(host, *changes) == expected
    host.holds(*good[1:])


def test_taking_away_what_a_cascade_took_is_answered_missing(host: Host) -> None:
    host.do(*creates(dummy(), vip(), vip("2001:db8::10"), virtual_service(), real_server()))
    answers = codes(
        host,
        delete(virtual_service()),
        delete(real_server()),
        delete(dummy()),
        delete(vip()),
        delete(vip("2001:db8::10")),
        delete(dummy()),
    )
    absent = errno.ENODEV
    assert answers == [None, errno.ESRCH, None, absent, absent, absent]


def test_more_refusals_than_the_default_receive_buffer_holds_are_all_answered(host: Host) -> None:
    host.do(create(virtual_service()))
    refused = [create(virtual_service(scheduler=Scheduler.RR))] * 450
    outcomes = host.execute(*refused, create(virtual_service(WEB6)), *refused)
    assert [o.errno for o in outcomes] == [*[errno.EEXIST] * 450, None, *[errno.EEXIST] * 450]
    host.holds(virtual_service(WEB6))


def test_more_refused_addresses_than_the_default_receive_buffer_holds(host: Host) -> None:
    host.do(*creates(dummy(), vip()))
    outcomes = host.execute(*[create(vip())] * 350, create(vip("203.0.113.11")))
    assert [o.errno for o in outcomes] == [*[errno.EEXIST] * 350, None]


def test_a_thousand_real_servers_come_change_and_go(host: Host) -> None:
    service = virtual_service()
    servers = [real_server(address=f"10.0.{n // 250}.{n % 250 + 1}") for n in range(1000)]
    host.do(create(service), *creates(*servers))
    assert host.rules() == State([service, *servers])
    heavier = [replace(server, weight=n) for n, server in enumerate(servers)]
    host.do(*(update(a, b) for a, b in zip(servers, heavier, strict=True) if a != b))
    assert host.rules() == State([service, *heavier])
    host.do(*map(delete, heavier[1:]))
    assert host.rules() == State([service, heavier[0]])


def test_refusals_at_the_ends_of_batches_go_to_their_changes(host: Host) -> None:
    """A thousand go out at a time."""
    host.do(create(virtual_service()))
    refused = {0, 999, 1000, 1999, 2000, 2099}
    servers = [
        real_server(address=f"10.0.{n // 250}.{n % 250 + 1}", weight=2**31 if n in refused else 1)
        for n in range(2100)
    ]
    answers = codes(host, *creates(*servers))
    assert answers == [errno.ERANGE if n in refused else None for n in range(2100)]
    made = [server for n, server in enumerate(servers) if n not in refused]
    assert host.rules() == State([virtual_service(), *made])


def test_hundreds_of_services_and_addresses_come_and_go(host: Host) -> None:
    vips = [vip(f"203.0.113.{n}") for n in range(1, 201)]
    services = [virtual_service(endpoint(str(v.address), 443)) for v in vips]
    servers = [real_server(s.listener) for s in services]
    pairs = [r for pair in zip(services, servers, strict=True) for r in pair]
    host.do(*creates(dummy(), *pairs, *vips))
    host.holds(*pairs, *vips)
    host.do(*map(delete, vips), *map(delete, services))
    assert (host.rules(), host.addresses()) == (State(), State())


def test_a_batch_may_go_back_and_forth(host: Host) -> None:
    service = virtual_service()
    turn = [create(service), create(real_server()), create(dummy()), create(vip())]
    back = [delete(vip()), delete(dummy()), delete(real_server()), delete(service)]
    host.do(*(turn + back) * 5)
    assert (host.rules(), host.addresses()) == (State(), State())


def test_every_outcome_is_done_or_refused_and_a_refusal_has_words(host: Host) -> None:
    done, refused = host.execute(create(virtual_service(WEB)), create(virtual_service(WEB)))
    assert (done.status, done.errno, done.message) == (WriteStatus.DONE, None, "")
    assert refused.status is WriteStatus.REFUSED
    assert "EEXIST" in refused.message
