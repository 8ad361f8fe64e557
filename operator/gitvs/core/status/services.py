"""From one reading of a director to what is told of it: each owned service with its servers.

Pure, and shared by the agent and by `gitvs status` where no agent runs, so that both say the
same of one kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gitvs.core.model.desired import Desired
from gitvs.core.model.history import HistoryEntry
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Connections, Counters, Observation
from gitvs.core.model.resources import IPAddress, Key, RealServer, VirtualService
from gitvs.core.model.state import State
from gitvs.core.planning.operations import Operations, servers_of
from gitvs.core.planning.plan import natural_order
from gitvs.core.status.agent_status import LastPass, ServerStatus, ServiceStatus


def services_of(
    observation: Observation,
    ledger: Ledger,
    applied: Desired | None,
    operations: Operations,
    boottime: float,
) -> tuple[ServiceStatus, ...]:
    """Return the owned virtual services of a reading, by address and port, with their servers.

    `boottime` is CLOCK_BOOTTIME in seconds, as in the drains' deadlines.
    """
    look = _Look(
        observation,
        ledger,
        applied or Desired("", "", State()),
        _drained_by_hand(applied, operations),
        frozenset(a for link in observation.links.values() for a in link.addresses),
        boottime,
    )
    services = [s for s in observation.state.of(VirtualService) if s.key in ledger.owned]
    servers = _by_service(observation.state.of(RealServer))
    ordered = sorted(services, key=lambda s: (natural_order(s), s.key))
    return tuple(_service(look, s, servers.get(s.key, ())) for s in ordered)


def last_of(entry: HistoryEntry) -> LastPass:
    """Return what the history knows of the newest pass, where no agent remembers more."""
    seconds = (entry.finished_at - entry.started_at).total_seconds()
    return LastPass(
        entry.result,
        entry.finished_at,
        max(0.0, seconds),
        entry.commit,
        trigger="",
        failures=(entry.message,) if entry.message else (),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What is known beside the services themselves."""

    observation: Observation
    ledger: Ledger
    applied: Desired
    drained: frozenset[Key]
    host_addresses: frozenset[IPAddress]
    boottime: float


def _drained_by_hand(applied: Desired | None, operations: Operations) -> frozenset[Key]:
    if applied is None:
        return frozenset()
    drains = operations.drains
    return frozenset(server.key for drain in drains for server in servers_of(drain, applied))


def _by_service(servers: Sequence[RealServer]) -> Mapping[Key, Sequence[RealServer]]:
    found: dict[Key, list[RealServer]] = {}
    for server in sorted(servers, key=lambda s: (natural_order(s), s.key)):
        found.setdefault(server.service_key, []).append(server)
    return found


def _service(look: _Look, service: VirtualService, servers: Sequence[RealServer]) -> ServiceStatus:
    source = look.applied.sources.get(service.key)
    return ServiceStatus(
        service,
        "" if source is None or source.service is None else source.service,
        look.observation.counters.get(service.key, Counters()),
        tuple(_server(look, server) for server in servers),
    )


def _server(look: _Look, server: RealServer) -> ServerStatus:
    drain = look.ledger.drains.get(server.key)
    return ServerStatus(
        server,
        look.applied.server_names.get(server.key, ""),
        look.observation.connections.get(server.key, Connections()),
        look.observation.counters.get(server.key, Counters()),
        None if drain is None else max(0.0, drain.deadline_seconds - look.boottime),
        server.key in look.drained,
        server.address.is_loopback or server.address in look.host_addresses,
    )
