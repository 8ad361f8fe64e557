"""Dumps of IPVS, decoded again and again: what has not changed is the object that it was.

The kernel writes first what is configured, then what is counted, which is as long in every
message. So the former, as bytes, tells whether an object is known, from the last dump or
because it was written; only the latter is decoded each time. A message of another shape is
left to `ipvs_codec`.
Source: Linux net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_fill_service, ip_vs_genl_fill_dest.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from gitvs.adapters.linux.ipvs_codec import numbers, replies
from gitvs.adapters.linux.ipvs_codec.replies import NOT_COUNTED, Unnamed
from gitvs.core.model.observation import Connections, Counters
from gitvs.core.model.resources import Forwarding, Key, Listener, RealServer, VirtualService

_ATTRIBUTE = Struct("=HH")
_CONNECTIONS = Struct("=HHI HHI HHI")  # active, inactive, persistent
_CONNECTION_HEADERS = (8, 7, 8, 8, 8, 9)
_NO_CONNECTIONS = _CONNECTIONS.pack(8, 7, 0, 8, 8, 0, 8, 9, 0)
_FAMILY_BYTES = 8
"""The address family stands between connections and counters."""
_STATS, _STATS64 = 10, 12
_TYPE_MASK = 0x3FFF
_OBJECT_AT = 8
"""After the command's header, and that of the one attribute that holds the object."""
_IDLE = Connections()


class IpvsDecoder:
    """Decodes one kernel's dumps. It keeps what the last dump of each virtual service held."""

    def __init__(self) -> None:
        self._services: dict[bytes, VirtualService | Unnamed] = {}
        self._servers: dict[Key, dict[bytes, RealServer | Unnamed]] = {}
        self._stats_bytes, self._stats_header = 0, b""
        self._idle_stats: bytes | None = None

    def expect(self, servers: Iterable[RealServer]) -> None:
        """Know real servers that were written, as soon as they are read as they were written."""
        for server in servers:
            if (server.tunnel is None) != (server.forwarding is Forwarding.TUN):
                known = self._servers.setdefault(server.service_key, {})
                known[replies.configuration(server)] = server

    def services(self, payloads: list[bytes]) -> list[tuple[VirtualService | Unnamed, Counters]]:
        """Decode a dump of the virtual services."""
        former, self._services = self._services, {}
        found = []
        for payload in payloads:
            stats_at, counters = self._counters(payload)
            configured = payload[_OBJECT_AT:stats_at]
            service = former.get(configured)
            if service is None:
                service = replies.configured_service(configured)
            self._services[configured] = service
            found.append((service, counters))
        kept = {s.key for s in self._services.values() if isinstance(s, VirtualService)}
        self._servers = {key: known for key, known in self._servers.items() if key in kept}
        return found

    def real_servers(
        self, payloads: list[bytes], listener: Listener
    ) -> list[tuple[RealServer | Unnamed, Connections, Counters]]:
        """Decode a dump of the real servers of one virtual service."""
        former = self._servers.get(listener.key, {})
        known: dict[bytes, RealServer | Unnamed] = {}
        found = []
        for payload in payloads:
            stats_at, counters = self._counters(payload)
            family_at = stats_at - _FAMILY_BYTES
            at = family_at - _CONNECTIONS.size
            connections = _connections(payload, at)
            if connections is None:
                found.append(replies.real_server_from(payload, listener))
                continue
            configured = payload[_OBJECT_AT:at] + payload[family_at:stats_at]
            server = former.get(configured)
            if server is None:
                server = replies.configured_real_server(configured, listener)
            known[configured] = server
            found.append((server, connections, counters))
        self._servers[listener.key] = known
        return found

    def _counters(self, payload: bytes) -> tuple[int, Counters]:
        """Return where the counters begin, and what they say.

        As a rule they begin as far from the end as in the message before, and most are idle.
        """
        at = len(payload) - self._stats_bytes
        stats = payload[at:]
        if stats == self._idle_stats:
            return at, NOT_COUNTED
        if not stats or stats[: _ATTRIBUTE.size] != self._stats_header:
            at = _attribute_at(payload, _STATS)
            stats = payload[at:]
            self._stats_bytes, self._stats_header = len(stats), stats[: _ATTRIBUTE.size]
        counters = replies.counters_from(numbers.unpack_attributes(stats).get(_STATS64, b""))
        if counters is NOT_COUNTED and stats:
            self._idle_stats = stats
        return at, counters


def _connections(payload: bytes, at: int) -> Connections | None:
    """Return the connections that stand at a place; None: something else does."""
    if payload[at : at + _CONNECTIONS.size] == _NO_CONNECTIONS:
        return _IDLE
    numbers = _CONNECTIONS.unpack_from(payload, at) if at >= _OBJECT_AT else ()
    if numbers[0:2] + numbers[3:5] + numbers[6:8] != _CONNECTION_HEADERS:
        return None
    return Connections(*numbers[2::3])


def _attribute_at(payload: bytes, wanted: int) -> int:
    """Return where an attribute of the object begins; the end if it has none."""
    at = _OBJECT_AT
    while at + _ATTRIBUTE.size <= len(payload):
        length, type_ = _ATTRIBUTE.unpack_from(payload, at)
        if type_ & _TYPE_MASK == wanted:
            return at
        if length < _ATTRIBUTE.size:
            break
        at += length + 3 & ~3
    return len(payload)
