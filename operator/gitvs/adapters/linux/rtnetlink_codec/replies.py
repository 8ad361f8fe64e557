"""rtnetlink replies: the kernel's messages about links, addresses and routes.

They are decoded here, and not by pyroute2: it raises errors of many types for what is malformed,
and for a name that is not UTF-8.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from struct import Struct

from gitvs.adapters.linux.attributes import Attributes, decodes, name_text, unpack_attributes
from gitvs.adapters.linux.rtnetlink_codec.numbers import (
    ADDRESS,
    ADDRESS_BYTES,
    IFA_ADDRESS,
    IFA_LOCAL,
    IFF_UP,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    LINK,
    NEXT_HOP,
    ROUTE,
    RT_SCOPE_HOST,
    RT_TABLE_LOCAL,
    RTA_DST,
    RTA_GATEWAY,
    RTA_MULTIPATH,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_TABLE,
    RTA_VIA,
    RTM_F_CLONED,
    RTN_LOCAL,
)
from gitvs.core.model.observation import DEFAULT_MTU, Link
from gitvs.core.model.resources import IPAddress, IPNetwork

_INDEX = Struct("=I")


@dataclass(frozen=True, slots=True)
class AddressMessage:
    """The content of one message about an address."""

    address: IPAddress
    prefix_length: int
    network: IPNetwork
    """The prefix of its neighbours: the peer's, if there is one."""
    interface: str = ""


@dataclass(frozen=True, slots=True)
class RouteMessage:
    """The content of one message about a route."""

    family: int
    prefix: IPNetwork
    is_local: bool
    """Of type local, in table local."""
    protocol: int
    scope: int
    source_address: IPAddress | None
    interface: str = ""


def is_intact_vip_route(route: RouteMessage) -> bool:
    """Whether a kernel-made local route is for one address, for IPv4 with host scope and source."""
    if route.prefix.prefixlen != route.prefix.max_prefixlen:
        return False
    if route.prefix.version == 6:
        return True
    return route.scope == RT_SCOPE_HOST and route.source_address == route.prefix.network_address


@decodes("a link")
def decode_link(payload: bytes) -> tuple[int, Link, int | None]:
    """Return a link's index, the link, and the index of the VRF that it belongs to."""
    _, _, index, flags, _ = LINK.unpack_from(payload)
    attributes = unpack_attributes(payload, LINK.size)
    info = unpack_attributes(attributes.get(IFLA_LINKINFO, b""))
    link = Link(
        name_text(attributes[IFLA_IFNAME]),
        name_text(info.get(IFLA_INFO_KIND, b"")),
        name_text(attributes.get(IFLA_IFALIAS, b"")),
        bool(flags & IFF_UP),
        mtu=int.from_bytes(attributes.get(IFLA_MTU, b""), sys.byteorder) or DEFAULT_MTU,
    )
    is_in_vrf = name_text(info.get(IFLA_INFO_SLAVE_KIND, b"")) == "vrf"
    return index, link, _INDEX.unpack(attributes[IFLA_MASTER])[0] if is_in_vrf else None


@decodes("an address")
def decode_address(payload: bytes) -> tuple[int, AddressMessage | None]:
    """Return the index of an address's link, and the address; None if it is not an IP address."""
    family, length, _, _, index = ADDRESS.unpack_from(payload)
    if family not in ADDRESS_BYTES:
        return index, None
    attributes = unpack_attributes(payload, ADDRESS.size)
    peer = attributes.get(IFA_ADDRESS)
    address = _ip_address(family, attributes.get(IFA_LOCAL) or attributes[IFA_ADDRESS])
    near = address if peer is None else _ip_address(family, peer)
    return index, AddressMessage(address, length, ip_network((near, length), strict=False))


@decodes("a route")
def decode_route(payload: bytes) -> tuple[int, RouteMessage | None]:
    """Return the index of a route's link, and the route; None if it is a cached one."""
    family, length, _, _, table, protocol, scope, type_, flags = ROUTE.unpack_from(payload)
    attributes = unpack_attributes(payload, ROUTE.size)
    index = int.from_bytes(attributes.get(RTA_OIF, b""), sys.byteorder)
    if flags & RTM_F_CLONED or family not in ADDRESS_BYTES:
        return index, None
    destination = attributes.get(RTA_DST) or bytes(ADDRESS_BYTES[family])
    preferred_source = attributes.get(RTA_PREFSRC)
    table = int.from_bytes(attributes.get(RTA_TABLE, b""), sys.byteorder) or table
    return index, RouteMessage(
        family,
        ip_network((_ip_address(family, destination), length)),
        type_ == RTN_LOCAL and table == RT_TABLE_LOCAL,
        protocol,
        scope,
        _ip_address(family, preferred_source) if preferred_source else None,
    )


@decodes("a route")
def decode_gateways(payload: bytes) -> tuple[int, frozenset[IPAddress]]:
    """Return the family of a route, and its gateways; none if it is a cached one."""
    family, _, _, _, _, _, _, _, flags = ROUTE.unpack_from(payload)
    if flags & RTM_F_CLONED or family not in ADDRESS_BYTES:
        return family, frozenset()
    return family, frozenset(_gateways(family, unpack_attributes(payload, ROUTE.size)))


def _gateways(family: int, route: Attributes) -> Iterator[IPAddress]:
    """Yield a route's next hops: its own, those of a multipath route, and IPv6 ones of IPv4."""
    for hop in (route, *_multipath_hops(route.get(RTA_MULTIPATH, b""))):
        if gateway := hop.get(RTA_GATEWAY):
            yield _ip_address(family, gateway)
        if via := hop.get(RTA_VIA):
            yield _ip_address(int.from_bytes(via[:2], sys.byteorder), via[2:])


def _multipath_hops(data: bytes) -> Iterator[Attributes]:
    """Yield the attributes of each next hop of a multipath route."""
    offset = 0
    while offset < len(data):
        length, _, _, _ = NEXT_HOP.unpack_from(data, offset)
        if length < NEXT_HOP.size or offset + length > len(data):
            raise ValueError(f"next hop of {length} bytes")
        yield unpack_attributes(data[offset : offset + length], NEXT_HOP.size)
        offset += length + 3 & ~3


def _ip_address(family: int, packed: bytes) -> IPAddress:
    if len(packed) != ADDRESS_BYTES.get(family):
        raise ValueError(f"address of {len(packed)} bytes in family {family}")
    return ip_address(packed)
