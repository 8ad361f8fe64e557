"""Links, addresses and routes of one network namespace.

Messages are encoded and decoded by pyroute2, the conversation is `netlink`'s: batches, and
no answer taken for granted. The dummy interface is made DOWN and never toggled: an address on
a DOWN dummy gets its local route all the same, and setting it down deletes IPv6 addresses.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from types import TracebackType
from typing import Any, TypeVar

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTM_SETLINK,
)
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD, ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from gitvs.adapters.netlink import (
    APPEND,
    CREATE,
    DONE,
    EXCLUSIVE,
    NETLINK_ROUTE,
    Answer,
    Netlink,
    Request,
)
from gitvs.core.errors import KernelUnavailable, KernelUnreadable
from gitvs.core.model import IPAddress, IPNetwork, Link, LocalRoute, Vip

D = TypeVar("D")

OWN_PROTOCOL = 71
"""Marks the routes and addresses that gitvs makes; it survives restarts."""
# Source: Linux include/uapi/linux/rtnetlink.h
_RTPROT_KERNEL, _RTN_LOCAL = 2, 2
_RT_SCOPE_UNIVERSE, _RT_SCOPE_HOST, _RT_SCOPE_NOWHERE = 0, 254, 255
_RT_TABLE_LOCAL = 255
_RTM_F_CLONED = 0x200
_HEADER_BYTES = 16  # struct nlmsghdr
_LOOPBACK = "lo"

_ROUTE_SECONDS = 1.0
_ROUTE_PAUSE_SECONDS = 0.002

_ABSENT_ROUTE = frozenset({errno.ESRCH})
_ABSENT_ADDRESS = frozenset({errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True)
class Routing:
    """What one reading of links, addresses and routes found."""

    links: dict[str, Link]
    vips: list[Vip]
    """Addresses of every interface, but for the link-local IPv6 ones, which the kernel makes."""
    local_routes: list[LocalRoute]
    foreign_routes: frozenset[IPNetwork]
    gateways: frozenset[IPAddress]


@dataclass(frozen=True, slots=True)
class _Address:
    address: IPAddress
    prefix_length: int
    network: IPNetwork
    """The prefix that its neighbours are in: the peer's, where there is one."""
    interface: str = ""


@dataclass(frozen=True, slots=True)
class _Route:
    family: int
    prefix: IPNetwork
    is_local: bool
    """Of type local, in table local."""
    protocol: int
    scope: int
    source: IPAddress | None
    gateways: tuple[IPAddress, ...]
    interface: str = ""


class RoutingMemory:
    """What the messages of the last reading said: decoding takes long, and most stay the same."""

    def __init__(self) -> None:
        self._known: dict[int, dict[bytes, Any]] = {}

    def decoded(
        self, kind: int, payloads: Sequence[bytes], decode: Callable[[bytes], D]
    ) -> Sequence[D]:
        """Return what the messages of a dump say, each decoded once; `kind` tells dumps apart."""
        former = self._known.get(kind, {})
        known = {p: former[p] if p in former else decode(p) for p in payloads}
        self._known[kind] = known
        return [known[payload] for payload in payloads]


