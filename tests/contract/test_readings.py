"""Readings of some virtual services alone, put into a reading of everything."""

from __future__ import annotations

from dataclasses import replace

from gitvs.core.model import RealServer, State, VirtualService
from tests.builders import (
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
from tests.contract.host import SCOPE, Host

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
    merged = before.with_reading(part, touched)
    after = host.observe()
    assert merged == after
    assert merged.connections == after.connections
