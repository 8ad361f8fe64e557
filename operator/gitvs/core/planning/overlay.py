"""The target of a pass: desired state with drains, and what they need, on top.

A real server that is no longer desired drains: weight 0 until it has no connections or its
deadline has passed. Every weight is computed again on each pass, so no old weight persists.
Pure: the clock's reading is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from gitvs.core.model.desired import Desired
from gitvs.core.model.grouped import differences
from gitvs.core.model.kinds import is_setting
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.observation import ConnectionCounts, Observation
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
    SyncDaemon,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.plan import Change, build_plan, is_forwarding_sysctl

DEFAULT_DRAIN_SECONDS = 60.0

FALLBACK_FLAG_BY_SCHEDULER: Mapping[str, SchedulerFlag] = {
    Scheduler.SH: SchedulerFlag.SH_FALLBACK,
    Scheduler.MH: SchedulerFlag.MH_FALLBACK,
}
"""Schedulers that keep a server's slots at weight 0: without this flag its clients are refused."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """The target, and what the ledger must record about it."""

    target: State
    drains: Mapping[Key, Drain]
    """Every drain in force once the target is reached."""
    new_drains: Mapping[Key, Drain]
    """The drains that begin now."""
    restored_keys: frozenset[Key]
    """Settings that go back to their values before gitvs."""
    released_keys: frozenset[Key]
    """Owned objects that gitvs gives up without changing them."""
    kept_keys: frozenset[Key] = frozenset()
    """Keys that stay owned although the target lacks them: this pass may not change them."""


def build_overlay(
    desired: Desired,
    applied: Desired | None,
    owned: State,
    foreign: State,
    connections: Mapping[Key, ConnectionCounts],
    ledger: Ledger,
    boottime_seconds: float,
    at_once: frozenset[Key] = frozenset(),
    held: frozenset[Key] = frozenset(),
) -> Overlay:
    """Add drains, the VIPs they need, fallback flags and restored settings to desired state.

    `boottime_seconds` is CLOCK_BOOTTIME in seconds, as in the drains' deadlines. `at_once` are
    the keys of real servers that must not drain. `held` are those that keep their weight, though
    their drain has begun, until others take their place.
    """
    drains = _drains_in_force(desired, applied, owned, connections, ledger, boottime_seconds, held)
    drains = {key: drain for key, drain in drains.items() if key not in at_once}
    draining_servers = [_draining_server(owned, key, key in held) for key in drains]
    draining_services = [
        _service_of(owned, s) for s in draining_servers if s.service_key not in desired.state
    ]
    needed_resources = (
        [] if desired.is_standby else _needed_resources(owned, desired.state, draining_services)
    )
    restored_settings, released_keys = _restored_and_released(desired, applied, owned, ledger)
    released_keys |= _occupied_interfaces(desired, owned, foreign)
    target = desired.state.with_changes(
        [*draining_servers, *draining_services, *needed_resources, *restored_settings]
    )
    new_drains = {key: drain for key, drain in drains.items() if key not in ledger.drains}
    return Overlay(
        with_fallback_flags(target),
        drains,
        new_drains,
        frozenset(r.key for r in restored_settings),
        released_keys,
    )


def with_sync_lengths(desired: Desired, observation: Observation) -> Desired:
    """Return a desired state with the lengths that the kernel chooses for sync daemons.

    A running daemon keeps the length that the kernel has chosen, although the MTU of its link may
    have changed since: a restart would lose messages for nothing. A daemon whose link is unknown
    is returned unchanged.
    """
    unset = [d for d in desired.state.of_type(SyncDaemon) if d.max_length is None]
    chosen = [with_sync_length(daemon, observation) for daemon in unset]
    return replace(desired, state=desired.state.with_changes(chosen)) if chosen else desired


def with_sync_length(daemon: SyncDaemon, observation: Observation) -> SyncDaemon:
    """Return a sync daemon with the length that the kernel chooses, if it is given none."""
    if daemon.max_length is not None:
        return daemon
    running, link = observation.state.get(daemon.key), observation.links.get(daemon.interface)
    if isinstance(running, SyncDaemon) and replace(running, max_length=None) == daemon:
        lowest, highest = daemon.default_max_length(0), daemon.default_max_length(65535)
        if running.max_length is None or lowest <= running.max_length <= highest:
            return running
    if link is None:
        return daemon
    return replace(daemon, max_length=daemon.default_max_length(link.mtu))


def _drains_in_force(
    desired: Desired,
    applied: Desired | None,
    owned: State,
    connections: Mapping[Key, ConnectionCounts],
    ledger: Ledger,
    boottime_seconds: float,
    held: frozenset[Key],
) -> dict[Key, Drain]:
    """Every drain in force: those that continue, and those that begin."""
    drains = {}
    removed = (old for _, old, new in differences(owned, desired.state) if new is None)
    for server in removed:
        if not isinstance(server, RealServer):
            continue
        drain = ledger.drains.get(server.key)
        if drain is None:
            timeout_seconds = drain_seconds(server.service_key, desired, applied)
            if timeout_seconds > 0:
                drains[server.key] = Drain(
                    server.key, timeout_seconds, boottime_seconds + timeout_seconds
                )
        elif not (
            _refuses_clients(server, desired)
            or is_drain_over(
                drain,
                None if server.key in held else connections.get(server.key),
                boottime_seconds,
            )
        ):
            drains[server.key] = drain
    return drains


