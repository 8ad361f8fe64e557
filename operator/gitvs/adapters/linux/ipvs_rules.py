"""Reads virtual services with their real servers: all of them consistently, or some."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gitvs.adapters.linux.ipvs import Ipvs
from gitvs.adapters.linux.ipvs_codec.replies import Unnamed
from gitvs.core.errors import KernelUnreadable
from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resources import (
    Key,
    Listener,
    RealServer,
    VirtualService,
)

_MAX_READ_ATTEMPTS = 5


@dataclass(slots=True)
class IpvsRules:
    """Virtual services and real servers, their counters, and objects that have no model."""

    resources: list[VirtualService | RealServer] = field(default_factory=list)
    connections: dict[Key, ConnectionCounts] = field(default_factory=dict)
    counters: dict[Key, Counters] = field(default_factory=dict)
    unnamed: set[str] = field(default_factory=set)


def read_rules(ipvs: Ipvs) -> IpvsRules:
    """Read virtual services and their real servers.

    IPVS does not flag a dump that a change cut short. So the virtual services are read again at
    the end, and if they changed in between, everything is read again.

    Raises:
        KernelUnreadable: they changed every time.
    """
    services = ipvs.read_services()
    for _ in range(_MAX_READ_ATTEMPTS):
        rules = IpvsRules()
        for service, counters in services:
            if isinstance(service, Unnamed):
                rules.unnamed.add(service.text)
                continue
            rules.resources.append(service)
            rules.counters[service.key] = counters
            _read_real_servers(rules, ipvs, service)
        services_after = ipvs.read_services()
        if _service_keys(services_after) == _service_keys(services):
            return rules
        services = services_after
    raise KernelUnreadable(
        f"IPVS changed while it was read, {_MAX_READ_ATTEMPTS} times in a row: try again"
    )


def read_rules_of(ipvs: Ipvs, listeners: Iterable[Listener]) -> IpvsRules:
    """Read only some virtual services and their real servers; missing ones are left out."""
    rules = IpvsRules()
    for listener in listeners:
        service, counters = ipvs.read_service(listener) or (None, None)
        if counters is None or not isinstance(service, VirtualService):
            continue
        rules.resources.append(service)
        rules.counters[service.key] = counters
        _read_real_servers(rules, ipvs, service)
    return rules


def _service_keys(services: Iterable[tuple[VirtualService | Unnamed, Counters]]) -> set[str]:
    return {s.text if isinstance(s, Unnamed) else s.key for s, _ in services}


def _read_real_servers(rules: IpvsRules, ipvs: Ipvs, service: VirtualService) -> None:
    for server, connections, counters in ipvs.read_real_servers(service.listener):
        if type(server) is RealServer:
            key = server.key
            rules.resources.append(server)
            rules.connections[key] = connections
            rules.counters[key] = counters
        elif isinstance(server, Unnamed):
            rules.unnamed.add(server.text)
