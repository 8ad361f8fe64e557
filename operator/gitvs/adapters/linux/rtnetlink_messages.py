"""rtnetlink messages: makes requests for changes, and decodes links, addresses and routes.

pyroute2 makes them. It does not decode them: it raises errors of many types for what is malformed,
and for a name that is not UTF-8.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from struct import Struct
from typing import Any

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl import (
    RTM_DELADDR,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWROUTE,
)
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD, ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from gitvs.adapters.linux.attributes import Attributes, decodes, name_text, unpack_attributes
from gitvs.adapters.linux.netlink import (
    APPEND,
    CREATE,
    EXCLUSIVE,
    Request,
)
from gitvs.core.model.observation import Link
from gitvs.core.model.resources import IPAddress, IPNetwork, LocalRoute, Vip

LOOPBACK = "lo"
GITVS_PROTOCOL = 71
"""Protocol number of the routes and addresses that gitvs makes; it survives restarts."""

# Source: Linux include/uapi/linux/rtnetlink.h
RTPROT_KERNEL, _RTN_LOCAL = 2, 2
_RT_SCOPE_UNIVERSE, _RT_SCOPE_HOST, _RT_SCOPE_NOWHERE = 0, 254, 255
_RT_TABLE_LOCAL = 255
_RTM_F_CLONED = 0x200
_HEADER_BYTES = 16  # struct nlmsghdr
_NEXT_HOP = Struct("=HBBI")  # struct rtnexthop: length, flags, hops, index of the link
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_MULTIPATH = 1, 4, 5, 7, 9
_RTA_TABLE, _RTA_VIA = 15, 18
_ROUTE = Struct("=BBBBBBBBI")
"""Family, lengths of destination and source, TOS, table, protocol, scope, type, flags."""
# Source: Linux include/uapi/linux/if_addr.h
_ADDRESS = Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
# Source: Linux include/uapi/linux/if_link.h, linux/rtnetlink.h
_LINK = Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, changed flags
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_IFALIAS = 3, 10, 18, 20
_IFLA_INFO_KIND, _IFLA_INFO_SLAVE_KIND = 1, 4
_INDEX = Struct("=I")

_ADDRESS_BYTES: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}

_ABSENT_ROUTE_ERRORS = frozenset({errno.ESRCH})
_ABSENT_ADDRESS_ERRORS = frozenset({errno.EADDRNOTAVAIL})


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
    gateways: tuple[IPAddress, ...]
    interface: str = ""


def add_vip(vip: Vip) -> list[Request]:
    """Return the requests that bind an address.

    IPv6 needs no duplicate address detection here: the link has no neighbours, and an address
    that waits for it receives nothing. IFA_PROTO exists since Linux 5.18; older kernels ignore
    it.

    Raises:
        OSError: ENODEV, no such interface.
    """
    return [Request(RTM_NEWADDR, _address_payload(vip), CREATE | EXCLUSIVE)]


def delete_vip(vip: Vip) -> list[Request]:
    """Return the requests that unbind an address; the kernel removes its own route with it.

    Raises:
        OSError: ENODEV, no such interface.
    """
    return [Request(RTM_DELADDR, _address_payload(vip))]


def restore_vip_route(vip: Vip) -> list[Request]:
    """Return the requests that restore the route that the kernel made for an address.

    For IPv4, the route has exactly the kernel's attributes, so that it is removed with the
    address. For IPv6 on a DOWN link, only the kernel can add the route, together with the
    address.

    Raises:
        OSError: ENODEV, no such interface.
    """
    if vip.address.version == 6:
        delete = Request(
            RTM_DELADDR, _address_payload(vip), tolerated_errors=_ABSENT_ADDRESS_ERRORS
        )
        return [delete, *add_vip(vip)]
    return [Request(RTM_NEWROUTE, _vip_route_payload(vip), CREATE | APPEND)]


def delete_vip_route(vip: Vip) -> list[Request]:
    """Return the requests that remove the kernel's own route of an address (undo of a repair).

    Raises:
        OSError: ENODEV, no such interface.
    """
    return [Request(RTM_DELROUTE, _vip_route_payload(vip), tolerated_errors=_ABSENT_ROUTE_ERRORS)]


def add_local_route(route: LocalRoute) -> list[Request]:
    """Return the requests that make a prefix local: `local PREFIX dev lo table local proto 71`."""
    index = _interface_index(LOOPBACK)
    payload = _local_route_payload(route.prefix, GITVS_PROTOCOL, [("RTA_OIF", index)])
    return [Request(RTM_NEWROUTE, payload, CREATE | EXCLUSIVE)]


def delete_local_route(route: LocalRoute) -> list[Request]:
    """Return the requests that make a prefix no longer local."""
    return [Request(RTM_DELROUTE, _local_route_payload(route.prefix, GITVS_PROTOCOL, []))]


def _address_payload(vip: Vip) -> bytes:
    text = str(vip.address)
    attributes: list[tuple[str, Any]] = [("IFA_ADDRESS", text), ("IFA_LOCAL", text)]
    attributes.append(("IFA_PROTO", GITVS_PROTOCOL))
    if vip.address.version == 6:
        attributes.append(("IFA_FLAGS", IFA_F_NODAD))
    fields = {
        "family": _family_number(vip.address),
        "prefixlen": vip.prefix_length,
        "scope": _RT_SCOPE_UNIVERSE,
        "index": _interface_index(vip.interface),
    }
    return _encode(ifaddrmsg, fields, attributes)


def _vip_route_payload(vip: Vip) -> bytes:
    """Return the route in table `local` that the kernel makes for an address.

    Source: Linux net/ipv4/fib_frontend.c, fib_add_ifaddr and fib_magic.
    """
    attributes: list[tuple[str, Any]] = [("RTA_OIF", _interface_index(vip.interface))]
    if vip.address.version == 4:
        attributes.append(("RTA_PREFSRC", str(vip.address)))
    return _local_route_payload(ip_network(vip.address), RTPROT_KERNEL, attributes)


def _local_route_payload(
    prefix: IPNetwork, protocol: int, attributes: list[tuple[str, Any]]
) -> bytes:
    fields = {
        "family": _family_number(prefix),
        "dst_len": prefix.prefixlen,
        "table": _RT_TABLE_LOCAL,
        "proto": protocol,
        "scope": _RT_SCOPE_HOST if prefix.version == 4 else _RT_SCOPE_UNIVERSE,
        "type": _RTN_LOCAL,
    }
    destination = ("RTA_DST", str(prefix.network_address))
    return _encode(rtmsg, fields, [destination, *attributes])


def _is_intact_vip_route(route: RouteMessage) -> bool:
    """Whether a kernel-made local route is for one address, for IPv4 with host scope and source."""
    if route.prefix.prefixlen != route.prefix.max_prefixlen:
        return False
    if route.prefix.version == 6:
        return True
    return route.scope == _RT_SCOPE_HOST and route.source_address == route.prefix.network_address


@decodes("a link")
def _decode_link(payload: bytes) -> tuple[int, Link, int | None]:
    """Return a link's index, the link, and the index of the VRF that it belongs to."""
    _, _, index, flags, _ = _LINK.unpack_from(payload)
    attributes = unpack_attributes(payload, _LINK.size)
    info = unpack_attributes(attributes.get(_IFLA_LINKINFO, b""))
    link = Link(
        name_text(attributes[_IFLA_IFNAME]),
        name_text(info.get(_IFLA_INFO_KIND, b"")),
        name_text(attributes.get(_IFLA_IFALIAS, b"")),
        bool(flags & IFF_UP),
    )
    is_in_vrf = name_text(info.get(_IFLA_INFO_SLAVE_KIND, b"")) == "vrf"
    return index, link, _INDEX.unpack(attributes[_IFLA_MASTER])[0] if is_in_vrf else None


