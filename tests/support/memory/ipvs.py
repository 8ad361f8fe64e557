"""IPVS as Linux keeps it: which requests it refuses, and what it makes of the others.

The checks stand in the kernel's order, since a request may be wrong in several ways.
Source: Linux net/netfilter/ipvs/ip_vs_ctl.c (ip_vs_genl_set_cmd, ip_vs_add_service,
ip_vs_edit_service, ip_vs_add_dest, ip_vs_edit_dest, __ip_vs_update_dest) and ip_vs_sync.c
(start_sync_thread).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from gitvs.core.model.observation import ConnectionCounts, Counters, Link
from gitvs.core.model.resources import (
    AddressFamily,
    Endpoint,
    FirewallMark,
    Forwarding,
    IPAddress,
    Key,
    Listener,
    PersistenceEngine,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    SyncDaemon,
    SyncRole,
    Timeout,
    TimeoutName,
    Tunnel,
    TunnelType,
    VirtualService,
    family_of,
)
from tests.support.memory.routing import MIN_IPV6_MTU, MemoryRouting

JIFFIES_PER_SECOND = 250
"""CONFIG_HZ, as in Debian's kernels; it limits times."""
_UINT32_LIMIT, _INT32_LIMIT = 2**32, 2**31

_FLAGS_BY_SCHEDULER: Mapping[str, frozenset[SchedulerFlag]] = {
    Scheduler.SH: frozenset({SchedulerFlag.SH_FALLBACK, SchedulerFlag.SH_PORT}),
    Scheduler.MH: frozenset({SchedulerFlag.MH_FALLBACK, SchedulerFlag.MH_PORT}),
}
_NO_FLAGS: frozenset[SchedulerFlag] = frozenset()
_DEFAULT_TIMEOUTS = {TimeoutName.TCP: 900, TimeoutName.TCP_FIN: 120, TimeoutName.UDP: 300}
_NO_SCHEDULER = "none"
_ANY_ADDRESS: Mapping[AddressFamily, IPAddress] = {
    AddressFamily.IPV4: IPv4Address(0),
    AddressFamily.IPV6: IPv6Address(0),
}


