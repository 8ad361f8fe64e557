"""rtnetlink requests: changes to the messages that the kernel reads.

Only this module loads pyroute2, which takes 150 ms and 20 MB, so it is imported with the first
change of a link, an address or a route.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from gitvs.adapters.linux.attributes import HEADER
from gitvs.adapters.linux.netlink import APPEND, CREATE, EXCLUSIVE, Request
from gitvs.adapters.linux.rtnetlink_codec.numbers import (
    GITVS_PROTOCOL,
    IFA_F_NODAD,
    RT_SCOPE_HOST,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_LOCAL,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTN_LOCAL,
    RTPROT_KERNEL,
)
from gitvs.core.model.resources import IPAddress, IPNetwork, LocalRoute, Vip
from gitvs.core.planning.plan import Change

LOOPBACK = "lo"

_ABSENT_ROUTE_ERRORS = frozenset({errno.ESRCH})
_ABSENT_ADDRESS_ERRORS = frozenset({errno.EADDRNOTAVAIL})


def address_requests(change: Change) -> list[Request]:
    """Return the requests of a change of an address or a local route.

    Raises:
        OSError: ENODEV, no such interface.
    """
    match change.resource:
        case Vip() as vip:
            return _vip_requests(change, vip)
        case LocalRoute() as route:
            return delete_local_route(route) if change.after is None else add_local_route(route)
        case _:
            raise AssertionError(f"{change.key} is neither an address nor a route")


def _vip_requests(change: Change, vip: Vip) -> list[Request]:
    if change.after is None:
        return delete_vip(vip)
    if change.before is None:
        return add_vip(vip)
    return restore_vip_route(vip) if vip.has_route else delete_vip_route(vip)


def add_dummy(name: str) -> Request:
    """Return the request that makes a dummy interface, DOWN."""
    kind = {"attrs": [("IFLA_INFO_KIND", "dummy")]}
    payload = _encode(ifinfmsg, {}, [("IFLA_IFNAME", name), ("IFLA_LINKINFO", kind)])
    return Request(RTM_NEWLINK, payload, CREATE | EXCLUSIVE)


def delete_link(name: str) -> Request:
    """Return the request that deletes an interface, with its addresses and their routes."""
    return Request(RTM_DELLINK, _encode(ifinfmsg, {}, [("IFLA_IFNAME", name)]))


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
        "scope": RT_SCOPE_UNIVERSE,
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
        "table": RT_TABLE_LOCAL,
        "proto": protocol,
        "scope": RT_SCOPE_HOST if prefix.version == 4 else RT_SCOPE_UNIVERSE,
        "type": RTN_LOCAL,
    }
    destination = ("RTA_DST", str(prefix.network_address))
    return _encode(rtmsg, fields, [destination, *attributes])


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
    return bytes(encoded_message.data[HEADER.size :])
