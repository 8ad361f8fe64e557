"""What operators have said on top of Git on one director, and what that makes of its state.

Break glass: a pause, a pin, real servers drained by hand, standby. Each says who, why and
until when, and outlives restarts. Pure; where they are kept is the business of the store,
when they are looked at that of the agent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address

from gitvs.core.model.desired import Desired
from gitvs.core.model.resources import Key, LocalRoute, RealServer, Vip, host_and_port
from gitvs.core.model.state import State


class OperationKind(StrEnum):
    PAUSE = "pause"
    """No new commit, no drift repair."""
    PIN = "pin"
    """One commit, whatever the branch says."""
    DRAIN = "drain"
    """A real server out of its services."""
    STANDBY = "standby"
    """No VIPs and no local routes."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that an operator said. `expires_at` is None where it holds until it is taken back.

    `subject` is a pin's commit, or a drain's real server: its address, or address and port, as
    names may change in Git. `server_name` is what people called it then. `service` limits a drain to
    the Service of that name, which had `listeners`; `is_immediate` removes instead of draining.
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

    @property
    def identity(self) -> tuple[OperationKind, str, str]:
        """What a later word on the same thing replaces; there is one pause, pin and standby."""
        is_drain = self.kind is OperationKind.DRAIN
        return (self.kind, self.subject if is_drain else "", self.service)

    def is_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at


@dataclass(frozen=True, slots=True)
class Operations:
    """Everything in force on one director, the oldest first."""

    all: tuple[Operation, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.all)

    def in_force(self, now: datetime) -> Operations:
        """Return those whose time is not over."""
        return Operations(tuple(o for o in self.all if not o.is_expired(now)))

    @property
    def pause(self) -> Operation | None:
        return self._first(OperationKind.PAUSE)

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
    """Return desired state with operations on top. Its sources, names and policy stay."""
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
    """Return the keys that operations are about: their real servers and services, or all VIPs."""
    given = Operations(tuple(operations))
    servers = [server for server, _ in _drained_servers(desired, given)]
    keys = {s.key for s in servers} | {s.service_key for s in servers}
    if given.standby is not None:
        keys |= {r.key for r in _vips_and_routes(desired.state)}
    return frozenset(keys)


def removed_at_once(desired: Desired, operations: Operations) -> frozenset[Key]:
    """Return the real servers that are to go without draining."""
    return frozenset(s.key for s, o in _drained_servers(desired, operations) if o.is_immediate)


def obsolete_drains(desired: Desired, operations: Operations) -> list[Operation]:
    """Return the drains that Git itself has caught up with: weight 0, or no place any more."""
    return [
        operation
        for operation in operations.drains
        if not any(s.weight for s in servers_of(operation, desired))
    ]


def servers_of(operation: Operation, desired: Desired) -> list[RealServer]:
    """Return the real servers of desired state that a drain is about, in every service."""
    return [s for s in desired.state.of_type(RealServer) if _is_about(operation, s, desired)]


def find_real_servers(subject: str, service: str, desired: Desired) -> list[RealServer]:
    """Return the real servers that a person means by a name, address, or address and port."""
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
    """Yield each drained real server once; of several drains, one that removes counts."""
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
    """Return an address, or an address and port, as gitvs writes it; a name as it is."""
    host, _, port = server.rpartition(":")
    for text, suffix in ((server.strip("[]"), None), (host.strip("[]"), port)):
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if suffix is None:
            return str(address)
        if suffix.isdecimal():
            return host_and_port(address, int(suffix))
    return server


def _vips_and_routes(state: State) -> list[Vip | LocalRoute]:
    return [r for r in state.values() if isinstance(r, Vip | LocalRoute)]
