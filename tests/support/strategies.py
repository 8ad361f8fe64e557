"""Hypothesis strategies: small worlds in which everything meets everything."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import strategies as st

from gitvs.core.model.desired import Desired
from gitvs.core.model.health import (
    Check,
    CheckTimes,
    DnsCheck,
    DnsProtocol,
    Health,
    HttpCheck,
    OnFailure,
    PingCheck,
    TcpCheck,
    Tls,
    UdpCheck,
)
from gitvs.core.model.resources import (
    AddressFamily,
    DummyInterface,
    Endpoint,
    FirewallMark,
    Forwarding,
    IPAddress,
    Key,
    Listener,
    LocalRoute,
    Persistence,
    Protocol,
    RealServer,
    Resource,
    Scheduler,
    SyncDaemon,
    Sysctl,
    Timeout,
    TimeoutName,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State

VIPS = [ip_address(a) for a in ("203.0.113.10", "203.0.113.11", "2001:db8::10")]
ROUTES = [ip_network(p) for p in ("198.51.100.0/24", "2001:db8:a::/64")]
LISTENERS: list[Listener] = [
    *(Endpoint(Protocol.TCP, address, port) for address in VIPS for port in (80, 443)),
    Endpoint(Protocol.TCP, ip_address("198.51.100.7"), 80),
    FirewallMark(7, AddressFamily.IPV4),
]
SERVERS: dict[AddressFamily, list[IPAddress]] = {
    AddressFamily.IPV4: [ip_address(f"10.0.0.{n}") for n in (1, 2, 3)],
    AddressFamily.IPV6: [ip_address(f"2001:db8:1::{n}") for n in (1, 2, 3)],
}
RESOURCE_CLASSES: tuple[type[Resource], ...] = (
    *(VirtualService, RealServer, Vip, LocalRoute, DummyInterface, Sysctl, Timeout, SyncDaemon),
)
SCHEDULERS = [Scheduler.WLC, Scheduler.WRR, Scheduler.SH, Scheduler.MH]


def any_resources() -> st.SearchStrategy[Resource]:
    """Resources of every class with any values that their types allow."""
    return st.one_of(*(st.from_type(resource_class) for resource_class in RESOURCE_CLASSES))


@st.composite
def services(draw: st.DrawFn, listener: Listener, schedulers: list[Scheduler]) -> list[Resource]:
    """A virtual service with up to three real servers."""
    length = 32 if listener.family is AddressFamily.IPV4 else 128
    persistence = draw(st.sampled_from([None, Persistence(300, length)]))
    service = VirtualService(listener, draw(st.sampled_from(schedulers)), persistence=persistence)
    servers = draw(st.lists(st.sampled_from(SERVERS[listener.family]), unique=True))
    return [service, *(draw(real_servers(listener, address)) for address in servers)]


@st.composite
def real_servers(draw: st.DrawFn, listener: Listener, address: IPAddress) -> RealServer:
    """A real server with the attributes that change in place."""
    return RealServer(
        listener,
        address,
        0 if isinstance(listener, FirewallMark) else 8080,
        draw(st.integers(0, 3)),
        draw(st.sampled_from([Forwarding.NAT, Forwarding.NAT, Forwarding.DR]))
        if isinstance(listener, FirewallMark)
        else Forwarding.NAT,
        upper_threshold=draw(st.sampled_from([0, 100])),
    )


@st.composite
def transitions(draw: st.DrawFn) -> tuple[Desired, Desired]:
    """Two desired states, with much in common as often as with little."""
    listeners = draw(st.sampled_from([LISTENERS, LISTENERS[:1], LISTENERS[:2], LISTENERS[5:]]))
    schedulers = draw(st.sampled_from([SCHEDULERS, [Scheduler.SH], [Scheduler.MH]]))
    states = desired_states(listeners, schedulers)
    return draw(states), draw(states)


def healths() -> st.SearchStrategy[Health]:
    """A few ways to check real servers, so that some of them are the same."""
    checks: list[Check] = [TcpCheck(), TcpCheck(8080), TcpCheck(25, "QUIT", "220"), HttpCheck()]
    checks.append(HttpCheck(8080, "/a", "HEAD", "b:1", (("C", "d"),), ((200, 204), (301, 301))))
    checks.append(HttpCheck(host="b:1", expect="ok", tls=Tls("b")))
    checks.append(HttpCheck(tls=Tls("c", verify=True, ca_file="d.pem")))
    checks += [UdpCheck(7, "a", expect_hex="00ff"), DnsCheck("a.b"), PingCheck()]
    checks.append(DnsCheck("a.b", 53, "MX", "NXDOMAIN", "c", DnsProtocol.TCP))
    check = st.sampled_from(checks)
    return st.builds(
        Health,
        st.lists(check, min_size=1, max_size=2, unique=True).map(tuple),
        st.sampled_from([CheckTimes(), CheckTimes(2.0, 1.0, 2.0 / 3)]),
        on_failure=st.sampled_from(OnFailure),
        keep_percent=st.sampled_from([50.0, 12.5]),
        gain_percent=st.sampled_from([0.0, 30.0]),
    )


@st.composite
def desired_states(
    draw: st.DrawFn,
    listeners: list[Listener] = LISTENERS,
    schedulers: list[Scheduler] = SCHEDULERS,
) -> Desired:
    """What manifests could say of one director, in a world of eight virtual services."""
    chosen = draw(st.lists(st.sampled_from(listeners), unique=True))
    resources: list[Resource] = [DummyInterface("gitvs0")]
    for listener in chosen:
        resources += draw(services(listener, schedulers))
    bound = draw(st.sets(st.sampled_from(VIPS)))
    resources += [Vip(a, "gitvs0", 32 if a.version == 4 else 128) for a in sorted(bound, key=str)]
    resources += [LocalRoute(p) for p in ROUTES if draw(st.booleans())]
    if draw(st.booleans()):
        resources.append(Sysctl("net.ipv4.vs.expire_nodest_conn", "1"))
    if draw(st.booleans()):
        resources.append(Timeout(TimeoutName.TCP, draw(st.sampled_from([600, 1200]))))
    drain = {Key(str(x)): draw(st.sampled_from([0.0, 60.0])) for x in chosen}
    checked = draw(st.dictionaries(st.sampled_from(sorted(drain) or [Key("")]), healths()))
    health = {key: value for key, value in checked.items() if key in drain}
    return Desired("lb1", "gitvs0", State(resources), drain, health=health)