class MemoryIpvs:
    """The IPVS of one network namespace."""

    def __init__(self, known_names: frozenset[str], routing: MemoryRouting) -> None:
        """`names` are those of the schedulers and persistence engines that this kernel has."""
        self.known_names = known_names
        self.unnamed: set[str] = set()
        self._routing = routing
        self._services: dict[Key, VirtualService] = {}
        self._servers_by_service: dict[Key, dict[Key, RealServer]] = {}
        """The real servers by their virtual service."""
        self._connections: dict[Key, ConnectionCounts] = {}
        self._counters: dict[Key, Counters] = {}
        self._daemons: dict[SyncRole, SyncDaemon] = {}
        self._timeouts = dict(_DEFAULT_TIMEOUTS)

    def timeouts_and_daemons(self) -> Iterator[Timeout | SyncDaemon]:
        """Yield timeouts and sync daemons, as they are read back."""
        yield from (Timeout(name, seconds) for name, seconds in self._timeouts.items())
        yield from self._daemons.values()

    def rules(self, listeners: Collection[Listener] | None) -> list[VirtualService | RealServer]:
        """Return these virtual services with their real servers, or all, as they are read back."""
        if listeners is None:
            return [*self._services.values(), *self._all_servers()]
        keys = [listener.key for listener in listeners if listener.key in self._services]
        servers = (s for key in keys for s in self._servers_by_service.get(key, {}).values())
        return [*(self._services[key] for key in keys), *servers]

    def connections(
        self, rules: Iterable[VirtualService | RealServer]
    ) -> dict[Key, ConnectionCounts]:
        """Return what is counted for each real server of these."""
        zero = ConnectionCounts()
        servers = (r.key for r in rules if isinstance(r, RealServer))
        return {key: self._connections.get(key, zero) for key in servers}

    def counters(self, rules: Iterable[VirtualService | RealServer]) -> dict[Key, Counters]:
        """Return what each of these has counted."""
        zero = Counters()
        return {r.key: self._counters.get(r.key, zero) for r in rules}

    def set_counters(self, key: Key, counters: Counters) -> None:
        """Let something be counted."""
        assert key in self.counters(self.rules(None)), f"no virtual service or real server {key}"
        self._counters[key] = counters

    def set_connections(self, key: Key, connections: ConnectionCounts) -> None:
        """Let clients come and go."""
        assert any(key in servers for servers in self._servers_by_service.values()), (
            f"no real server {key}"
        )
        self._connections[key] = connections

    def add_service(self, service: VirtualService) -> None:
        """Add a virtual service.

        Raises:
            OSError: the kernel's answer; so do all methods here that change something.
        """
        service = _as_read_back(service)
        if service.key in self._services:
            raise _refusal(errno.EEXIST)
        self._check_service(service)
        self._services[service.key] = service
        self._servers_by_service[service.key] = {}

    def set_service(self, service: VirtualService) -> None:
        """Set every attribute of a virtual service."""
        service = _as_read_back(service)
        if service.key not in self._services:
            raise _refusal(errno.ESRCH)
        self._check_service(service)
        self._services[service.key] = service

    def delete_service(self, listener: Listener) -> None:
        """Delete a virtual service, its real servers with it."""
        key = Key(str(_effective_listener(listener)))
        if self._services.pop(key, None) is None:
            raise _refusal(errno.ESRCH)
        self._counters.pop(key, None)
        for server_key in self._servers_by_service.pop(key):
            self._drop_counts(server_key)

    def add_server(self, server: RealServer) -> None:
        """Add a real server."""
        siblings = self._siblings(server)
        server = self._validated(server)
        if server.key in siblings:
            raise _refusal(errno.EEXIST)
        if not self._routing.is_usable_server(server.address):
            raise _refusal(errno.EINVAL)
        siblings[server.key] = server

    def set_server(self, server: RealServer) -> None:
        """Set every attribute of a real server; its connections stay."""
        siblings = self._siblings(server)
        server = self._validated(server)
        if server.key not in siblings:
            raise _refusal(errno.ENOENT)
        siblings[server.key] = server

    def delete_server(self, server: RealServer) -> None:
        """Delete a real server."""
        key = replace(server, listener=_effective_listener(server.listener)).key
        if self._siblings(server).pop(key, None) is None:
            raise _refusal(errno.ENOENT)
        self._drop_counts(key)

    def set_timeout(self, timeout: Timeout) -> None:
        """Set a timeout; 0 changes nothing. Source: ip_vs_set_timeout."""
        if timeout.seconds > (_INT32_LIMIT - 1) // JIFFIES_PER_SECOND:
            raise _refusal(errno.EINVAL)
        if timeout.seconds:
            self._timeouts[timeout.name] = timeout.seconds

    def start_daemon(self, daemon: SyncDaemon) -> None:
        """Start a sync daemon."""
        if any(_is_mixed(server) for server in self._all_servers()):
            raise _refusal(errno.EINVAL)  # connection sync knows no mixed families
        if not daemon.group.is_multicast:
            raise _refusal(errno.EINVAL)
        link = self._routing.links.get(daemon.interface)
        if link is None:
            raise _refusal(errno.ENODEV)
        if daemon.role in self._daemons:
            raise _refusal(errno.EEXIST)
        self._check_link_of_daemon(daemon, link)
        if daemon.max_length is None:
            daemon = replace(daemon, max_length=daemon.default_max_length(link.mtu))
        self._daemons[daemon.role] = daemon

    def _check_link_of_daemon(self, daemon: SyncDaemon, link: Link) -> None:
        """A link that is up has a link-local IPv6 address unless IPv6 is switched off."""
        is_ipv6 = daemon.group.version == 6
        if daemon.role is SyncRole.PRIMARY:
            if not link.is_up or (is_ipv6 and not self._routing.has_ipv6(link.name)):
                raise _refusal(errno.ENETUNREACH)
        elif is_ipv6 and link.mtu < MIN_IPV6_MTU:
            raise _refusal(errno.EINVAL)

    def stop_daemon(self, role: SyncRole) -> None:
        """Stop a sync daemon."""
        if self._daemons.pop(role, None) is None:
            raise _refusal(errno.ESRCH)

    def _check_service(self, service: VirtualService) -> None:
        persistence = service.persistence
        engine = persistence.engine if persistence is not None else None
        wanted = {str(service.scheduler), str(engine or _NO_SCHEDULER)}
        if not wanted <= self.known_names | {_NO_SCHEDULER}:
            raise _refusal(errno.ENOENT)
        is_ipv6 = service.listener.family is AddressFamily.IPV6
        if is_ipv6 and persistence is not None and not 1 <= persistence.prefix_length <= 128:
            raise _refusal(errno.EINVAL)

    def _siblings(self, server: RealServer) -> dict[Key, RealServer]:
        """Return the real servers of a real server's virtual service, which must exist."""
        key = Key(str(_effective_listener(server.listener)))
        if key not in self._servers_by_service:
            raise _refusal(errno.ESRCH)
        return self._servers_by_service[key]

    def _validated(self, server: RealServer) -> RealServer:
        """Return a real server as it is read back, if its values are in order."""
        if _is_mixed(server) and (self._daemons or server.forwarding is not Forwarding.TUN):
            raise _refusal(errno.EINVAL)
        if server.weight >= _INT32_LIMIT or server.lower_threshold > server.upper_threshold:
            raise _refusal(errno.ERANGE)
        tunnel = server.tunnel or Tunnel()
        if tunnel.type is TunnelType.GUE and tunnel.port == 0:
            raise _refusal(errno.EINVAL)
        effective_tunnel = tunnel if server.forwarding is Forwarding.TUN else None
        return replace(
            server, listener=_effective_listener(server.listener), tunnel=effective_tunnel
        )

    def _drop_counts(self, key: Key) -> None:
        """Forget what was counted for a real server that is gone."""
        self._connections.pop(key, None)
        self._counters.pop(key, None)

    def _all_servers(self) -> Iterator[RealServer]:
        return (
            server for servers in self._servers_by_service.values() for server in servers.values()
        )


