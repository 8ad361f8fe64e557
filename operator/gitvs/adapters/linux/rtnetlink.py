"""Links, addresses and routes of one network namespace.

The content of messages is left to `rtnetlink_codec`, sending in batches and checking for lost
answers to `netlink`. The dummy interface is made DOWN and never toggled: an address on a DOWN
dummy gets its local route anyway, and setting it down deletes IPv6 addresses.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

from gitvs.adapters.linux.netlink import NETLINK_ROUTE, Answer, Netlink, Request
from gitvs.adapters.linux.rtnetlink_codec.numbers import (
    GET_LINKS,
    GITVS_PROTOCOL,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_SETLINK,
    RTPROT_KERNEL,
    get_addresses,
    get_local_routes,
    get_routes,
    set_alias,
)
from gitvs.adapters.linux.rtnetlink_codec.replies import (
    AddressMessage,
    RouteMessage,
    decode_address,
    decode_gateways,
    decode_link,
    decode_route,
    is_intact_vip_route,
)
from gitvs.core.errors import KernelUnavailable, KernelUnreadable
from gitvs.core.model.observation import Link
from gitvs.core.model.resources import IPAddress, IPNetwork, Key, LocalRoute, Vip

Decoded = TypeVar("Decoded")

_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_ROUTE_TIMEOUT_SECONDS = 1.0
_ROUTE_POLL_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class ObservedRouting:
    """Links, addresses and routes as found by one read."""

    links: dict[str, Link]
    vips: list[Vip]
    """Addresses of every interface, except link-local IPv6 ones, which the kernel makes."""
    local_routes: list[LocalRoute]
    foreign_routes: frozenset[IPNetwork]


class RoutingCache:
    """Decoded messages of the last read: decoding is slow, and most messages stay the same."""

    def __init__(self) -> None:
        self._decoded: dict[Hashable, dict[bytes, Any]] = {}

    def decode(
        self, dump_kind: Hashable, payloads: Sequence[bytes], decode_one: Callable[[bytes], Decoded]
    ) -> Sequence[Decoded]:
        """Return a dump's messages, each decoded once; `dump_kind` identifies the kind of dump."""
        former = self._decoded.get(dump_kind, {})
        known = {p: former[p] if p in former else decode_one(p) for p in payloads}
        self._decoded[dump_kind] = known
        return [known[payload] for payload in payloads]


