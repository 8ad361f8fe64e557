"""Dumps of IPVS, decoded again and again: what has not changed is the object that it was.

The kernel writes first what is configured, then what is counted, which is as long in every
message. So the former, as bytes, tells whether an object is known; only the latter is
decoded each time. A message of another shape is left to `ipvs_codec`.
Source: Linux net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_fill_service, ip_vs_genl_fill_dest.
"""

from __future__ import annotations

from struct import Struct

from gitvs.adapters import ipvs_codec as codec
from gitvs.adapters.ipvs_codec import Unnamed
from gitvs.core.model import Connections, Counters, Key, Listener, RealServer, VirtualService

_ATTRIBUTE = Struct("=HH")
_CONNECTIONS = Struct("=HHI HHI HHI HHHxx")  # active, inactive, persistent, address family
_CONNECTION_HEADERS = (8, 7, 8, 8, 8, 9, 6, 11)
_STATS, _STATS64 = 10, 12
_TYPE_MASK = 0x3FFF
_OBJECT_AT = 8
"""After the command's header, and that of the one attribute that holds the object."""
_IDLE, _NOT_COUNTED = Connections(), Counters()


class IpvsDecoder:
    """Decodes one kernel's dumps. It keeps what the last dump of each virtual service held."""

    def __init__(self) -> None:
        self._services: dict[bytes, VirtualService | Unnamed] = {}
        self._servers: dict[Key, dict[bytes, RealServer | Unnamed]] = {}
        self._stats_bytes, self._stats_header = 0, b""
        self._idle_stats = b""

    def services(self, payloads: list[bytes]) -> list[tuple[VirtualService | Unnamed, Counters]]:
        """Decode a dump of the virtual services."""
        former, self._services = self._services, {}
        found = []
        for payload in payloads:
            stats_at = self._stats_at(payload)
            configured = payload[_OBJECT_AT:stats_at]
            service = former.get(configured)
            if service is None:
                service, _ = codec.service_from(payload)
            self._services[configured] = service
            found.append((service, self._counters(payload, stats_at)))
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
            stats_at = self._stats_at(payload)
            at = stats_at - _CONNECTIONS.size
            numbers = _CONNECTIONS.unpack_from(payload, at) if at >= _OBJECT_AT else ()
            if numbers[0:2] + numbers[3:5] + numbers[6:8] + numbers[9:11] != _CONNECTION_HEADERS:
                found.append(codec.real_server_from(payload, listener))
                continue
            configured = payload[_OBJECT_AT:at] + payload[at + 24 : stats_at]
            server = former.get(configured)
            if server is None:
                server, _, _ = codec.real_server_from(payload, listener)
            known[configured] = server
            counts = numbers[2:9:3]
            connections = Connections(*counts) if any(counts) else _IDLE
            found.append((server, connections, self._counters(payload, stats_at)))
        self._servers[listener.key] = known
        return found

    def _stats_at(self, payload: bytes) -> int:
        """Return where the counters begin: as far from the end as in the message before."""
        at = len(payload) - self._stats_bytes
        if not self._stats_bytes or payload[at : at + 4] != self._stats_header:
            at = _attribute_at(payload, _STATS)
            self._stats_bytes = len(payload) - at
            self._stats_header = payload[at : at + 4]
        return at

    def _counters(self, payload: bytes, stats_at: int) -> Counters:
        stats = payload[stats_at:]
        if stats == self._idle_stats:
            return _NOT_COUNTED
        counters = codec.counters_from(codec.unpack_attributes(stats).get(_STATS64, b""))
        if counters == _NOT_COUNTED:
            self._idle_stats = stats
            return _NOT_COUNTED
        return counters


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
