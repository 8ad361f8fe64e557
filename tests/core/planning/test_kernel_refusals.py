"""The kernel's refusals in words; which errno comes when is tested on a real kernel."""

from __future__ import annotations

import errno
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from gitvs.core.model.resources import (
    DummyInterface,
    Endpoint,
    Forwarding,
    LocalRoute,
    Persistence,
    PersistenceEngine,
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
    TunnelType,
    Vip,
    VirtualService,
)
from gitvs.core.planning.kernel_refusals import errno_name, refusal_message
from gitvs.core.planning.plan import Change, Phase

WEB = Endpoint(Protocol.TCP, ip_address("192.0.2.7"), 443)
SERVICE = VirtualService(WEB, Scheduler.MH)
SERVER = RealServer(WEB, ip_address("10.0.0.1"), 8443)
VIP = Vip(ip_address("192.0.2.7"), "gitvs0", 32)
VIP6 = Vip(ip_address("2001:db8::7"), "gitvs0", 128)
ROUTE = LocalRoute(ip_network("198.51.100.0/24"))
DAEMON = SyncDaemon(SyncRole.PRIMARY, "eth1", 1)
VS_SYSCTL = Sysctl("net.ipv4.vs.conntrack", "1")
GUE = Tunnel(TunnelType.GUE)
EVERY_KIND: list[Resource] = [
    *(SERVICE, SERVER, VIP, VIP6, ROUTE, DAEMON, VS_SYSCTL),
    *(DummyInterface("gitvs0"), Timeout(TimeoutName.TCP, 900)),
]


def created(resource: Resource, code: int) -> str:
    return refusal_message(Change(None, resource, Phase.MAKE), code)


def deleted(resource: Resource, code: int) -> str:
    return refusal_message(Change(resource, None, Phase.BREAK), code)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            created(SERVICE, errno.ENOENT),
            "virtual service tcp 192.0.2.7:443: scheduler mh is unknown to this kernel"
            " (ENOENT; is module ip_vs_mh there?)",
        ),
        (
            created(
                replace(SERVICE, persistence=Persistence(60, 32, PersistenceEngine.SIP)),
                errno.ENOENT,
            ),
            "virtual service tcp 192.0.2.7:443: scheduler mh or persistence engine sip is unknown"
            " to this kernel (ENOENT; is module ip_vs_mh or ip_vs_pe_sip there?)",
        ),
        (
            created(SERVICE, errno.EEXIST),
            "virtual service tcp 192.0.2.7:443: it exists already (EEXIST; another"
            " program made it since gitvs read the kernel)",
        ),
        (
            deleted(SERVER, errno.ENOENT),
            "real server tcp 192.0.2.7:443 -> 10.0.0.1:8443: the virtual service has no"
            " such real server (ENOENT; another program deleted it since gitvs read the"
            " kernel)",
        ),
        (
            created(replace(SERVER, forwarding=Forwarding.TUN, tunnel=GUE), errno.EINVAL),
            "real server tcp 192.0.2.7:443 -> 10.0.0.1:8443: a GUE tunnel needs a port (EINVAL)",
        ),
        (
            created(replace(SERVER, address=ip_address("10.0.0.255")), errno.EINVAL),
            "real server tcp 192.0.2.7:443 -> 10.0.0.255:8443: the kernel takes 10.0.0.255 for a"
            " broadcast address (EINVAL; it is one of a network of this host; or lo is down and"
            " there is no address at all: bring lo up)",
        ),
        (
            created(VIP6, errno.EACCES),
            "VIP 2001:db8::7/128 dev gitvs0: IPv6 is disabled on gitvs0"
            " (EACCES; see net.ipv6.conf.gitvs0.disable_ipv6)",
        ),
        (
            created(DAEMON, errno.ENETUNREACH),
            "sync-daemon primary: interface eth1 is down (ENETUNREACH; ip link set eth1 up)",
        ),
        (
            created(DummyInterface("gitvs0"), errno.EOPNOTSUPP),
            "interface gitvs0: this kernel makes no dummy interfaces"
            " (EOPNOTSUPP; is module dummy there?)",
        ),
        (
            created(VS_SYSCTL, errno.ENOENT),
            "sysctl net.ipv4.vs.conntrack: this kernel has no such setting"
            " (ENOENT; is module ip_vs there?)",
        ),
        (
            created(Sysctl("net.ipv4.nope", "1"), errno.ENOENT),
            "sysctl net.ipv4.nope: this kernel has no such setting (ENOENT)",
        ),
        (
            created(ROUTE, errno.EPERM),
            "route local 198.51.100.0/24: no permission to change it (EPERM; is"
            " CAP_NET_ADMIN there, outside of a user namespace?)",
        ),
        (
            created(VIP, errno.EXDEV),
            "VIP 192.0.2.7/32 dev gitvs0: the kernel refused to create it:"
            " Invalid cross-device link (EXDEV)",
        ),
    ],
    ids=lambda text: "",
)
def test_a_refusal_says_what_failed_on_which_key_and_what_to_look_at(
    text: str, expected: str
) -> None:
    assert text == expected


@pytest.mark.parametrize("resource", EVERY_KIND, ids=lambda r: type(r).__name__)
def test_every_errno_of_every_kind_is_explained_by_name(resource: Resource) -> None:
    """524 is ENOTSUPP, which the kernel leaks and Python has no name for."""
    for code in [*errno.errorcode, 524]:
        for text in (created(resource, code), deleted(resource, code)):
            assert f"({errno_name(code)}" in text
            assert text.endswith(")")
            assert "None" not in text
