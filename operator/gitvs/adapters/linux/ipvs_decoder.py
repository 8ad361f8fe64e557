"""Decodes dumps of IPVS; objects that are known or expected are not decoded again.

In a message, the kernel writes the configuration first, then the counters, which have the same
length in every message. So the bytes of the configuration identify an object that is known from
the last dump, and only the counters are decoded each time. A first dump is compared with the
bytes that the kernel writes of what is expected there. Whatever else is in a dump, and messages
of another shape, are left to `ipvs_codec`.
Source: Linux net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_fill_service, ip_vs_genl_fill_dest.
"""

from __future__ import annotations

from struct import Struct

from gitvs.adapters.linux.attributes import ATTRIBUTE, decodes, unpack_attributes
from gitvs.adapters.linux.ipvs_codec import replies, requests
from gitvs.adapters.linux.ipvs_codec.replies import ZERO_COUNTERS, Unnamed
from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resources import Key, Listener, RealServer, VirtualService
from gitvs.core.model.state import State

_CONNECTIONS = Struct("=HHI HHI HHI")  # active, inactive, persistent
_CONNECTION_HEADERS = (8, 7, 8, 8, 8, 9)
_ZERO_CONNECTIONS_BYTES = _CONNECTIONS.pack(8, 7, 0, 8, 8, 0, 8, 9, 0)
_FAMILY_BYTES = 8
"""The address family is between connections and counters."""
_STATS, _STATS64 = 10, 12
_STATS64_BYTES = 124
_STATS64_HEADER = ATTRIBUTE.pack(_STATS64_BYTES, _STATS64)
"""Ten numbers of 64 bits without padding, and nothing after them, as most machines send them."""
_TYPE_MASK = 0x3FFF
_OBJECT_OFFSET = 8
"""The offset after the headers of the command and of the attribute that contains the object."""
_ZERO_CONNECTIONS = ConnectionCounts()

ServerReading = tuple[RealServer | Unnamed, ConnectionCounts, Counters]


class IpvsDecoder:
    """Decodes one kernel's dumps; it remembers the last dump of each virtual service."""

    def __init__(self) -> None:
        self._expected = State()
        self._services_by_configuration: dict[bytes, VirtualService | Unnamed] = {}
        self._servers_by_service: dict[Key, dict[bytes, RealServer | Unnamed]] = {}
        self._stats_bytes, self._stats_header = 0, b""
        self._stats64_offset = 0
        self._idle_stats = b""

    def expect(self, expected: State) -> None:
        """Return these objects for what is found to be equal, instead of decoding it.

        For a first reading, comparing takes a third of the time of decoding.
        """
        self._expected = expected

    @decodes("virtual services")
    def decode_services(
        self, payloads: list[bytes]
    ) -> list[tuple[VirtualService | Unnamed, Counters]]:
        """Decode a dump of the virtual services."""
        former, known = self._services_by_configuration, {}
        candidates = former
        if payloads and not former:
            services = self._expected.of_type(VirtualService)
            candidates = {requests.service_configuration(s): s for s in services}
        decoded = []
        is_changed = False
        for payload in payloads:
            stats_offset, counters = self._decode_counters(payload)
            configuration = payload[_OBJECT_OFFSET:stats_offset]
            service = candidates.get(configuration)
            if service is None:
                is_changed = True
                service = replies.decode_service_configuration(configuration)
            known[configuration] = service
            decoded.append((service, counters))
        if is_changed or not len(known) == len(former) >= len(self._servers_by_service):
            self._forget_other_services(known)
        return decoded

    def _forget_other_services(self, known: dict[bytes, VirtualService | Unnamed]) -> None:
        self._services_by_configuration = known
        service_keys = {s.key for s in known.values() if isinstance(s, VirtualService)}
        self._servers_by_service = {
            key: known for key, known in self._servers_by_service.items() if key in service_keys
        }

    @decodes("real servers")
    def decode_real_servers(self, payloads: list[bytes], listener: Listener) -> list[ServerReading]:
        """Decode a dump of the real servers of one virtual service."""
        candidates = self._servers_by_service.get(listener.key) or {
            requests.real_server_configuration(r): r
            for r in self._expected.groups.get(listener.key, {}).values()
            if type(r) is RealServer
        }
        known: dict[bytes, RealServer | Unnamed] = {}
        decoded: list[ServerReading] = []
        for payload in payloads:
            stats_offset, counters = self._decode_counters(payload)
            family_offset = stats_offset - _FAMILY_BYTES
            connections_offset = family_offset - _CONNECTIONS.size
            if connections_offset >= _OBJECT_OFFSET and payload.startswith(
                _ZERO_CONNECTIONS_BYTES, connections_offset
            ):
                connections = _ZERO_CONNECTIONS
            elif (found := _decode_connections(payload, connections_offset)) is not None:
                connections = found
            else:
                decoded.append(replies.decode_real_server(payload, listener))
                continue
            configuration = (
                payload[_OBJECT_OFFSET:connections_offset] + payload[family_offset:stats_offset]
            )
            server = candidates.get(configuration)
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
        if self._idle_stats and payload.endswith(self._idle_stats):
            return offset, ZERO_COUNTERS
        stats = payload[offset:]
        if not stats or stats[: ATTRIBUTE.size] != self._stats_header:
            offset = _attribute_offset(payload, _STATS)
            stats = payload[offset:]
            self._stats_bytes, self._stats_header = len(stats), stats[: ATTRIBUTE.size]
            self._idle_stats = b""
            self._stats64_offset = ATTRIBUTE.unpack_from(stats)[0] + 3 & ~3 if stats else 0
        stats64_offset = len(stats) - _STATS64_BYTES
        if (
            stats64_offset == self._stats64_offset
            and stats[stats64_offset : stats64_offset + ATTRIBUTE.size] == _STATS64_HEADER
        ):
            counters = replies.decode_counters(stats[stats64_offset + ATTRIBUTE.size :])
        else:
            counters = replies.decode_counters(unpack_attributes(stats).get(_STATS64, b""))
        if counters is ZERO_COUNTERS:
            self._idle_stats = stats
        return offset, counters


def _decode_connections(payload: bytes, offset: int) -> ConnectionCounts | None:
    """Return the connections at an offset; None if something else is there."""
    numbers = _CONNECTIONS.unpack_from(payload, offset) if offset >= _OBJECT_OFFSET else ()
    if numbers[0:2] + numbers[3:5] + numbers[6:8] != _CONNECTION_HEADERS:
        return None
    return ConnectionCounts._make(numbers[2::3])


def _attribute_offset(payload: bytes, wanted_type: int) -> int:
    """Return the offset of an attribute of the object; the end if it has none."""
    offset = _OBJECT_OFFSET
    while offset + ATTRIBUTE.size <= len(payload):
        length, type_ = ATTRIBUTE.unpack_from(payload, offset)
        if type_ & _TYPE_MASK == wanted_type:
            return offset
        if length < ATTRIBUTE.size:
            break
        offset += length + 3 & ~3
    return len(payload)