class Rtnetlink:
    """A socket to the links, addresses and routes of the network namespace it was made in."""

    def __init__(self, memory: RoutingMemory | None = None) -> None:
        """With a memory that is used again, what has not changed is decoded once."""
        self._memory = memory or RoutingMemory()
        self._netlink = Netlink(NETLINK_ROUTE)

    def __enter__(self) -> Rtnetlink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._netlink.close()

    def observe(self) -> Routing:
        """Read everything once.

        Raises:
            KernelUnavailable, KernelUnreadable: as `ports.Kernel.observe`.
        """
        links, names = self._links()
        addresses = list(self._addresses(names))
        of_link: dict[str, list[_Address]] = {}
        for found in addresses:
            of_link.setdefault(found.interface, []).append(found)
        links |= {name: _with_addresses(links[name], of_link[name]) for name in of_link}
        routes = list(self._routes(names))
        local = [route for route in routes if route.is_local]
        return Routing(
            links,
            _vips(addresses, local),
            [LocalRoute(r.prefix) for r in local if r.protocol == OWN_PROTOCOL],
            frozenset(r.prefix for r in local if r.protocol not in (_RTPROT_KERNEL, OWN_PROTOCOL)),
            frozenset(gateway for route in routes for gateway in route.gateways),
        )

    def await_routes(self, vips: Iterable[Vip]) -> None:
        """Wait until bound IPv6 addresses have their routes, or for a second.

        The kernel makes them behind its answer, in a work queue.
        Source: Linux net/ipv6/addrconf.c, addrconf_dad_work.
        """
        awaited = {v.key for v in vips if v.address.version == 6 and v.has_route}
        deadline = time.monotonic() + _ROUTE_SECONDS
        while awaited and time.monotonic() < deadline:
            awaited &= {v.key for v in self.observe().vips if not v.has_route}
            if awaited:
                time.sleep(_ROUTE_PAUSE_SECONDS)

    def add_dummy(self, name: str, alias: str) -> Answer:
        """Make a dummy interface, DOWN, that carries `alias`."""
        kind = {"attrs": [("IFLA_INFO_KIND", "dummy")]}
        new = _encoded(ifinfmsg, {}, [("IFLA_IFNAME", name), ("IFLA_LINKINFO", kind)])
        made = self._execute(Request(RTM_NEWLINK, new, CREATE | EXCLUSIVE))
        if made != DONE or not alias:
            return made
        mark = _encoded(ifinfmsg, {}, [("IFLA_IFNAME", name), ("IFLA_IFALIAS", alias)])
        return self._execute(Request(RTM_SETLINK, mark))

    def delete_link(self, name: str) -> Answer:
        """Delete an interface, with its addresses and their routes."""
        payload = _encoded(ifinfmsg, {}, [("IFLA_IFNAME", name)])
        return self._execute(Request(RTM_DELLINK, payload))

    def execute(self, changes: Sequence[Sequence[Request]]) -> list[Answer]:
        """Send the requests of each change, many in one call; one answer for each change."""
        return self._netlink.execute_groups(changes)

    def _execute(self, request: Request) -> Answer:
        return self._netlink.execute([request])[0]

    def _links(self) -> tuple[dict[str, Link], dict[int, str]]:
        links, names = {}, {}
        for payload in self._payloads(RTM_GETLINK, ifinfmsg):
            message = _decoded(ifinfmsg, payload)
            name = message.get_attr("IFLA_IFNAME")
            info = message.get_attr("IFLA_LINKINFO")
            kind = info.get_attr("IFLA_INFO_KIND") if info is not None else None
            alias = message.get_attr("IFLA_IFALIAS")
            links[name] = Link(name, kind or "", alias or "", bool(message["flags"] & IFF_UP))
            names[message["index"]] = name
        return links, names

    def _addresses(self, names: dict[int, str]) -> Iterator[_Address]:
        payloads = self._payloads(RTM_GETADDR, ifaddrmsg)
        for index, found in self._memory.decoded(RTM_GETADDR, payloads, _address_from):
            if found is not None and index in names:  # else the link came after its reading
                yield replace(found, interface=names[index])

    def _routes(self, names: dict[int, str]) -> Iterator[_Route]:
        for family in (socket.AF_INET, socket.AF_INET6):
            payloads = self._payloads(RTM_GETROUTE, rtmsg, {"family": family})
            for index, found in self._memory.decoded(family, payloads, _route_from):
                # A kernel without IPv6 answers for the families that it has.
                if found is not None and found.family == family:
                    yield replace(found, interface=names.get(index, ""))

    def _payloads(
        self, type_: int, message: type[nlmsg], fields: dict[str, int] | None = None
    ) -> Sequence[bytes]:
        request = _encoded(message, fields or {}, [])
        try:
            return self._netlink.dump(type_, request)
        except OSError as error:
            raise _unreadable(error) from error


def add_vip(vip: Vip) -> list[Request]:
    """Return the requests that bind an address.

    IPv6 needs no duplicate address detection here: the link has no neighbours, and an
    address that waits for it receives nothing. IFA_PROTO came with Linux 5.18; older
    kernels ignore it.

    Raises:
        OSError: ENODEV, no such interface.
    """
    return [Request(RTM_NEWADDR, _address_payload(vip), CREATE | EXCLUSIVE)]


