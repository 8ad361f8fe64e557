"""From one reading of a director to the status of each owned service with its real servers.

Pure, and shared by the agent and by `gitvs status` where no agent runs, so that both report the
same for one kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gitvs.core.model.desired import Desired
from gitvs.core.model.history import HistoryEntry, Outcome
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import ConnectionCounts, Counters, Observation
from gitvs.core.model.resources import IPAddress, Key, RealServer, VirtualService
from gitvs.core.model.state import State
from gitvs.core.planning.operations import Operations, servers_of
from gitvs.core.planning.plan import natural_sort_key
from gitvs.core.status.agent_status import LastPass, ServerStatus, ServiceStatus


def service_statuses(
    observation: Observation,
    ledger: Ledger,
    applied: Desired | None,
    operations: Operations,
    boottime_seconds: float,
) -> tuple[ServiceStatus, ...]:
    """Return the owned virtual services of a reading, sorted by address and port, with servers.

    `boottime_seconds` is CLOCK_BOOTTIME in seconds, as in the drains' deadlines.
    """
    context = _StatusContext(
        observation,
        ledger,
        applied or Desired("", "", State()),
        _keys_drained_by_operator(applied, operations),
        frozenset(a for link in observation.links.values() for a in link.addresses),
        boottime_seconds,
    )
    services = [s for s in observation.state.of_type(VirtualService) if s.key in ledger.owned]
    servers = _by_service(observation.state.of_type(RealServer))
    ordered = sorted(services, key=lambda s: (natural_sort_key(s), s.key))
    return tuple(_service_status(context, s, servers.get(s.key, ())) for s in ordered)


def last_change_in(history: Iterable[HistoryEntry]) -> HistoryEntry | None:
    """Return the newest transaction that changed something, of a history with the newest first."""
    return next(
        (e for e in history if e.outcome is Outcome.APPLIED and any(e.summary.values())), None
    )


def last_pass_of(entry: HistoryEntry) -> LastPass:
    """Return the newest pass as the history records it, for when no agent knows more."""
    seconds = (entry.finished_at - entry.started_at).total_seconds()
    return LastPass(
        entry.outcome,
        entry.finished_at,
        max(0.0, seconds),
        entry.commit,
        trigger="",
        failures=(entry.message,) if entry.message else (),
    )


@dataclass(frozen=True, slots=True)
class _StatusContext:
    """What is known besides the services themselves."""

    observation: Observation
    ledger: Ledger
    applied: Desired
    drained_keys: frozenset[Key]
    host_addresses: frozenset[IPAddress]
    boottime_seconds: float


def _keys_drained_by_operator(applied: Desired | None, operations: Operations) -> frozenset[Key]:
    if applied is None:
        return frozenset()
    drains = operations.drains
    return frozenset(server.key for drain in drains for server in servers_of(drain, applied))


def _by_service(servers: Sequence[RealServer]) -> Mapping[Key, Sequence[RealServer]]:
    found: dict[Key, list[RealServer]] = {}
    for server in sorted(servers, key=lambda s: (natural_sort_key(s), s.key)):
        found.setdefault(server.service_key, []).append(server)
    return found


def _service_status(
    context: _StatusContext, service: VirtualService, servers: Sequence[RealServer]
) -> ServiceStatus:
    location = context.applied.locations.get(service.key)
    return ServiceStatus(
        service,
        "" if location is None or location.service is None else location.service,
        context.observation.counters.get(service.key, Counters()),
        tuple(_server_status(context, server) for server in servers),
    )


def _server_status(context: _StatusContext, server: RealServer) -> ServerStatus:
    drain = context.ledger.drains.get(server.key)
    return ServerStatus(
        server,
        context.applied.server_names.get(server.key, ""),
        context.observation.connections.get(server.key, ConnectionCounts()),
        context.observation.counters.get(server.key, Counters()),
        None if drain is None else max(0.0, drain.deadline_seconds - context.boottime_seconds),
        server.key in context.drained_keys,
        server.address.is_loopback or server.address in context.host_addresses,
    )
