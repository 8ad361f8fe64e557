"""What the kernel should be told now: desired state with operations on top.

A real server that left desired state drains: weight 0 until it has no connections or its
deadline has passed. Every weight is derived anew on each pass, so nothing sticks. One pure
function; the clock's reading is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from gitvs.core.model.desired import Desired
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.observation import Connections
from gitvs.core.model.resources import (
    DummyInterface,
    Endpoint,
    Key,
    Listener,
    LocalRoute,
    RealServer,
    Resource,
    Scheduler,
    SchedulerFlag,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.plan import is_forwarding_switch

DEFAULT_DRAIN_SECONDS = 60.0

FALLBACK: Mapping[str, SchedulerFlag] = {
    Scheduler.SH: SchedulerFlag.SH_FALLBACK,
    Scheduler.MH: SchedulerFlag.MH_FALLBACK,
}
"""Schedulers that keep a server's slots at weight 0 and refuse its clients but for this flag."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """The target, and what the ledger has to know of how it came about."""

    target: State
    drains: Mapping[Key, Drain]
    """Every drain in force once the target is reached."""
    begun: Mapping[Key, Drain]
    """Those of them that begin now."""
    restored: frozenset[Key]
    """Settings that go back to what they were before gitvs."""
    released: frozenset[Key]
    """Owned objects that are given up as they are."""


def overlay(
    desired: Desired,
    applied: Desired | None,
    owned: State,
    foreign: State,
    connections: Mapping[Key, Connections],
    ledger: Ledger,
    boottime: float,
    at_once: frozenset[Key] = frozenset(),
) -> Overlay:
    """Lay drains, held VIPs, fallback flags and restored settings over desired state.

    `boottime` is CLOCK_BOOTTIME in seconds, as in the drains' deadlines. `at_once` are real
    servers that are not to drain.
    """
    drains = _drains(desired, applied, owned, connections, ledger, boottime)
    drains = {key: drain for key, drain in drains.items() if key not in at_once}
    leaving = [_draining(owned, key) for key in drains]
    services = [_service_of(owned, s) for s in leaving if s.service_key not in desired.state]
    held = [] if desired.is_standby else _held(owned, desired.state, services)
    restored, released = _settings(desired, applied, owned, ledger)
    released |= _occupied_interfaces(desired, owned, foreign)
    target = desired.state.with_changes([*leaving, *services, *held, *restored])
    begun = {key: drain for key, drain in drains.items() if key not in ledger.drains}
    return Overlay(
        with_fallback(target), drains, begun, frozenset(r.key for r in restored), released
    )


def _drains(
    desired: Desired,
    applied: Desired | None,
    owned: State,
    connections: Mapping[Key, Connections],
    ledger: Ledger,
    boottime: float,
) -> dict[Key, Drain]:
    """Every drain in force: those that go on, and those that begin."""
    drains = {}
    wanted = desired.state.keys()
    for server in owned.of(RealServer):
        if server.key in wanted:
            continue
        drain = ledger.drains.get(server.key)
        if drain is None:
            timeout = drain_seconds(server.service_key, desired, applied)
            if timeout > 0:
                drains[server.key] = Drain(server.key, timeout, boottime + timeout)
        elif not (
            _refuses(server, desired) or is_over(drain, connections.get(server.key), boottime)
        ):
            drains[server.key] = drain
    return drains


def _refuses(server: RealServer, desired: Desired) -> bool:
    """Whether a service is now on `dh`, which refuses the clients of a server at weight 0."""
    service = desired.state.get(server.service_key)
    return isinstance(service, VirtualService) and service.scheduler is Scheduler.DH


def drain_seconds(service: Key, desired: Desired, applied: Desired | None) -> float:
    """How long a service's real servers drain; a removed service's word still counts."""
    if service in desired.drain_seconds:
        return desired.drain_seconds[service]
    if applied is not None and service in applied.drain_seconds:
        return applied.drain_seconds[service]
    return DEFAULT_DRAIN_SECONDS


def is_over(drain: Drain, connections: Connections | None, boottime: float) -> bool:
    """Whether a drain has ended: no connections left, or its deadline passed."""
    return boottime >= drain.deadline_seconds or (connections is not None and connections.is_idle)


def _draining(owned: State, key: Key) -> RealServer:
    server = owned[key]
    assert isinstance(server, RealServer), "only real servers drain"
    return replace(server, weight=0)


def _service_of(owned: State, server: RealServer) -> VirtualService:
    service = owned[server.service_key]
    assert isinstance(service, VirtualService), "a real server's service is observed with it"
    return service


def _held(owned: State, desired: State, services: Iterable[VirtualService]) -> list[Resource]:
    """The VIPs and local routes that the traffic of draining services needs."""
    is_needed = needed_by(s.listener for s in services)
    held: list[Resource] = []
    for vip in owned.of(Vip):
        if vip.key not in desired and is_needed(vip):
            held.append(replace(vip, has_route=True))
            interface = owned.get(Key(f"dummy {vip.interface}"))
            if interface is not None and interface.key not in desired:
                held.append(interface)
    for route in owned.of(LocalRoute):
        if route.key not in desired and is_needed(route):
            held.append(route)
    return held


def needed_by(listeners: Iterable[Listener]) -> Callable[[Vip | LocalRoute], bool]:
    """Return whether the traffic of services needs a VIP or route; under a mark it may need any."""
    wanted = list(listeners)
    marked = any(not isinstance(listener, Endpoint) for listener in wanted)
    addresses = {x.address for x in wanted if isinstance(x, Endpoint)}

    def is_needed(resource: Vip | LocalRoute) -> bool:
        if isinstance(resource, Vip):
            return marked or resource.address in addresses
        return marked or any(a in resource.prefix for a in addresses)

    return is_needed


def with_fallback(state: State) -> State:
    """Set the fallback flag of `sh` and `mh` services that have a real server at weight 0."""
    idle = {s.service_key for s in state.of(RealServer) if s.weight == 0}
    flagged = []
    for service in state.of(VirtualService):
        flag = FALLBACK.get(service.scheduler)
        if service.key in idle and flag is not None and flag not in service.flags:
            flagged.append(replace(service, flags=service.flags | {flag}))
    return state.with_changes(flagged)


def _settings(
    desired: Desired, applied: Desired | None, owned: State, ledger: Ledger
) -> tuple[list[Resource], frozenset[Key]]:
    """Settings no longer named: put back if they still have our value, else given up.

    Forwarding switches are never turned back: other things of the host may need them by now.
    """
    restored: list[Resource] = []
    released = set()
    for key, former in ledger.saved.items():
        if key in desired.state:
            continue
        ours = applied.state.get(key) if applied is not None else None
        now = owned.get(key)
        if now is None or now != ours or now == former or is_forwarding_switch(key):
            released.add(key)
        else:
            restored.append(former)
    return restored, frozenset(released)


def _occupied_interfaces(desired: Desired, owned: State, foreign: State) -> frozenset[Key]:
    """Interfaces of ours that are no longer wanted, but hold somebody else's addresses."""
    occupied = {v.interface for v in foreign.of(Vip)}
    return frozenset(
        i.key for i in owned.of(DummyInterface) if i.key not in desired.state and i.name in occupied
    )