def _refuses_clients(server: RealServer, desired: Desired) -> bool:
    """Whether a service is now on `dh`, which refuses the clients of a server at weight 0."""
    service = desired.state.get(server.service_key)
    return isinstance(service, VirtualService) and service.scheduler is Scheduler.DH


def drain_seconds(service_key: Key, desired: Desired, applied: Desired | None) -> float:
    """How long a service's real servers drain, in seconds; for a removed service, as applied."""
    if service_key in desired.drain_seconds:
        return desired.drain_seconds[service_key]
    if applied is not None and service_key in applied.drain_seconds:
        return applied.drain_seconds[service_key]
    return DEFAULT_DRAIN_SECONDS


def is_drain_over(
    drain: Drain, connections: ConnectionCounts | None, boottime_seconds: float
) -> bool:
    """Whether a drain has ended: no connections left, or its deadline passed."""
    return boottime_seconds >= drain.deadline_seconds or (
        connections is not None and connections.is_idle
    )


def _draining_server(owned: State, key: Key, is_held: bool) -> RealServer:
    server = owned[key]
    assert isinstance(server, RealServer), "only real servers drain"
    return server if is_held else replace(server, weight=0)


def _service_of(owned: State, server: RealServer) -> VirtualService:
    service = owned[server.service_key]
    assert isinstance(service, VirtualService), "a real server's service is observed with it"
    return service


def _needed_resources(
    owned: State, desired: State, draining_services: Iterable[VirtualService]
) -> list[Resource]:
    """The VIPs and local routes that the traffic of draining services needs."""
    is_needed = needed_by(s.listener for s in draining_services)
    needed: list[Resource] = []
    for vip in owned.of_type(Vip):
        if vip.key not in desired and is_needed(vip):
            needed.append(replace(vip, has_route=True))
            interface = owned.get(DummyInterface(vip.interface).key)
            if interface is not None and interface.key not in desired:
                needed.append(interface)
    for route in owned.of_type(LocalRoute):
        if route.key not in desired and is_needed(route):
            needed.append(route)
    return needed


def removals_after_drains(target: State, desired: State) -> tuple[Change, ...]:
    """Return the deletes of later passes: what a target keeps only while real servers drain.

    They are in the order of a break. `desired` is the desired state with operations on top.
    """
    kept = [
        resource
        for key, resource in target.items()
        if key not in desired and not is_setting(resource)
    ]
    return build_plan([(resource, None) for resource in kept]).changes


def needed_by(listeners: Iterable[Listener]) -> Callable[[Vip | LocalRoute], bool]:
    """Return a function that decides whether the traffic of services needs a VIP or local route.

    The traffic of a firewall mark may need any of them.
    """
    all_listeners = list(listeners)
    has_firewall_mark = any(not isinstance(listener, Endpoint) for listener in all_listeners)
    addresses = {x.address for x in all_listeners if isinstance(x, Endpoint)}

    def is_needed(resource: Vip | LocalRoute) -> bool:
        if isinstance(resource, Vip):
            return has_firewall_mark or resource.address in addresses
        return has_firewall_mark or any(a in resource.prefix for a in addresses)

    return is_needed


def with_fallback_flags(state: State) -> State:
    """Set the fallback flag of `sh` and `mh` services that have a real server at weight 0."""
    flagged = []
    for service in state.of_type(VirtualService):
        if service.scheduler not in FALLBACK_FLAG_BY_SCHEDULER:
            continue
        flag = FALLBACK_FLAG_BY_SCHEDULER[service.scheduler]
        rules = state.groups[service.key].values()
        has_idle_server = any(isinstance(r, RealServer) and r.weight == 0 for r in rules)
        if has_idle_server and flag not in service.flags:
            flagged.append(replace(service, flags=service.flags | {flag}))
    return state.with_changes(flagged)


def _restored_and_released(
    desired: Desired, applied: Desired | None, owned: State, ledger: Ledger
) -> tuple[list[Resource], frozenset[Key]]:
    """Settings no longer named: restored if they still have gitvs's value, else released.

    Forwarding sysctls are never restored: other software on the host may need them by now.
    """
    restored: list[Resource] = []
    released = set()
    for key, original in ledger.saved_settings.items():
        if key in desired.state:
            continue
        applied_setting = applied.state.get(key) if applied is not None else None
        observed_setting = owned.get(key)
        if (
            observed_setting is None
            or observed_setting != applied_setting
            or observed_setting == original
            or is_forwarding_sysctl(key)
        ):
            released.add(key)
        else:
            restored.append(original)
    return restored, frozenset(released)


def _occupied_interfaces(desired: Desired, owned: State, foreign: State) -> frozenset[Key]:
    """Owned interfaces that are no longer wanted, but have somebody else's addresses."""
    occupied = {v.interface for v in foreign.of_type(Vip)}
    return frozenset(
        i.key
        for i in owned.of_type(DummyInterface)
        if i.key not in desired.state and i.name in occupied
    )
