"""Plain values for tests: each builder makes something ordinary, and takes what matters."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from gitvs.core.model.resources import (
    AddressFamily,
    DummyInterface,
    Endpoint,
    FirewallMark,
    ForeignName,
    Forwarding,
    Listener,
    LocalRoute,
    Persistence,
    Protocol,
    RealServer,
    Resource,
    Scheduler,
    SchedulerFlag,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Timeout,
    TimeoutName,
    Tunnel,
    Vip,
    VirtualService,
)
from gitvs.core.planning.plan import Change, build_plan

INTERFACE = "gitvs0"


def endpoint(
    address: str = "203.0.113.10", port: int = 80, protocol: Protocol = Protocol.TCP
) -> Endpoint:
    """Return an address, port and protocol to listen on."""
    return Endpoint(protocol, ip_address(address), port)


WEB = endpoint()
WEB6 = endpoint("2001:db8::10")


def firewall_mark(mark: int = 7, family: AddressFamily = AddressFamily.IPV4) -> FirewallMark:
    """Return a firewall mark to listen on."""
    return FirewallMark(mark, family)


def virtual_service(
    listener: Listener = WEB,
    scheduler: Scheduler | ForeignName = Scheduler.WLC,
    *,
    flags: Iterable[SchedulerFlag] = (),
    one_packet: bool = False,
    persistence: Persistence | None = None,
) -> VirtualService:
    """Return a virtual service without real servers."""
    return VirtualService(listener, scheduler, frozenset(flags), one_packet, persistence)


def real_server(
    listener: Listener = WEB,
    address: str | None = None,
    port: int = 8080,
    weight: int = 1,
    *,
    forwarding: Forwarding = Forwarding.NAT,
    tunnel: Tunnel | None = None,
    upper_threshold: int = 0,
    lower_threshold: int = 0,
) -> RealServer:
    """Return a real server of the listener's family; by default 10.0.0.1 or 2001:db8:1::1."""
    if address is None:
        address = "10.0.0.1" if listener.family is AddressFamily.IPV4 else "2001:db8:1::1"
    where = ip_address(address)
    return RealServer(
        listener, where, port, weight, forwarding, tunnel, upper_threshold, lower_threshold
    )


def vip(
    address: str = "203.0.113.10",
    interface: str = INTERFACE,
    prefix_length: int | None = None,
    has_route: bool = True,
) -> Vip:
    """Return an address on an interface, /32 or /128 unless told otherwise."""
    where = ip_address(address)
    length = where.max_prefixlen if prefix_length is None else prefix_length
    return Vip(where, interface, length, has_route)


def local_route(prefix: str = "198.51.100.0/24") -> LocalRoute:
    """Return a prefix made local."""
    return LocalRoute(ip_network(prefix))


def dummy(name: str = INTERFACE) -> DummyInterface:
    """Return a dummy interface."""
    return DummyInterface(name)


def sysctl(name: str = "net.ipv4.vs.expire_nodest_conn", value: str = "1") -> Sysctl:
    """Return a kernel setting."""
    return Sysctl(name, value)


def timeout(name: TimeoutName = TimeoutName.TCP, seconds: int = 600) -> Timeout:
    """Return a connection timeout."""
    return Timeout(name, seconds)


def sync_daemon(
    role: SyncRole = SyncRole.PRIMARY, interface: str = "up0", id_: int = 1
) -> SyncDaemon:
    """Return a sync daemon."""
    return SyncDaemon(role, interface, id_, max_length=1472)


def create(after: Resource) -> Change:
    """Return the change that makes an object."""
    return _change(None, after)


def update(before: Resource, after: Resource) -> Change:
    """Return the change that turns an object into what it should be."""
    return _change(before, after)


def delete(before: Resource) -> Change:
    """Return the change that takes an object away."""
    return _change(before, None)


def creates(*resources: Resource) -> list[Change]:
    """Return the changes that make objects, in this order."""
    return [create(resource) for resource in resources]


def _change(before: Resource | None, after: Resource | None) -> Change:
    return build_plan([(before, after)]).changes[0]
