"""Sees packets go by in a network namespace, and says which hop each was on.

Only TCP and UDP count; ARP, neighbour discovery and ICMP are left out.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address
from typing import NamedTuple, Self

_ETH_P_ALL = 0x0003
_ETH_P_IP = 0x0800
_ETH_P_IPV6 = 0x86DD
_PACKET_HOST = 0
_PACKET_OUTGOING = 4
_SO_RCVBUFFORCE = 33
_IPV6_EXTENSIONS = (0, 43, 60)
FIRST_EPHEMERAL_PORT = 32768
_BUFFER_BYTES = 16 << 20


class Hop(NamedTuple):
    """A kind of packet at one interface: which way, and from and to where.

    Clients' ephemeral ports are `*`, so that every packet of a connection in one direction is
    the same hop. `tunnel` is the pair of outer addresses of a tunnelled packet.
    """

    host: str
    interface: str
    direction: str
    source: str
    destination: str
    tunnel: str = ""

    def __str__(self) -> str:
        inside = f"  in {self.tunnel}" if self.tunnel else ""
        where = f"{self.host} {self.interface} {self.direction}"
        return f"{where:22} {self.source} -> {self.destination}{inside}"


class Capture:
    """Keeps the packets of the network namespace that it is made in, until they are read."""

    def __init__(self, host: str, interfaces: tuple[str, ...]) -> None:
        self._host = host
        self._interfaces = interfaces
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)

    def read(self) -> set[Hop]:
        """Return the hops seen since the last time.

        They have no order: a guest's clock is too coarse to sort those of several hosts.
        """
        seen: set[Hop] = set()
        while True:
            try:
                data, address = self._socket.recvfrom(256)
            except BlockingIOError:
                return seen
            interface, protocol, packet_type = address[:3]
            direction = {_PACKET_HOST: "in", _PACKET_OUTGOING: "out"}.get(packet_type)
            if interface not in self._interfaces or direction is None:
                continue
            if (packet := _parse(protocol, data)) is not None:
                seen.add(Hop(self._host, interface, direction, *packet))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def endpoint(address: str, port: int) -> str:
    """Return how a hop writes an address and port."""
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{'*' if port >= FIRST_EPHEMERAL_PORT else port}"


def tunnel(source: str, destination: str) -> str:
    """Return how a hop writes the outer addresses of a tunnel."""
    return f"{source} -> {destination}"


def _parse(ethernet_protocol: int, data: bytes) -> tuple[str, str, str] | None:
    """Return source, destination and tunnel of a TCP or UDP packet."""
    if ethernet_protocol == _ETH_P_IP:
        return _parse_ipv4(data)
    return _parse_ipv6(data) if ethernet_protocol == _ETH_P_IPV6 else None


def _parse_ipv4(data: bytes) -> tuple[str, str, str] | None:
    header_length = (data[0] & 0x0F) * 4
    source, destination = str(ip_address(data[12:16])), str(ip_address(data[16:20]))
    return _parse_payload(data[9], data[header_length:], source, destination)


def _parse_ipv6(data: bytes) -> tuple[str, str, str] | None:
    protocol, payload = data[6], data[40:]
    while protocol in _IPV6_EXTENSIONS:
        protocol, payload = payload[0], payload[(payload[1] + 1) * 8 :]
    source, destination = str(ip_address(data[8:24])), str(ip_address(data[24:40]))
    return _parse_payload(protocol, payload, source, destination)


def _parse_payload(
    protocol: int, payload: bytes, source: str, destination: str
) -> tuple[str, str, str] | None:
    if protocol in (socket.IPPROTO_IPIP, socket.IPPROTO_IPV6):
        inner = _parse_ipv4(payload) if protocol == socket.IPPROTO_IPIP else _parse_ipv6(payload)
        return (inner[0], inner[1], tunnel(source, destination)) if inner is not None else None
    if protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        return None
    source_port, destination_port = struct.unpack_from(">HH", payload)
    return endpoint(source, source_port), endpoint(destination, destination_port), ""
