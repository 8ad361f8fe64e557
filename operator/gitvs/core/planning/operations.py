"""What operators request on top of Git on one director, and how it changes desired state.

An operation is a pause, a pin, a real server drained by hand, or standby. Each records who, why
and until when, and survives restarts. Pure: the store keeps operations, and the agent decides
when to evaluate them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address

from gitvs.core.model.desired import Desired
from gitvs.core.model.kinds import is_local_address
from gitvs.core.model.resources import Key, LocalRoute, RealServer, Vip, host_and_port
from gitvs.core.model.state import State


class OperationKind(StrEnum):
    PAUSE = "pause"
    """No new commit, no drift repair; with the subject `HEALTH`, nothing that checks say either."""
    PIN = "pin"
    """Stay on one commit, regardless of the head of the branch."""
    DRAIN = "drain"
    """Take a real server out of its services."""
    STANDBY = "standby"
    """No VIPs and no local routes."""


HEALTH = "health"
"""The subject of a pause that is one of health checks too."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by both clocks; `boottime_seconds` is on CLOCK_BOOTTIME of the boot `boot_id`."""

    now: datetime
    boottime_seconds: float
    boot_id: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of an operator. `expires_at` is None if it is in force until it is ended.

    Within the boot `boot_id`, the time is over at `expires_boottime_seconds`: a wall clock that
    is set ends nothing and prolongs nothing. After a reboot only the wall clock is left.

    `subject` is a pin's commit, or a drain's real server: its address, or address and port, as
    names may change in Git. `server_name` is the name that the real server had then. `service`
    limits a drain to the Service of that name, which had `listeners` then. `is_immediate`
    removes the real server instead of draining it.
    """

    kind: OperationKind
    who: str
    why: str
    requested_at: datetime
    expires_at: datetime | None = None
    subject: str = ""
    service: str = ""
    is_immediate: bool = False
    server_name: str = ""
    listeners: tuple[Key, ...] = ()
    expires_boottime_seconds: float | None = None
    boot_id: str = ""

    @property
    def identity(self) -> tuple[OperationKind, str, str]:
        """The identity of an operation: a later one with the same identity replaces it.

        There is at most one pause, one pin and one standby.
        """
        is_drain = self.kind is OperationKind.DRAIN
        return (self.kind, self.subject if is_drain else "", self.service)

    def expiry(self, moment: Moment) -> datetime | None:
        """Return when it ends, by the wall clock of this moment; None if it does not end."""
        if self.expires_boottime_seconds is None or self.boot_id != moment.boot_id:
            return self.expires_at
        seconds_left = self.expires_boottime_seconds - moment.boottime_seconds
        return moment.now + timedelta(seconds=seconds_left)

    def is_expired(self, moment: Moment) -> bool:
        """Whether it has expired."""
        expiry = self.expiry(moment)
        return expiry is not None and moment.now >= expiry


@dataclass(frozen=True, slots=True)
class Operations:
    """The operations of one director, the oldest first."""

    all: tuple[Operation, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.all)

    def in_force(self, moment: Moment) -> Operations:
        """Return the operations that have not expired."""
        return Operations(tuple(o for o in self.all if not o.is_expired(moment)))

    def shown_at(self, moment: Moment) -> Operations:
        """Return the operations with their ends by the wall clock of this moment."""
        return Operations(tuple(replace(o, expires_at=o.expiry(moment)) for o in self.all))

    @property
    def pause(self) -> Operation | None:
        return self._first(OperationKind.PAUSE)

    @property
    def is_health_paused(self) -> bool:
        """Whether nobody is taken out or brought back for what checks say."""
        return self.pause is not None and self.pause.subject == HEALTH

    @property
    def pin(self) -> Operation | None:
        return self._first(OperationKind.PIN)

    @property
    def standby(self) -> Operation | None:
        return self._first(OperationKind.STANDBY)

    @property
    def drains(self) -> tuple[Operation, ...]:
        return tuple(o for o in self.all if o.kind is OperationKind.DRAIN)

    def _first(self, kind: OperationKind) -> Operation | None:
        return next((o for o in self.all if o.kind is kind), None)


NO_OPERATIONS = Operations()


def with_operations(desired: Desired, operations: Operations) -> Desired:
    """Return desired state with operations on top. Locations, names and policy are unchanged."""
    state = desired.state
    if operations.drains:
        drained = {s.key: o for s, o in _drained_servers(desired, operations)}
        removed_keys = [key for key, o in drained.items() if o.is_immediate]
        idle = [replace(s, weight=0) for s in state.of_type(RealServer) if s.key in drained]
        state = state.with_changes([s for s in idle if s.key not in removed_keys], removed_keys)
    if operations.standby is not None:
        state = state.with_changes(drop=[r.key for r in _vips_and_routes(state)])
    is_standby = desired.is_standby or operations.standby is not None
    return replace(desired, state=state, is_standby=is_standby)


def affected_keys(desired: Desired, operations: Iterable[Operation]) -> frozenset[Key]:
    """Return the keys that operations affect.

    For a drain, its real servers and their services; for standby, all VIPs and local routes.
    """
    given = Operations(tuple(operations))
    servers = [server for server, _ in _drained_servers(desired, given)]
    keys = {s.key for s in servers} | {s.service_key for s in servers}
    if given.standby is not None:
        keys |= {r.key for r in _vips_and_routes(desired.state)}
    return frozenset(keys)


def removed_at_once(desired: Desired, operations: Operations) -> frozenset[Key]:
    """Return the keys of the real servers that are removed without draining."""
    return frozenset(s.key for s, o in _drained_servers(desired, operations) if o.is_immediate)


def obsolete_drains(desired: Desired, operations: Operations) -> list[Operation]:
    """Return the drains that Git makes obsolete: the weight there is 0, or the server removed."""
    return [
        operation
        for operation in operations.drains
        if not any(s.weight for s in servers_of(operation, desired))
    ]


def servers_of(operation: Operation, desired: Desired) -> list[RealServer]:
    """Return the real servers of desired state that a drain affects, in every service."""
    return [s for s in desired.state.of_type(RealServer) if _is_about(operation, s, desired)]


def find_real_servers(subject: str, service: str, desired: Desired) -> list[RealServer]:
    """Return the real servers that a name, an address, or an address and port refers to."""
    canonical_subject = canonical_server(subject)
    if is_address(canonical_subject):
        probe = Operation(
            OperationKind.DRAIN, "", "", datetime.min, None, canonical_subject, service
        )
        return servers_of(probe, desired)
    named = [
        s for s in desired.state.of_type(RealServer) if desired.server_names.get(s.key) == subject
    ]
    found: dict[str, RealServer] = {}
    for address in {str(s.address) for s in named}:
        found |= {s.key: s for s in find_real_servers(address, service, desired)}
    return list(found.values())


def is_address(subject: str) -> bool:
    """Whether a canonical subject is an address, or an address and port, and not a name."""
    host = subject.rpartition(":")[0].strip("[]") if "]" in subject or "." in subject else ""
    for text in (subject, host):
        with suppress(ValueError):
            ip_address(text)
            return True
    return False


def _drained_servers(
    desired: Desired, operations: Operations
) -> Iterator[tuple[RealServer, Operation]]:
    """Yield each drained real server once; of its drains, one that removes it takes precedence."""
    drains = sorted(operations.drains, key=lambda o: not o.is_immediate)
    if drains:
        for server in desired.state.of_type(RealServer):
            found = next((o for o in drains if _is_about(o, server, desired)), None)
            if found is not None:
                yield server, found


def _is_about(operation: Operation, server: RealServer, desired: Desired) -> bool:
    names = {
        str(server.address),
        host_and_port(server.address, server.port),
        desired.server_names.get(server.key),
    }
    if canonical_server(operation.subject) not in names:
        return False
    if not operation.service or server.service_key in operation.listeners:
        return True
    location = desired.locations.get(server.key) or desired.locations.get(server.service_key)
    return location is not None and location.service == operation.service


def canonical_server(server: str) -> str:
    """Return an address, or an address and port, as gitvs writes it; a name is unchanged."""
    host, _, port = server.rpartition(":")
    for text, suffix in ((server.strip("[]"), None), (host.strip("[]"), port)):
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if suffix is None:
            return str(address)
        if suffix.isascii() and suffix.isdecimal():
            return host_and_port(address, int(suffix))
    return server


def _vips_and_routes(state: State) -> list[Vip | LocalRoute]:
    return [r for r in state.values() if is_local_address(r)]
