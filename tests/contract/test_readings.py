"""Readings of some virtual services alone, put into a reading of everything."""

from __future__ import annotations

import errno
from dataclasses import replace

from gitvs.core.model.resources import RealServer, VirtualService
from gitvs.core.model.state import State
from tests.contract.host import SCOPE, Host
from tests.support.builders import (
    WEB,
    WEB6,
    create,
    creates,
    delete,
    dummy,
    endpoint,
    firewall_mark,
    real_server,
    update,
    vip,
    virtual_service,
)

MARK = firewall_mark()
SIX = real_server(WEB6, "2001:db8:1::1")
EVERYTHING = (
    dummy(),
    vip(),
    virtual_service(WEB),
    real_server(WEB),
    real_server(WEB, "10.0.0.2"),
    virtual_service(WEB6),
    SIX,
    virtual_service(MARK),
    real_server(MARK, "10.0.0.3", 0),
)


def rules(state: State) -> set[str]:
    return {r.key for r in state.values() if isinstance(r, VirtualService | RealServer)}


def test_only_the_virtual_services_asked_for_are_read(host: Host) -> None:
    host.do(*creates(*EVERYTHING))
    missing = endpoint("203.0.113.99")
    part = host.observe(replace(SCOPE, listeners=frozenset({WEB, MARK, missing})))
    wanted = [r for r in EVERYTHING[2:] if r not in (EVERYTHING[5], SIX)]
    assert rules(part.state) == {r.key for r in wanted}
    assert part.connections.keys() == {r.key for r in wanted if isinstance(r, RealServer)}
    assert vip().key in part.state
    none = host.observe(replace(SCOPE, listeners=frozenset()))
    assert rules(none.state) == set()


def test_put_into_the_reading_before_it_is_what_reading_everything_finds(host: Host) -> None:
    host.do(*creates(*EVERYTHING))
    before = host.observe()
    second = real_server(WEB, "10.0.0.2")
    host.do(
        update(second, replace(second, weight=7)),
        delete(real_server(WEB)),
        create(real_server(WEB, "10.0.0.9")),
        delete(virtual_service(MARK)),
        create(virtual_service(endpoint(port=81))),
        delete(vip()),
    )
    touched = frozenset({WEB, MARK, endpoint(port=81)})
    part = host.observe(replace(SCOPE, listeners=touched))
    merged = before.updated_with(part, touched)
    after = host.observe()
    assert merged == after
    assert merged.connections == after.connections


def test_what_is_read_is_what_was_done_and_not_what_was_tried(host: Host) -> None:
    """Several writes lie between two readings, and one of them is refused."""
    service, server = virtual_service(), real_server()
    light, heavy = replace(server, weight=5), replace(server, weight=7)
    crossed = replace(heavy, upper_threshold=1, lower_threshold=2)
    host.do(*creates(service, server), update(server, light))
    host.do(update(light, heavy))
    host.refuse(errno.ERANGE, update(heavy, crossed))
    assert host.rules() == State([service, heavy])
    host.do(update(heavy, light), delete(light), create(server))
    assert host.rules() == State([service, server])
