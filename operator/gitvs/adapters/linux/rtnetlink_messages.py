"""rtnetlink messages: makes requests for changes, and decodes addresses and routes."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl import (
    RTM_DELADDR,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWROUTE,
)
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD, ifaddrmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from gitvs.adapters.linux.netlink import (
    APPEND,
    CREATE,
    EXCLUSIVE,
    Request,
)
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


def _decode_address(payload: bytes) -> tuple[int, AddressMessage | None]:
    """Return the index of an address's link, and the address; None if it is not an IP address."""
    message = _decode(ifaddrmsg, payload)
    if message["family"] not in (socket.AF_INET, socket.AF_INET6):
        return message["index"], None
    peer = message.get_attr("IFA_ADDRESS")
    address = ip_address(message.get_attr("IFA_LOCAL") or peer)
    length = message["prefixlen"]
    network = ip_network((peer or address, length), strict=False)
    return message["index"], AddressMessage(address, length, network)


def _decode_route(payload: bytes) -> tuple[int, RouteMessage | None]:
    """Return the index of a route's link, and the route; None if it is a cached one."""
    message = _decode(rtmsg, payload)
    index = message.get_attr("RTA_OIF") or 0
    if message["flags"] & _RTM_F_CLONED:
        return index, None
    family = message["family"]
    any_address = "0.0.0.0" if family == socket.AF_INET else "::"
    destination = message.get_attr("RTA_DST") or any_address
    preferred_source = message.get_attr("RTA_PREFSRC")
    table = message.get_attr("RTA_TABLE") or message["table"]
    return index, RouteMessage(
        family,
        ip_network(f"{destination}/{message['dst_len']}"),
        message["type"] == _RTN_LOCAL and table == _RT_TABLE_LOCAL,
        message["proto"],
        message["scope"],
        ip_address(preferred_source) if preferred_source else None,
        tuple(_gateways(message)),
    )


def _gateways(message: Any) -> Iterator[IPAddress]:
    """Yield a route's next hops: its own, those of a multipath route, and IPv6 ones of IPv4."""
    hops = [message, *(message.get_attr("RTA_MULTIPATH") or [])]
    for hop in hops:
        gateway = hop.get_attr("RTA_GATEWAY")
        via = hop.get_attr("RTA_VIA")
        if gateway:
            yield ip_address(gateway)
        if via:
            yield ip_address(via["addr"])


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


def _decode(message_class: type[nlmsg], payload: bytes) -> Any:
    """Return a message decoded by pyroute2, which needs the header that was removed."""
    length = _HEADER_BYTES + len(payload)
    decoded_message = message_class(
        length.to_bytes(4, sys.byteorder) + bytes(_HEADER_BYTES - 4) + payload
    )
    decoded_message.decode()
    return decoded_message