class Rtnetlink:
    """A socket to the links, addresses and routes of the network namespace it was made in."""

    def __init__(self, cache: RoutingCache | None = None) -> None:
        """A cache that is used again decodes unchanged messages only once."""
        self._cache = cache or RoutingCache()
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

    def observe(self) -> ObservedRouting:
        """Read links, addresses and local routes once, however many other routes there are.

        Raises:
            KernelUnavailable, KernelUnreadable: as `ports.Kernel.observe`.
        """
        links, names_by_index = self._read_links()
        addresses = list(self._read_addresses(names_by_index))
        addresses_by_link: dict[str, list[AddressMessage]] = {}
        for address in addresses:
            addresses_by_link.setdefault(address.interface, []).append(address)
        links |= {
            name: _with_addresses(links[name], addresses_by_link[name])
            for name in addresses_by_link
        }
        routes = [
            route
            for family in _FAMILIES
            for route in self._read_local_routes(family, names_by_index)
        ]
        return ObservedRouting(
            links,
            _vips_from(addresses, routes),
            [LocalRoute(r.prefix) for r in routes if r.protocol == GITVS_PROTOCOL],
            frozenset(
                r.prefix for r in routes if r.protocol not in (RTPROT_KERNEL, GITVS_PROTOCOL)
            ),
        )

    def read_gateways(self) -> frozenset[IPAddress]:
        """Read the gateways of all routes of the host, which may be very many."""
        found: set[IPAddress] = set()
        for family in _FAMILIES:
            for payload in self._dump(RTM_GETROUTE, get_routes(family)):
                route_family, gateways = decode_gateways(payload)
                # A kernel without IPv6 answers with the routes of other families.
                if route_family == family:
                    found |= gateways
        return frozenset(found)

    def wait_for_routes(self, vips: Iterable[Vip]) -> Collection[Key]:
        """Wait until bound IPv6 addresses have their routes, for one second at most.

        The kernel makes these routes after its answer, in a work queue. A busy kernel may not let
        itself be read meanwhile; then the addresses whose routes are still unknown are returned.
        Source: Linux net/ipv6/addrconf.c, addrconf_dad_work.
        """
        awaited = {v.key for v in vips if v.address.version == 6 and v.has_route}
        is_read = True
        deadline = time.monotonic() + _ROUTE_TIMEOUT_SECONDS
        while awaited and time.monotonic() < deadline:
            try:
                awaited &= {v.key for v in self.read_ipv6_vips() if not v.has_route}
                is_read = True
            except (KernelUnavailable, KernelUnreadable, OSError):
                is_read = False
            if awaited:
                time.sleep(_ROUTE_POLL_SECONDS)
        return () if is_read else awaited

    def read_ipv6_vips(self) -> list[Vip]:
        """Read the IPv6 addresses of all interfaces."""
        _, names_by_index = self._read_links()
        addresses = list(self._read_addresses(names_by_index, socket.AF_INET6))
        return _vips_from(addresses, self._read_local_routes(socket.AF_INET6, names_by_index))

    def set_alias(self, name: str, alias: str) -> Answer:
        """Set the interface alias of an interface."""
        return self.execute(Request(RTM_SETLINK, set_alias(name, alias)))

    def read_links(self) -> list[Link]:
        """Read the interfaces, without their addresses."""
        return list(self._read_links()[0].values())

    def execute(self, request: Request) -> Answer:
        """Send one request."""
        return self._netlink.execute([request])[0]

    def execute_groups(self, groups: Sequence[Sequence[Request]]) -> list[Answer]:
        """Send the requests of each change, many in one call; return one answer for each change."""
        return self._netlink.execute_groups(groups)

    def _read_links(self) -> tuple[dict[str, Link], dict[int, str]]:
        links: dict[str, Link] = {}
        names: dict[int, str] = {}
        vrf_indexes: dict[str, int] = {}
        for payload in self._dump(RTM_GETLINK, GET_LINKS):
            index, link, vrf_index = decode_link(payload)
            links[link.name], names[index] = link, link.name
            if vrf_index is not None:
                vrf_indexes[link.name] = vrf_index
        for name, vrf_index in vrf_indexes.items():
            links[name] = replace(links[name], vrf=names.get(vrf_index, str(vrf_index)))
        return links, names

    def _read_addresses(
        self, names_by_index: dict[int, str], family: int = socket.AF_UNSPEC
    ) -> Iterator[AddressMessage]:
        payloads = self._dump(RTM_GETADDR, get_addresses(family))
        for index, address in self._cache.decode((RTM_GETADDR, family), payloads, decode_address):
            if (
                address is not None and index in names_by_index
            ):  # else the link is newer than the list
                yield replace(address, interface=names_by_index[index])

    def _read_local_routes(self, family: int, names_by_index: dict[int, str]) -> list[RouteMessage]:
        payloads = self._dump(RTM_GETROUTE, get_local_routes(family))
        decoded = self._cache.decode((RTM_GETROUTE, family), payloads, decode_route)
        # A kernel without IPv6 answers with the routes of other families.
        return [
            replace(route, interface=names_by_index.get(index, ""))
            for index, route in decoded
            if route is not None and route.family == family and route.is_local
        ]

    def _dump(self, type_: int, request: bytes) -> Sequence[bytes]:
        try:
            return self._netlink.dump(type_, request)
        except OSError as error:
            if type_ == RTM_GETROUTE and error.errno == errno.ENOENT:
                return ()  # the table does not exist: `lo` was never up, and there is no address
            raise _unreadable_error(error) from error


def _vips_from(
    addresses: Iterable[AddressMessage], local_routes: Iterable[RouteMessage]
) -> list[Vip]:
    intact_routes = {
        (route.prefix.network_address, route.interface)
        for route in local_routes
        if route.protocol == RTPROT_KERNEL and is_intact_vip_route(route)
    }
    return [
        Vip(a.address, a.interface, a.prefix_length, (a.address, a.interface) in intact_routes)
        for a in addresses
        if not (a.address.version == 6 and a.address.is_link_local)
    ]


def _with_addresses(link: Link, addresses: Sequence[AddressMessage]) -> Link:
    """Return a link with its addresses, and the prefixes that its neighbours are in."""
    networks = dict.fromkeys(a.network for a in addresses if _has_neighbours(a.network))
    return replace(link, addresses=tuple(a.address for a in addresses), networks=tuple(networks))


def _has_neighbours(network: IPNetwork) -> bool:
    """Whether a prefix can contain neighbours; every link's link-local IPv6 one is excluded."""
    if network.prefixlen == network.max_prefixlen:
        return False
    return network.version == 4 or not network.is_link_local


def _unreadable_error(error: OSError) -> KernelUnavailable | KernelUnreadable:
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    text = f"links, addresses and routes could not be read: {error.strerror} ({name})"
    return KernelUnavailable(text) if error.errno == errno.EPERM else KernelUnreadable(text)
