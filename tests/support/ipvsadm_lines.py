"""Virtual services and real servers with every attribute, and how ipvsadm(8) says each."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from gitvs.core.model.resources import (
    AddressFamily,
    Endpoint,
    FirewallMark,
    Forwarding,
    Listener,
    Persistence,
    PersistenceEngine,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualService,
)

WEB = Endpoint(Protocol.TCP, ip_address("192.0.2.7"), 80)
WEB6 = Endpoint(Protocol.TCP, ip_address("2001:db8::7"), 80)
DNS = Endpoint(Protocol.UDP, ip_address("192.0.2.7"), 53)
DNS6 = Endpoint(Protocol.UDP, ip_address("2001:db8::7"), 53)
MARK = FirewallMark(77, AddressFamily.IPV4)
MARK6 = FirewallMark(77, AddressFamily.IPV6)
ANY_PORT = Endpoint(Protocol.TCP, ip_address("192.0.2.8"), 0)
SIP = Endpoint(Protocol.UDP, ip_address("192.0.2.7"), 5060)


def server(listener: Listener, address: str = "10.0.0.1", port: int = 80) -> RealServer:
    return RealServer(listener, ip_address(address), port)


def tunnelled(
    listener: Listener, address: str, type_: TunnelType, port: int = 0, checksum: str = "none"
) -> RealServer:
    tunnel = Tunnel(type_, port, TunnelChecksum(checksum))
    return replace(server(listener, address), forwarding=Forwarding.TUN, tunnel=tunnel)


EVERYTHING: list[tuple[VirtualService | RealServer, str]] = [
    (VirtualService(WEB, Scheduler.RR), "-A -t 192.0.2.7:80 -s rr"),
    (
        replace(server(WEB, port=8080), weight=65535),
        "-a -t 192.0.2.7:80 -r 10.0.0.1:8080 -m -w 65535",
    ),
    (
        replace(server(WEB, "10.0.0.2"), weight=0, forwarding=Forwarding.DR),
        "-a -t 192.0.2.7:80 -r 10.0.0.2:80 -g -w 0",
    ),
    (
        tunnelled(WEB, "10.0.0.3", TunnelType.IPIP),
        "-a -t 192.0.2.7:80 -r 10.0.0.3:80 -i -w 1 --tun-type ipip",
    ),
    (
        tunnelled(WEB, "10.0.0.4", TunnelType.GUE, 6080, "remote"),
        "-a -t 192.0.2.7:80 -r 10.0.0.4:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
    ),
    (
        tunnelled(WEB, "10.0.0.5", TunnelType.GUE, 6081, "full"),
        "-a -t 192.0.2.7:80 -r 10.0.0.5:80 -i -w 1 --tun-type gue --tun-port 6081 --tun-csum",
    ),
    (
        tunnelled(WEB, "10.0.0.6", TunnelType.GRE, 0, "full"),
        "-a -t 192.0.2.7:80 -r 10.0.0.6:80 -i -w 1 --tun-type gre --tun-csum",
    ),
    (
        tunnelled(WEB, "2001:db8:1::1", TunnelType.IPIP),
        "-a -t 192.0.2.7:80 -r [2001:db8:1::1]:80 -i -w 1 --tun-type ipip",
    ),
    (VirtualService(DNS, Scheduler.WRR, is_one_packet=True), "-A -u 192.0.2.7:53 -s wrr -o"),
    (
        VirtualService(SIP, Scheduler.WLC, persistence=Persistence(90, 32, PersistenceEngine.SIP)),
        "-A -u 192.0.2.7:5060 -s wlc -p 90 --pe sip",
    ),
    (
        VirtualService(
            WEB6,
            Scheduler.MH,
            frozenset({SchedulerFlag.MH_FALLBACK, SchedulerFlag.MH_PORT}),
        ),
        "-A -t [2001:db8::7]:80 -s mh -b mh-fallback,mh-port",
    ),
    (server(WEB6, "2001:db8:1::1"), "-a -t [2001:db8::7]:80 -r [2001:db8:1::1]:80 -m -w 1"),
    (
        VirtualService(DNS6, Scheduler.SH, frozenset({SchedulerFlag.SH_PORT})),
        "-A -u [2001:db8::7]:53 -s sh -b sh-port",
    ),
    (
        VirtualService(
            Endpoint(Protocol.SCTP, ip_address("192.0.2.7"), 9),
            Scheduler.SH,
            frozenset({SchedulerFlag.SH_FALLBACK}),
        ),
        "-A --sctp-service 192.0.2.7:9 -s sh -b sh-fallback",
    ),
    (
        VirtualService(MARK, Scheduler.LC, persistence=Persistence(300, 24)),
        "-A -f 77 -s lc -p 300 -M 255.255.255.0",
    ),
    (server(MARK, port=0), "-a -f 77 -r 10.0.0.1:0 -m -w 1"),
    (
        VirtualService(MARK6, Scheduler.NQ, persistence=Persistence(300, 64)),
        "-A -f 77 -6 -s nq -p 300 -M 64",
    ),
    (
        VirtualService(ANY_PORT, persistence=Persistence(360, 0)),
        "-A -t 192.0.2.8:0 -s wlc -p 360 -M 0.0.0.0",
    ),
]
