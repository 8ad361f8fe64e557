"""Decodes repeated dumps of IPVS; objects that did not change are not decoded again.

In a message, the kernel writes the configuration first, then the counters, which have the same
length in every message. So the bytes of the configuration identify an object that is known from
the last dump or from a write, and only the counters are decoded each time. Messages of another
shape are left to `ipvs_codec`.
Source: Linux net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_fill_service, ip_vs_genl_fill_dest.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from gitvs.adapters.linux.attributes import decodes, unpack_attributes
from gitvs.adapters.linux.ipvs_codec import replies
from gitvs.adapters.linux.ipvs_codec.replies import ZERO_COUNTERS, Unnamed
from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resources import Forwarding, Key, Listener, RealServer, VirtualService

_ATTRIBUTE = Struct("=HH")
_CONNECTIONS = Struct("=HHI HHI HHI")  # active, inactive, persistent
_CONNECTION_HEADERS = (8, 7, 8, 8, 8, 9)
_ZERO_CONNECTIONS_BYTES = _CONNECTIONS.pack(8, 7, 0, 8, 8, 0, 8, 9, 0)
_FAMILY_BYTES = 8
"""The address family is between connections and counters."""
_STATS, _STATS64 = 10, 12
_TYPE_MASK = 0x3FFF
_OBJECT_OFFSET = 8
"""After the headers of the command and of the one attribute that contains the object."""
_ZERO_CONNECTIONS = ConnectionCounts()


class IpvsDecoder:
    """Decodes one kernel's dumps; it remembers the last dump of each virtual service."""

    def __init__(self) -> None:
        self._services_by_configuration: dict[bytes, VirtualService | Unnamed] = {}
        self._servers_by_service: dict[Key, dict[bytes, RealServer | Unnamed]] = {}
        self._stats_bytes, self._stats_header = 0, b""
        self._idle_stats: bytes | None = None

    def remember_written(self, servers: Iterable[RealServer]) -> None:
        """Remember written real servers, so that they need no decoding if read back unchanged."""
        for server in servers:
            if (server.tunnel is None) != (server.forwarding is Forwarding.TUN):
                known = self._servers_by_service.setdefault(server.service_key, {})
                known[replies.encode_real_server_configuration(server)] = server

    @decodes("virtual services")
    def decode_services(
        self, payloads: list[bytes]
    ) -> list[tuple[VirtualService | Unnamed, Counters]]:
        """Decode a dump of the virtual services."""
        former, self._services_by_configuration = self._services_by_configuration, {}
        decoded = []
        for payload in payloads:
            stats_offset, counters = self._decode_counters(payload)
            configuration = payload[_OBJECT_OFFSET:stats_offset]
            service = former.get(configuration)
            if service is None:
                service = replies.decode_service_configuration(configuration)
            self._services_by_configuration[configuration] = service
            decoded.append((service, counters))
        service_keys = {
            s.key for s in self._services_by_configuration.values() if isinstance(s, VirtualService)
        }
        self._servers_by_service = {
            key: known for key, known in self._servers_by_service.items() if key in service_keys
        }
        return decoded

    @decodes("real servers")
    def decode_real_servers(
        self, payloads: list[bytes], listener: Listener
    ) -> list[tuple[RealServer | Unnamed, ConnectionCounts, Counters]]:
        """Decode a dump of the real servers of one virtual service."""
        former = self._servers_by_service.get(listener.key, {})
        known: dict[bytes, RealServer | Unnamed] = {}
        decoded = []
        for payload in payloads:
            stats_offset, counters = self._decode_counters(payload)
            family_offset = stats_offset - _FAMILY_BYTES
            connections_offset = family_offset - _CONNECTIONS.size
            connections = _decode_connections(payload, connections_offset)
            if connections is None:
                decoded.append(replies.decode_real_server(payload, listener))
                continue
            configuration = (
                payload[_OBJECT_OFFSET:connections_offset] + payload[family_offset:stats_offset]
            )
            server = former.get(configuration)
            if server is None:
                server = replies.decode_real_server_configuration(configuration, listener)
            known[configuration] = server
            decoded.append((server, connections, counters))
        self._servers_by_service[listener.key] = known
        return decoded

    def _decode_counters(self, payload: bytes) -> tuple[int, Counters]:
        """Return the offset of the counters, and the counters.

        Usually the counters are as far from the end as in the message before, and most are
        idle.
        """
        offset = len(payload) - self._stats_bytes
        stats = payload[offset:]
        if stats == self._idle_stats:
            return offset, ZERO_COUNTERS
        if not stats or stats[: _ATTRIBUTE.size] != self._stats_header:
            offset = _attribute_offset(payload, _STATS)
            stats = payload[offset:]
            self._stats_bytes, self._stats_header = len(stats), stats[: _ATTRIBUTE.size]
        counters = replies.decode_counters(unpack_attributes(stats).get(_STATS64, b""))
        if counters is ZERO_COUNTERS and stats:
            self._idle_stats = stats
        return offset, counters


def _decode_connections(payload: bytes, offset: int) -> ConnectionCounts | None:
    """Return the connections at an offset; None if something else is there."""
    if payload[offset : offset + _CONNECTIONS.size] == _ZERO_CONNECTIONS_BYTES:
        return _ZERO_CONNECTIONS
    numbers = _CONNECTIONS.unpack_from(payload, offset) if offset >= _OBJECT_OFFSET else ()
    if numbers[0:2] + numbers[3:5] + numbers[6:8] != _CONNECTION_HEADERS:
        return None
    return ConnectionCounts(*numbers[2::3])


def _attribute_offset(payload: bytes, wanted_type: int) -> int:
    """Return the offset of an attribute of the object; the end if it has none."""
    offset = _OBJECT_OFFSET
    while offset + _ATTRIBUTE.size <= len(payload):
        length, type_ = _ATTRIBUTE.unpack_from(payload, offset)
        if type_ & _TYPE_MASK == wanted_type:
            return offset
        if length < _ATTRIBUTE.size:
            break
        offset += length + 3 & ~3
    return len(payload)
