"""The kernel's numbers for links, addresses and routes, and what every reader and writer asks.

They are written here, and not taken from pyroute2, so that only what writes loads it.
"""

from __future__ import annotations

import socket
from struct import Struct

from gitvs.adapters.linux.attributes import pack_attribute

# Source: Linux include/uapi/linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE = 0x40, 0x400
RTPROT_KERNEL, RTN_LOCAL = 2, 2
RT_SCOPE_UNIVERSE, RT_SCOPE_HOST = 0, 254
RT_TABLE_LOCAL = 255
RTM_F_CLONED = 0x200
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC, RTA_MULTIPATH = 1, 4, 5, 7, 9
RTA_TABLE, RTA_VIA = 15, 18
ROUTE = Struct("=BBBBBBBBI")
"""Family, lengths of destination and source, TOS, table, protocol, scope, type, flags."""
NEXT_HOP = Struct("=HBBI")  # struct rtnexthop: length, flags, hops, index of the link
# Source: Linux include/uapi/linux/if_addr.h
ADDRESS = Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFA_F_NODAD = 0x2
# Source: Linux include/uapi/linux/if_link.h, linux/rtnetlink.h, linux/if.h
LINK = Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, changed flags
IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_IFALIAS = 3, 4, 10, 18, 20
IFLA_INFO_KIND, IFLA_INFO_SLAVE_KIND = 1, 4
IFF_UP = 0x1

GITVS_PROTOCOL = 71
"""Protocol number of the routes and addresses that gitvs makes; it survives restarts."""

ADDRESS_BYTES: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}

GET_LINKS = bytes(LINK.size)


def get_addresses(family: int = socket.AF_UNSPEC) -> bytes:
    """Return the request to dump the addresses of a family, by default of all."""
    return ADDRESS.pack(family, 0, 0, 0, 0)


def get_routes(family: int) -> bytes:
    """Return the request to dump the routes of a family, of all tables."""
    return ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)


def get_local_routes(family: int) -> bytes:
    """Return the request to dump the routes of type local in table local.

    The kernel selects them because the socket asks for strict checking. It answers ENOENT if the
    table does not exist yet. Source: Linux net/ipv4/fib_frontend.c, ip_valid_fib_dump_req.
    """
    return ROUTE.pack(family, 0, 0, 0, RT_TABLE_LOCAL, 0, 0, RTN_LOCAL, 0)


def set_alias(name: str, alias: str) -> bytes:
    """Return the request to set an interface's alias.

    It is not left to `requests`: agents set it with every number of the store.
    """
    attributes = ((IFLA_IFNAME, name), (IFLA_IFALIAS, alias))
    texts = (pack_attribute(type_, text.encode() + b"\0") for type_, text in attributes)
    return bytes(LINK.size) + b"".join(texts)
