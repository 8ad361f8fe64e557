"""Links, addresses and routes of one network namespace.

Messages are encoded and decoded by pyroute2, the conversation is `netlink`'s: batches, and
no answer taken for granted. The dummy interface is made DOWN and never toggled: an address on
a DOWN dummy gets its local route all the same, and setting it down deletes IPv6 addresses.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl import (
    RTM_DELLINK,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_NEWLINK,
    RTM_SETLINK,
)
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from gitvs.adapters.linux.netlink import (
    CREATE,
    DONE,
    EXCLUSIVE,
    NETLINK_ROUTE,
    Answer,
    Netlink,
    Request,
)
from gitvs.adapters.linux.rtnetlink_messages import (
    OWN_PROTOCOL,
    RTPROT_KERNEL,
    AddressMessage,
    RouteMessage,
    address_from,
    decoded,
    encoded,
    is_as_the_kernel_makes_it,
    route_from,
)
from gitvs.core.errors import KernelUnavailable, KernelUnreadable
from gitvs.core.model.observation import Link
from gitvs.core.model.resources import IPAddress, IPNetwork, LocalRoute, Vip

D = TypeVar("D")

_ROUTE_SECONDS = 1.0
_ROUTE_PAUSE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Routing:
    """What one reading of links, addresses and routes found."""

    links: dict[str, Link]
    vips: list[Vip]
    """Addresses of every interface, but for the link-local IPv6 ones, which the kernel makes."""
    local_routes: list[LocalRoute]
    foreign_routes: frozenset[IPNetwork]
    gateways: frozenset[IPAddress]


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
        of_link: dict[str, list[AddressMessage]] = {}
        for found in addresses:
            of_link.setdefault(found.interface, []).append(found)
        links |= {name: _with_addresses(links[name], of_link[name]) for name in of_link}
        routes = list(self._routes(names))
        local = [route for route in routes if route.is_local]
        return Routing(
            links,
            _vips(addresses, local),
            [LocalRoute(r.prefix) for r in local if r.protocol == OWN_PROTOCOL],
            frozenset(r.prefix for r in local if r.protocol not in (RTPROT_KERNEL, OWN_PROTOCOL)),
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
        new = encoded(ifinfmsg, {}, [("IFLA_IFNAME", name), ("IFLA_LINKINFO", kind)])
        made = self._execute(Request(RTM_NEWLINK, new, CREATE | EXCLUSIVE))
        if made != DONE or not alias:
            return made
        mark = encoded(ifinfmsg, {}, [("IFLA_IFNAME", name), ("IFLA_IFALIAS", alias)])
        return self._execute(Request(RTM_SETLINK, mark))

    def delete_link(self, name: str) -> Answer:
        """Delete an interface, with its addresses and their routes."""
        payload = encoded(ifinfmsg, {}, [("IFLA_IFNAME", name)])
        return self._execute(Request(RTM_DELLINK, payload))

    def execute(self, changes: Sequence[Sequence[Request]]) -> list[Answer]:
        """Send the requests of each change, many in one call; one answer for each change."""
        return self._netlink.execute_groups(changes)

    def _execute(self, request: Request) -> Answer:
        return self._netlink.execute([request])[0]

    def _links(self) -> tuple[dict[str, Link], dict[int, str]]:
        links, names = {}, {}
        for payload in self._payloads(RTM_GETLINK, ifinfmsg):
            message = decoded(ifinfmsg, payload)
            name = message.get_attr("IFLA_IFNAME")
            info = message.get_attr("IFLA_LINKINFO")
            kind = info.get_attr("IFLA_INFO_KIND") if info is not None else None
            alias = message.get_attr("IFLA_IFALIAS")
            links[name] = Link(name, kind or "", alias or "", bool(message["flags"] & IFF_UP))
            names[message["index"]] = name
        return links, names

    def _addresses(self, names: dict[int, str]) -> Iterator[AddressMessage]:
        payloads = self._payloads(RTM_GETADDR, ifaddrmsg)
        for index, found in self._memory.decoded(RTM_GETADDR, payloads, address_from):
            if found is not None and index in names:  # else the link came after its reading
                yield replace(found, interface=names[index])

    def _routes(self, names: dict[int, str]) -> Iterator[RouteMessage]:
        for family in (socket.AF_INET, socket.AF_INET6):
            payloads = self._payloads(RTM_GETROUTE, rtmsg, {"family": family})
            for index, found in self._memory.decoded(family, payloads, route_from):
                # A kernel without IPv6 answers for the families that it has.
                if found is not None and found.family == family:
                    yield replace(found, interface=names.get(index, ""))

    def _payloads(
        self, type_: int, message: type[nlmsg], fields: dict[str, int] | None = None
    ) -> Sequence[bytes]:
        request = encoded(message, fields or {}, [])
        try:
            return self._netlink.dump(type_, request)
        except OSError as error:
            raise _unreadable(error) from error


def _vips(addresses: Sequence[AddressMessage], local: Sequence[RouteMessage]) -> list[Vip]:
    own = {
        (route.prefix.network_address, route.interface)
        for route in local
        if route.protocol == RTPROT_KERNEL and is_as_the_kernel_makes_it(route)
    }
    return [
        Vip(a.address, a.interface, a.prefix_length, (a.address, a.interface) in own)
        for a in addresses
        if not (a.address.version == 6 and a.address.is_link_local)
    ]


def _with_addresses(link: Link, addresses: Sequence[AddressMessage]) -> Link:
    """Return a link with its addresses, and the prefixes that its neighbours are in."""
    networks = dict.fromkeys(a.network for a in addresses if _has_neighbours(a.network))
    return replace(link, addresses=tuple(a.address for a in addresses), networks=tuple(networks))


def _has_neighbours(network: IPNetwork) -> bool:
    """Whether a prefix has room for them; every link has the link-local one."""
    if network.prefixlen == network.max_prefixlen:
        return False
    return network.version == 4 or not network.is_link_local


def _unreadable(error: OSError) -> KernelUnavailable | KernelUnreadable:
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    text = f"links, addresses and routes could not be read: {error.strerror} ({name})"
    return KernelUnavailable(text) if error.errno == errno.EPERM else KernelUnreadable(text)