@decodes("an address")
def _decode_address(payload: bytes) -> tuple[int, AddressMessage | None]:
    """Return the index of an address's link, and the address; None if it is not an IP address."""
    family, length, _, _, index = _ADDRESS.unpack_from(payload)
    if family not in _ADDRESS_BYTES:
        return index, None
    attributes = unpack_attributes(payload, _ADDRESS.size)
    peer = attributes.get(_IFA_ADDRESS)
    address = _ip_address(family, attributes.get(_IFA_LOCAL) or attributes[_IFA_ADDRESS])
    near = address if peer is None else _ip_address(family, peer)
    return index, AddressMessage(address, length, ip_network((near, length), strict=False))


@decodes("a route")
def _decode_route(payload: bytes) -> tuple[int, RouteMessage | None]:
    """Return the index of a route's link, and the route; None if it is a cached one."""
    family, length, _, _, table, protocol, scope, type_, flags = _ROUTE.unpack_from(payload)
    attributes = unpack_attributes(payload, _ROUTE.size)
    index = int.from_bytes(attributes.get(_RTA_OIF, b""), sys.byteorder)
    if flags & _RTM_F_CLONED or family not in _ADDRESS_BYTES:
        return index, None
    destination = attributes.get(_RTA_DST) or bytes(_ADDRESS_BYTES[family])
    preferred_source = attributes.get(_RTA_PREFSRC)
    table = int.from_bytes(attributes.get(_RTA_TABLE, b""), sys.byteorder) or table
    return index, RouteMessage(
        family,
        ip_network((_ip_address(family, destination), length)),
        type_ == _RTN_LOCAL and table == _RT_TABLE_LOCAL,
        protocol,
        scope,
        _ip_address(family, preferred_source) if preferred_source else None,
        tuple(_gateways(family, attributes)),
    )


def _gateways(family: int, route: Attributes) -> Iterator[IPAddress]:
    """Yield a route's next hops: its own, those of a multipath route, and IPv6 ones of IPv4."""
    for hop in (route, *_multipath_hops(route.get(_RTA_MULTIPATH, b""))):
        if gateway := hop.get(_RTA_GATEWAY):
            yield _ip_address(family, gateway)
        if via := hop.get(_RTA_VIA):
            yield _ip_address(int.from_bytes(via[:2], sys.byteorder), via[2:])


def _multipath_hops(data: bytes) -> Iterator[Attributes]:
    """Yield the attributes of each next hop of a multipath route."""
    offset = 0
    while offset < len(data):
        length, _, _, _ = _NEXT_HOP.unpack_from(data, offset)
        if length < _NEXT_HOP.size or offset + length > len(data):
            raise ValueError(f"next hop of {length} bytes")
        yield unpack_attributes(data[offset : offset + length], _NEXT_HOP.size)
        offset += length + 3 & ~3


def _ip_address(family: int, packed: bytes) -> IPAddress:
    if len(packed) != _ADDRESS_BYTES.get(family):
        raise ValueError(f"address of {len(packed)} bytes in family {family}")
    return ip_address(packed)


def _interface_index(interface: str) -> int:
    """Return the index of an interface.

    Raises:
        OSError: ENODEV; before Python 3.13, its own error has no errno.
    """
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), interface) from error


def _family_number(address: IPAddress | IPNetwork) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _encode(
    message_class: type[nlmsg], fields: dict[str, int], attributes: Sequence[tuple[str, Any]]
) -> bytes:
    encoded_message = message_class()
    for name, value in fields.items():
        encoded_message[name] = value
    encoded_message["attrs"] = list(attributes)
    encoded_message.encode()
    return bytes(encoded_message.data[_HEADER_BYTES:])
