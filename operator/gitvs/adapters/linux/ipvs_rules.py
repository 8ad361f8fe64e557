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
    Resource,
    VirtualService,
)

_MAX_READ_ATTEMPTS = 5


@dataclass(slots=True)
class IpvsRules:
    """Virtual services and real servers, their counters, and objects that have no model.

    All are in groups, by virtual service.
    """

    resources: dict[Key, dict[Key, Resource]] = field(default_factory=dict)
    connections: dict[Key, dict[Key, ConnectionCounts]] = field(default_factory=dict)
    counters: dict[Key, dict[Key, Counters]] = field(default_factory=dict)
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
            _read_real_servers(rules, ipvs, service, counters)
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
        _read_real_servers(rules, ipvs, service, counters)
    return rules


def _service_keys(services: Iterable[tuple[VirtualService | Unnamed, Counters]]) -> set[str]:
    return {s.text if isinstance(s, Unnamed) else s.key for s, _ in services}


def _read_real_servers(
    rules: IpvsRules, ipvs: Ipvs, service: VirtualService, service_counters: Counters
) -> None:
    """Add a virtual service, and the real servers that it has now."""
    group_key = service.key
    group: dict[Key, Resource] = {group_key: service}
    all_connections: dict[Key, ConnectionCounts] = {}
    all_counters = {group_key: service_counters}
    for server, connections, counters in ipvs.read_real_servers(service.listener):
        if type(server) is RealServer:
            key = server.key
            group[key] = server
            all_connections[key] = connections
            all_counters[key] = counters
        elif isinstance(server, Unnamed):
            rules.unnamed.add(server.text)
    rules.resources[group_key] = group
    rules.counters[group_key] = all_counters
    if all_connections:
        rules.connections[group_key] = all_connections