def names_without(missing: frozenset[Scheduler]) -> frozenset[str]:
    """Return the schedulers and engines that gitvs has words for, but for `missing`."""
    return frozenset({*map(str, Scheduler), *map(str, PersistenceEngine)} - missing)


def _refusal(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _is_mixed(server: RealServer) -> bool:
    return family_of(server.address) is not server.listener.family


def _effective_listener(listener: Listener) -> Listener:
    """Return what the kernel takes a listener for: mark 0 is none."""
    if listener == FirewallMark(0, listener.family):
        return Endpoint(Protocol.TCP, _ANY_ADDRESS[listener.family], 0)
    return listener


def _as_read_back(service: VirtualService) -> VirtualService:
    """Return a virtual service as it is read back."""
    flags = service.flags & _FLAGS_BY_SCHEDULER.get(service.scheduler, _NO_FLAGS)
    persistence = service.persistence
    if persistence is not None:
        persistence = replace(
            persistence, timeout_seconds=_after_jiffies(persistence.timeout_seconds)
        )
    return replace(
        service,
        listener=_effective_listener(service.listener),
        flags=flags,
        persistence=persistence,
    )


def _after_jiffies(seconds: int) -> int:
    """Return a time after the kernel's way to jiffies and back, in 32 bits."""
    return seconds * JIFFIES_PER_SECOND % _UINT32_LIMIT // JIFFIES_PER_SECOND
