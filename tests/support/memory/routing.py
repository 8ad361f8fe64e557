"""Links, addresses and local routes as Linux keeps them.

Source: Linux net/ipv4/devinet.c, net/ipv4/fib_frontend.c (fib_add_ifaddr, fib_del_ifaddr),
net/ipv6/addrconf.c, net/core/rtnetlink.c.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    ip_interface,
    ip_network,
)

from gitvs.core.model.observation import Link
from gitvs.core.model.resources import IPAddress, IPNetwork, LocalRoute, Vip
from tests.support.memory.sysctl import MemorySysctls, sysctl_name

LOOPBACK = "lo"
_MAX_NAME_BYTES = 15
_BAD_NAME = re.compile(r"\.{1,2}|all|default|.*[/:\s].*", re.DOTALL)
_PREFIXES_WITHOUT_HOSTS = tuple(
    ip_network(p) for p in ("0.0.0.0/32", "224.0.0.0/4", "255.255.255.255/32")
)
_IPV4_MAPPED = ip_network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """An address on a link."""

    interface: str
    ip: IPAddress
    prefix_length: int

    @property
    def network(self) -> IPNetwork:
        return ip_interface((self.ip, self.prefix_length)).network

    @property
    def has_neighbours(self) -> bool:
        """Whether its prefix holds others; the link-local one of IPv6 says nothing."""
        is_alone = self.prefix_length == self.ip.max_prefixlen
        return not is_alone and not (self.ip.version == 6 and self.ip.is_link_local)

    @property
    def identity(self) -> Hashable:
        """What can be there but once: IPv4 with its prefix, IPv6 whatever the prefix."""
        length = self.prefix_length if self.ip.version == 4 else None
        return self.interface, self.ip, length


MIN_IPV6_MTU = 1280
"""Source: Linux include/uapi/linux/ipv6.h, IPV6_MIN_MTU."""

_LOOPBACK_ADDRESSES = (
    LinkAddress(LOOPBACK, IPv4Address("127.0.0.1"), 8),
    LinkAddress(LOOPBACK, IPv6Address("::1"), 128),
)


class MemoryRouting:
    """The links, addresses and table `local` of one network namespace."""

    def __init__(self, sysctls: MemorySysctls) -> None:
        self.links: dict[str, Link] = {}
        self.gateways: set[IPAddress] = set()
        self.foreign_routes: set[IPNetwork] = set()
        self._sysctls = sysctls
        self._addresses: dict[Hashable, LinkAddress] = {}
        self._address_routes: set[tuple[IPAddress, str]] = set()
        """The routes in table `local` that the kernel makes for addresses, by interface."""
        self._local_routes: set[IPNetwork] = set()
        self._has_local_table = False
        self.add_link(Link(LOOPBACK, "", "", False, mtu=65536))

    def observed_links(self) -> dict[str, Link]:
        """Return the links with their addresses."""
        return {
            name: replace(
                link,
                addresses=tuple(a.ip for a in self._addresses_on(name)),
                networks=tuple(
                    dict.fromkeys(a.network for a in self._addresses_on(name) if a.has_neighbours)
                ),
            )
            for name, link in self.links.items()
        }

    def vips(self) -> Iterator[Vip]:
        """Yield the addresses of every link, but for the link-local IPv6 ones."""
        subnets: set[tuple[str, IPNetwork]] = set()
        for address in self._addresses.values():
            if address.ip.version == 6 and address.ip.is_link_local:
                continue
            subnet = (address.interface, address.network)
            is_secondary = address.ip.version == 4 and subnet in subnets
            subnets.add(subnet)
            # The route of a second address has the first one as its source.
            has_route = (address.ip, address.interface) in self._address_routes and not is_secondary
            yield Vip(address.ip, address.interface, address.prefix_length, has_route)

    def local_routes(self) -> Iterator[LocalRoute]:
        """Yield the routes of protocol 71."""
        return map(LocalRoute, self._local_routes)

    def add_link(self, link: Link) -> None:
        """Add a link.

        Raises:
            OSError: the kernel's answer; so do all methods here that change something.
        """
        if len(link.name.encode()) > _MAX_NAME_BYTES:
            raise _refusal(errno.ERANGE)
        if link.name in self.links:
            raise _refusal(errno.EEXIST)
        if _BAD_NAME.fullmatch(link.name):
            raise _refusal(errno.EINVAL)
        self.links[link.name] = replace(link, addresses=())
        self._sysctls.add_link(link.name)

    def set_mtu(self, name: str, mtu: int) -> None:
        """Set how long the packets of a link may be."""
        self.links[name] = replace(self.links[name], mtu=mtu)
        if mtu < MIN_IPV6_MTU:
            self._remove_ipv6(name)

    def delete_link(self, name: str) -> None:
        """Delete a link, its addresses and their routes with it; hardware stays."""
        if name not in self.links:
            raise _refusal(errno.ENODEV)
        if not self.links[name].kind:
            raise _refusal(errno.EOPNOTSUPP)
        del self.links[name]
        self._sysctls.remove_link(name)
        for address in self._addresses_on(name):
            del self._addresses[address.identity]
        self._address_routes = {r for r in self._address_routes if r[1] != name}

    def rename_link(self, name: str, new_name: str) -> None:
        """Give a link another name; its addresses, routes and settings stay."""
        self.links[new_name] = replace(self.links.pop(name), name=new_name)
        for address in self._addresses_on(name):
            del self._addresses[address.identity]
            moved = replace(address, interface=new_name)
            self._addresses[moved.identity] = moved
        self._address_routes = {
            (ip, new_name if link == name else link) for ip, link in self._address_routes
        }
        self._sysctls.rename_link(name, new_name)

    def put_into_vrf(self, name: str, vrf: str) -> None:
        """Put a link into a VRF: its IPv6 addresses go, and the routes of the others move there.

        Taking it out brings no route back. Seen on Linux 6.1.
        """
        self.links[name] = replace(self.links[name], vrf=vrf)
        self._remove_ipv6(name)
        self._address_routes = {r for r in self._address_routes if r[1] != name}

    def set_link_up(self, name: str) -> None:
        """Set a link up; `lo` gets its addresses, and IPv4 addresses lost routes back.

        Source: Linux net/ipv4/fib_frontend.c, fib_inetdev_event.
        """
        if not self.links[name].is_up:
            self._address_routes |= {
                (a.ip, name) for a in self._addresses_on(name) if a.ip.version == 4
            }
        self.links[name] = replace(self.links[name], is_up=True)
        self._add_loopback_addresses()

    def set_link_down(self, name: str) -> None:
        """Set a link down, which deletes its IPv6 addresses."""
        if self.links[name].is_up:
            self.links[name] = replace(self.links[name], is_up=False)
            self._remove_ipv6(name)

    def apply_sysctls(self) -> None:
        """Do what a change of the links' settings does to their addresses."""
        for name in self.links:
            if self._is_ipv6_disabled(name):
                self._remove_ipv6(name)
        self._add_loopback_addresses()

    def _add_loopback_addresses(self) -> None:
        if not self.links[LOOPBACK].is_up:
            return
        is_disabled = self._is_ipv6_disabled(LOOPBACK)
        for address in _LOOPBACK_ADDRESSES[:1] if is_disabled else _LOOPBACK_ADDRESSES:
            if address.identity not in self._addresses:
                self._attach(address)

    def _remove_ipv6(self, name: str) -> None:
        """Delete a link's IPv6 addresses and routes."""
        for address in [a for a in self._addresses_on(name) if a.ip.version == 6]:
            self._detach(address)
        if name == LOOPBACK:
            self._local_routes = {p for p in self._local_routes if p.version == 4}
            self.foreign_routes = {p for p in self.foreign_routes if p.version == 4}

    def has_ipv6(self, name: str) -> bool:
        """Whether a link can have IPv6 addresses."""
        return self.links[name].mtu >= MIN_IPV6_MTU and not self._is_ipv6_disabled(name)

    def _is_ipv6_disabled(self, name: str) -> bool:
        return self._sysctls.is_on(sysctl_name("net.ipv6.conf", name, "disable_ipv6"))

    def add_address(self, vip: Vip) -> None:
        """Add an address; the kernel makes its route."""
        address = _address_of(vip)
        self._require_link(vip.interface)
        if address.ip.version == 4 and not int(address.ip):
            return  # 0.0.0.0 is taken, and nothing comes of it
        if address.ip.version == 6 and self._is_ipv6_disabled(vip.interface):
            raise _refusal(errno.EACCES)
        if address.ip.version == 6 and not _is_assignable(address):
            raise _refusal(errno.EADDRNOTAVAIL)
        if address.identity in self._addresses:
            raise _refusal(errno.EEXIST)
        self._attach(address)

    def delete_address(self, vip: Vip) -> None:
        """Delete an address, and its route unless another address here is the same."""
        self._require_link(vip.interface)
        address = _address_of(vip)
        if self._addresses.get(address.identity) != address:
            raise _refusal(errno.EADDRNOTAVAIL)
        for secondary in self._secondaries(address):
            self._detach(secondary)
        self._detach(address)

    def restore_vip_route(self, vip: Vip) -> None:
        """Make a VIP's own route anew: for IPv6, with the address."""
        self._require_link(vip.interface)
        if vip.address.version == 6:
            with suppress(OSError):  # EADDRNOTAVAIL
                self.delete_address(vip)
            self.add_address(vip)
            return
        route = (vip.address, vip.interface)
        if route in self._address_routes:
            raise _refusal(errno.EEXIST)
        self._address_routes.add(route)
        self._has_local_table = True

    def delete_vip_route(self, vip: Vip) -> None:
        """Delete a VIP's own route. None is as good."""
        self._require_link(vip.interface)
        self._address_routes.discard((vip.address, vip.interface))

    def add_local_route(self, route: LocalRoute) -> None:
        """Make a prefix local. An IPv6 route has another metric than the kernel's own."""
        existing = self._local_routes | self.foreign_routes
        if route.prefix.version == 4:
            existing = existing | set(self._kernel_routes())
        elif not self.links[LOOPBACK].is_up:
            raise _refusal(errno.ENETDOWN)
        if route.prefix in existing:
            raise _refusal(errno.EEXIST)
        self._local_routes.add(route.prefix)
        self._has_local_table |= route.prefix.version == 4

    def delete_local_route(self, route: LocalRoute) -> None:
        """Make a prefix no longer local."""
        if route.prefix not in self._local_routes:
            raise _refusal(errno.ESRCH)
        self._local_routes.remove(route.prefix)

    def is_usable_server(self, address: IPAddress) -> bool:
        """Whether a packet can be sent there: neither multicast nor broadcast.

        Source: Linux net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_new_dest.
        """
        if isinstance(address, IPv6Address):
            is_unicast = not (address.is_multicast or not int(address) or address in _IPV4_MAPPED)
            return (is_unicast and not address.is_link_local) or self._is_local(address)
        if any(address in prefix for prefix in _PREFIXES_WITHOUT_HOSTS):
            return False
        return self._has_local_table and not self._is_broadcast(address)

    def _is_local(self, address: IPAddress) -> bool:
        return any(ip == address for ip, _ in self._address_routes) or any(
            address in prefix for prefix in (*self._local_routes, *self.foreign_routes)
        )

    def _is_broadcast(self, address: IPv4Address) -> bool:
        if any(ip == address for ip, _ in self._address_routes):
            return False
        return IPv4Network(address) in set(self._broadcasts())

    def _broadcasts(self) -> Iterator[IPv4Network]:
        """Yield the broadcast address of each subnet of a link that is up."""
        for address in self._addresses.values():
            is_up = self.links[address.interface].is_up
            if address.ip.version == 4 and is_up and address.prefix_length < 31:
                yield IPv4Network(int(address.network.broadcast_address))

    def _kernel_routes(self) -> Iterator[IPNetwork]:
        yield from (ip_network(ip) for ip, _ in self._address_routes)
        yield from self._broadcasts()
        if self.links[LOOPBACK].is_up:
            yield IPv4Network("127.0.0.0/8")

    def _addresses_on(self, interface: str) -> list[LinkAddress]:
        return [a for a in self._addresses.values() if a.interface == interface]

    def _require_link(self, name: str) -> None:
        if name not in self.links:
            raise _refusal(errno.ENODEV)

    def _attach(self, address: LinkAddress) -> None:
        self._addresses[address.identity] = address
        if not self.links[address.interface].vrf:
            self._address_routes.add((address.ip, address.interface))
        if address.ip.version == 4:
            self._has_local_table = True
            self._sysctls.detach_from_default(address.interface)

    def _detach(self, address: LinkAddress) -> None:
        """Take an address away. With a link's last IPv4 address go all its IPv4 routes."""
        del self._addresses[address.identity]
        version = address.ip.version
        remaining = [a for a in self._addresses_on(address.interface) if a.ip.version == version]
        if all(other.ip != address.ip for other in remaining):
            self._address_routes.discard((address.ip, address.interface))
        if version == 4 and not remaining:
            self._address_routes = {
                route
                for route in self._address_routes
                if route[0].version != 4 or route[1] != address.interface
            }

    def _secondaries(self, address: LinkAddress) -> list[LinkAddress]:
        """Return the addresses that go with this one: in its subnet, and added after it.

        Source: Linux net/ipv4/devinet.c, __inet_del_ifa.
        """
        first, *others = self._addresses_in_subnet(address)
        return (
            others if first == address and not self._promotes_secondaries(address.interface) else []
        )

    def _addresses_in_subnet(self, address: LinkAddress) -> list[LinkAddress]:
        """Return the addresses of an IPv4 address's subnet here, in their order."""
        if address.ip.version == 6 or address.prefix_length == 32:
            return [address]
        network = address.network
        on_link = self._addresses_on(address.interface)
        return [a for a in on_link if a.network == network]

    def _promotes_secondaries(self, interface: str) -> bool:
        key = "promote_secondaries"
        names = (sysctl_name("net.ipv4.conf", name, key) for name in ("all", interface))
        return any(self._sysctls.is_on(name) for name in names)


def _refusal(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _address_of(vip: Vip) -> LinkAddress:
    return LinkAddress(vip.interface, vip.address, vip.prefix_length)


def _is_assignable(address: LinkAddress) -> bool:
    ip = address.ip
    is_foreign_loopback = ip.is_loopback and address.interface != LOOPBACK
    return bool(int(ip)) and not ip.is_multicast and not is_foreign_loopback