def delete_vip(vip: Vip) -> list[Request]:
    """Return the requests that unbind an address; the kernel drops its own route with it.

    Raises:
        OSError: ENODEV, no such interface.
    """
    return [Request(RTM_DELADDR, _address_payload(vip))]


def restore_vip_route(vip: Vip) -> list[Request]:
    """Return the requests that give an address back the route that the kernel made for it.

    For IPv4 exactly the kernel's attributes, so that the route goes with the address. For
    IPv6 on a DOWN link only the kernel can add it, with the address.

    Raises:
        OSError: ENODEV, no such interface.
    """
    if vip.address.version == 6:
        gone = Request(RTM_DELADDR, _address_payload(vip), tolerated=_ABSENT_ADDRESS)
        return [gone, *add_vip(vip)]
    return [Request(RTM_NEWROUTE, _vip_route_payload(vip), CREATE | APPEND)]


def delete_vip_route(vip: Vip) -> list[Request]:
    """Return the requests that take the kernel's own route from an address (undo of a repair).

    Raises:
        OSError: ENODEV, no such interface.
    """
    return [Request(RTM_DELROUTE, _vip_route_payload(vip), tolerated=_ABSENT_ROUTE)]


def add_local_route(route: LocalRoute) -> list[Request]:
    """Return the requests that make a prefix local: `local PREFIX dev lo table local proto 71`."""
    index = _index_of(_LOOPBACK)
    payload = _local_route_payload(route.prefix, OWN_PROTOCOL, [("RTA_OIF", index)])
    return [Request(RTM_NEWROUTE, payload, CREATE | EXCLUSIVE)]


def delete_local_route(route: LocalRoute) -> list[Request]:
    """Return the requests that make a prefix no longer local."""
    return [Request(RTM_DELROUTE, _local_route_payload(route.prefix, OWN_PROTOCOL, []))]


def _address_payload(vip: Vip) -> bytes:
    text = str(vip.address)
    attributes: list[tuple[str, Any]] = [("IFA_ADDRESS", text), ("IFA_LOCAL", text)]
    attributes.append(("IFA_PROTO", OWN_PROTOCOL))
    if vip.address.version == 6:
        attributes.append(("IFA_FLAGS", IFA_F_NODAD))
    fields = {
        "family": _family(vip.address),
        "prefixlen": vip.prefix_length,
        "scope": _RT_SCOPE_UNIVERSE,
        "index": _index_of(vip.interface),
    }
    return _encoded(ifaddrmsg, fields, attributes)


def _vip_route_payload(vip: Vip) -> bytes:
    """Return the route in table `local` that the kernel makes for an address.

    Source: Linux net/ipv4/fib_frontend.c, fib_add_ifaddr and fib_magic.
    """
    attributes: list[tuple[str, Any]] = [("RTA_OIF", _index_of(vip.interface))]
    if vip.address.version == 4:
        attributes.append(("RTA_PREFSRC", str(vip.address)))
    return _local_route_payload(ip_network(vip.address), _RTPROT_KERNEL, attributes)


def _local_route_payload(
    prefix: IPNetwork, protocol: int, attributes: list[tuple[str, Any]]
) -> bytes:
    fields = {
        "family": _family(prefix),
        "dst_len": prefix.prefixlen,
        "table": _RT_TABLE_LOCAL,
        "proto": protocol,
        "scope": _RT_SCOPE_HOST if prefix.version == 4 else _RT_SCOPE_UNIVERSE,
        "type": _RTN_LOCAL,
    }
    destination = ("RTA_DST", str(prefix.network_address))
    return _encoded(rtmsg, fields, [destination, *attributes])


def _vips(addresses: Sequence[_Address], local: Sequence[_Route]) -> list[Vip]:
    own = {
        (route.prefix.network_address, route.interface)
        for route in local
        if route.protocol == _RTPROT_KERNEL and _is_as_the_kernel_makes_it(route)
    }
    return [
        Vip(a.address, a.interface, a.prefix_length, (a.address, a.interface) in own)
        for a in addresses
        if not (a.address.version == 6 and a.address.is_link_local)
    ]


