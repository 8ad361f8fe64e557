"""Two desired states whose plan has every kind of object and every action."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from gitvs.core.model.desired import Desired
from gitvs.core.model.resources import (
    AddressFamily,
    DummyInterface,
    Endpoint,
    FirewallMark,
    Forwarding,
    Key,
    LocalRoute,
    Persistence,
    Protocol,
    RealServer,
    Resource,
    Scheduler,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Timeout,
    TimeoutName,
    Tunnel,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State

UPLINK = "up0"
"""An interface that is UP and has an address, for the sync daemon."""

UPLINK_COMMANDS = (
    f"link add {UPLINK} type dummy",
    f"addr add 192.0.2.1/24 dev {UPLINK}",
    f"link set {UPLINK} up",
)
"""What `ip -batch` makes it of."""

WEB4 = Endpoint(Protocol.TCP, ip_address("203.0.113.10"), 80)
WEB6 = Endpoint(Protocol.TCP, ip_address("2001:db8::10"), 80)
DNS = Endpoint(Protocol.UDP, ip_address("203.0.113.11"), 53)
NEW = Endpoint(Protocol.TCP, ip_address("203.0.113.12"), 443)
MARK = FirewallMark(7, AddressFamily.IPV4)


def server(listener: Endpoint | FirewallMark, last: int, weight: int = 1) -> RealServer:
    """A real server 10.0.0.LAST or 2001:db8:1::LAST."""
    if isinstance(listener, FirewallMark):
        return RealServer(
            listener, ip_address(f"10.0.0.{last}"), 0, weight, Forwarding.TUN, Tunnel()
        )
    is_v4 = listener.address.version == 4
    address = ip_address(f"10.0.0.{last}" if is_v4 else f"2001:db8:1::{last}")
    return RealServer(listener, address, 8080, weight)


def desired(interface: str, *resources: Resource) -> Desired:
    """A desired state; the DNS service removes its servers at once, the others drain 60 s."""
    drains = {
        Key(str(r.listener)): 0.0 if r.listener == DNS else 60.0
        for r in resources
        if isinstance(r, VirtualService)
    }
    return Desired("lb1", interface, State([DummyInterface(interface), *resources]), drains)


def before() -> Desired:
    """What is in force."""
    return desired(
        "gitvs0",
        Sysctl("net.ipv4.vs.expire_nodest_conn", "0"),
        Sysctl("net.ipv4.vs.conntrack", "1"),
        Timeout(TimeoutName.TCP, 600),
        SyncDaemon(SyncRole.PRIMARY, UPLINK, 1, max_length=1472),
        Vip(ip_address("203.0.113.10"), "gitvs0", 32),
        Vip(ip_address("203.0.113.11"), "gitvs0", 32),
        Vip(ip_address("2001:db8::10"), "gitvs0", 128),
        LocalRoute(ip_network("198.51.100.0/24")),
        VirtualService(WEB4, Scheduler.WLC),
        server(WEB4, 1),
        server(WEB4, 2, 3),
        VirtualService(WEB6, Scheduler.SH),
        server(WEB6, 1),
        server(WEB6, 2),
        VirtualService(DNS, Scheduler.RR, is_one_packet=True),
        server(DNS, 1),
        server(DNS, 2),
        VirtualService(MARK, Scheduler.WLC),
        server(MARK, 1),
    )


def after() -> Desired:
    """What a commit makes of it: something of every kind comes, changes, drains and goes."""
    return desired(
        "gitvs1",
        Sysctl("net.ipv4.ip_forward", "1"),
        Sysctl("net.ipv4.vs.expire_nodest_conn", "1"),
        Timeout(TimeoutName.TCP, 1200),
        Timeout(TimeoutName.UDP, 30),
        SyncDaemon(SyncRole.PRIMARY, UPLINK, 2, max_length=1472),
        Vip(ip_address("203.0.113.10"), "gitvs1", 32),
        Vip(ip_address("203.0.113.12"), "gitvs1", 32),
        Vip(ip_address("2001:db8::10"), "gitvs1", 128),
        LocalRoute(ip_network("2001:db8:a::/64")),
        VirtualService(WEB4, Scheduler.WRR, persistence=Persistence(300, 24)),
        server(WEB4, 1, 5),
        server(WEB4, 3),
        VirtualService(WEB6, Scheduler.SH),
        server(WEB6, 1),
        VirtualService(DNS, Scheduler.RR, is_one_packet=True),
        server(DNS, 1),
        VirtualService(NEW, Scheduler.MH),
        server(NEW, 1),
        server(NEW, 2),
        server(NEW, 3, 0),
    )