def _with_addresses(link: Link, addresses: Sequence[_Address]) -> Link:
    """Return a link with its addresses, and the prefixes that its neighbours are in."""
    networks = dict.fromkeys(a.network for a in addresses if _has_neighbours(a.network))
    return replace(link, addresses=tuple(a.address for a in addresses), networks=tuple(networks))


def _has_neighbours(network: IPNetwork) -> bool:
    """Whether a prefix has room for them; every link has the link-local one."""
    if network.prefixlen == network.max_prefixlen:
        return False
    return network.version == 4 or not network.is_link_local


def _is_as_the_kernel_makes_it(route: _Route) -> bool:
    """Whether a kernel-made local route is of one address, from it and for the host (IPv4 only)."""
    if route.prefix.prefixlen != route.prefix.max_prefixlen:
        return False
    if route.prefix.version == 6:
        return True
    return route.scope == _RT_SCOPE_HOST and route.source == route.prefix.network_address


def _address_from(payload: bytes) -> tuple[int, _Address | None]:
    """Return the number of an address's link, and the address, if it is of IP."""
    message = _decoded(ifaddrmsg, payload)
    if message["family"] not in (socket.AF_INET, socket.AF_INET6):
        return message["index"], None
    peer = message.get_attr("IFA_ADDRESS")
    address = ip_address(message.get_attr("IFA_LOCAL") or peer)
    length = message["prefixlen"]
    network = ip_network((peer or address, length), strict=False)
    return message["index"], _Address(address, length, network)


def _route_from(payload: bytes) -> tuple[int, _Route | None]:
    """Return the number of a route's link, and the route, unless it is of the cache."""
    message = _decoded(rtmsg, payload)
    index = message.get_attr("RTA_OIF") or 0
    if message["flags"] & _RTM_F_CLONED:
        return index, None
    family = message["family"]
    any_address = "0.0.0.0" if family == socket.AF_INET else "::"
    destination = message.get_attr("RTA_DST") or any_address
    source = message.get_attr("RTA_PREFSRC")
    table = message.get_attr("RTA_TABLE") or message["table"]
    return index, _Route(
        family,
        ip_network(f"{destination}/{message['dst_len']}"),
        message["type"] == _RTN_LOCAL and table == _RT_TABLE_LOCAL,
        message["proto"],
        message["scope"],
        ip_address(source) if source else None,
        tuple(_gateways(message)),
    )


def _gateways(message: Any) -> Iterator[IPAddress]:
    """The next hops of a route: its own, each of a multipath route, and IPv6 ones of IPv4."""
    hops = [message, *(message.get_attr("RTA_MULTIPATH") or [])]
    for hop in hops:
        gateway = hop.get_attr("RTA_GATEWAY")
        via = hop.get_attr("RTA_VIA")
        if gateway:
            yield ip_address(gateway)
        if via:
            yield ip_address(via["addr"])


def _index_of(interface: str) -> int:
    """Return the number of an interface.

    Raises:
        OSError: ENODEV; Python's own says no errno before 3.13.
    """
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), interface) from error


def _family(address: IPAddress | IPNetwork) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _encoded(
    message: type[nlmsg], fields: dict[str, int], attributes: Sequence[tuple[str, Any]]
) -> bytes:
    made = message()
    for name, value in fields.items():
        made[name] = value
    made["attrs"] = list(attributes)
    made.encode()
    return bytes(made.data[_HEADER_BYTES:])


def _decoded(message: type[nlmsg], payload: bytes) -> Any:
    """Return a message that pyroute2 decodes; it wants the header that was taken off."""
    length = _HEADER_BYTES + len(payload)
    made = message(length.to_bytes(4, sys.byteorder) + bytes(_HEADER_BYTES - 4) + payload)
    made.decode()
    return made


def _unreadable(error: OSError) -> KernelUnavailable | KernelUnreadable:
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    text = f"links, addresses and routes could not be read: {error.strerror} ({name})"
    return KernelUnavailable(text) if error.errno == errno.EPERM else KernelUnreadable(text)
