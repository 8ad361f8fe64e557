"""Every rule beyond the schema: a red case, and a green neighbour that differs in one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from gitvs.core.manifests.files import ManifestFile
from tests.support.manifests.writing import (
    LEFT_OUT,
    Doc,
    defaults,
    director,
    document,
    file_of,
    policy,
    pool,
    problems_in,
    problems_of,
    rules_of,
    server,
    service,
)

AMS = director("lb-ams", {"site": "ams"})
LAX = director("lb-lax", {"site": "lax"})
V6 = server("2001:db8:3::5")


@dataclass(frozen=True)
class Case:
    rule: str
    red: list[Doc]
    green: list[Doc]
    says: str = ""
    """Text that the message of the red case has in it."""


def on_lb1(*documents: Doc) -> list[Doc]:
    return [director(), *documents]


def one(rule: str, red: Doc, green: Doc, says: str = "") -> Case:
    """Two services, or other documents, on one plain director."""
    return Case(rule, on_lb1(red), on_lb1(green), says)


def ports(*given: Doc, **spec: Any) -> Doc:
    return service(ports=list(given), **spec)


def servers(*given: Doc, **spec: Any) -> Doc:
    return service(realServers=list(given), **spec)


def hosts(rule: str, red: Doc, green: Doc, says: str = "") -> Case:
    """A director with these fields."""
    return Case(rule, [director(**red)], [director(**green)], says)


KEEP = {"timeout": "5m"}

CASES = [
    # shape
    one(
        "ports-or-firewall-mark",
        service(firewallMark=7, ports=[{"port": 1}]),
        service(firewallMark=7),
    ),
    one("ports-or-firewall-mark", service(ports=LEFT_OUT), service()),
    one("real-servers-or-pools", service(realServers=LEFT_OUT), service(realServers=[])),
    one("firewall-mark-zero", service(firewallMark=0), service(firewallMark=1), "0 is too low"),
    one(
        "mark-with-host-addresses",
        service(firewallMark=1, hostAddresses=["node"]),
        service(firewallMark=1),
    ),
    one(
        "address-family-without-mark",
        service(addressFamily="ipv4"),
        service(addressFamily="ipv4", firewallMark=1),
    ),
    one(
        "vip-of-another-family",
        service(firewallMark=1, addressFamily="ipv6", realServers=[V6]),
        service(firewallMark=1, addressFamily="ipv4"),
        "203.0.113.10 is not ipv6",
    ),
    one(
        "mark-without-family",
        service(firewallMark=1, vips=LEFT_OUT, realServers=[]),
        service(firewallMark=1, vips=LEFT_OUT, realServers=[], addressFamily="ipv6"),
    ),
    Case(
        "service-without-address",
        [director(addresses={"node": ["10.9.9.9"]}), service(vips=LEFT_OUT)],
        [
            director(addresses={"node": ["10.9.9.9"]}),
            service(vips=LEFT_OUT, hostAddresses=["node"]),
        ],
    ),
    # addresses
    one("bad-address", service(vips=["203.0.113.010"]), service(), "without leading zeros"),
    one("bad-address", service(vips=["203.0.113.10/32"]), service(), "prefix length"),
    one("bad-address", service(vips=["web.example"]), service(), "names are not looked up"),
    one("bad-address", servers(server("fe80::1%eth0")), servers(server()), "after %"),
    one("bad-address", service(vips=["::ffff:203.0.113.10"]), service(), "write 203.0.113.10"),
    one("vip-not-routable", service(vips=["0.0.0.0"]), service(), "unspecified"),
    one("vip-not-routable", service(vips=["224.0.0.18"]), service(), "multicast"),
    one("vip-not-routable", service(vips=["0.0.0.1"]), service(), "0.0.0.0/8"),
    one("vip-not-routable", service(vips=["127.0.0.1"]), service(), "loopback"),
    one("vip-not-routable", service(vips=["169.254.0.1"]), service(), "link-local"),
    one("vip-not-routable", service(vips=["255.255.255.255"]), service(), "broadcast"),
    one(
        "vip-not-routable",
        service(vips=["fe80::1"], realServers=[V6]),
        service(vips=["2001:db8::1"], realServers=[V6]),
        "link-local",
    ),
    one("real-server-not-routable", servers(server("224.0.0.1")), servers(server("127.0.0.1"))),
    one("real-server-not-routable", servers(server(), server("fe80::1")), servers(server(), V6)),
    hosts(
        "host-address-not-usable",
        {"addresses": {"node": ["0.0.0.0"]}},
        {"addresses": {"node": ["127.0.0.1"]}},
    ),
    # ports
    one("port-zero-without-persistence", ports({"port": 0}), ports({"port": 0}, persistence=KEEP)),
    one(
        "port-zero-with-target-port",
        ports({"port": 0, "targetPort": 80}, persistence=KEEP),
        ports({"port": 1, "targetPort": 80}, persistence=KEEP),
    ),
    one(
        "port-zero-with-target-port",
        ports({"port": 0}, persistence=KEEP, realServers=[server(port=80)]),
        ports({"port": 0}, persistence=KEEP, realServers=[server()]),
    ),
    one(
        "one-packet-without-udp",
        ports({"port": 53, "onePacket": True}),
        ports({"port": 53, "onePacket": True, "protocol": "udp"}),
        "tcp port 53",
    ),
    one(
        "duplicate-port",
        ports({"port": 53}, {"port": 53, "targetPort": 54}),
        ports({"port": 53}, {"port": 53, "protocol": "udp"}),
    ),
    one(
        "own-port-with-several-ports",
        ports({"port": 80}, {"port": 443}, realServers=[server(port=8080)]),
        ports({"port": 53}, {"port": 53, "protocol": "udp"}, realServers=[server(port=8080)]),
        "port 8080",
    ),
    one(
        "port-changed-without-nat",
        ports({"port": 80, "targetPort": 8080}, forwarding="dr"),
        ports({"port": 80, "targetPort": 8080}),
        "dr cannot change port 80 to 8080",
    ),
    one(
        "port-changed-without-nat",
        servers(server(port=8443), forwarding="tun"),
        servers(server(port=443), forwarding="tun"),
        "has port 8443",
    ),
    one(
        "port-changed-without-nat",
        ports({"port": 80, "targetPort": 8080}, realServers=[server(forwarding="dr")]),
        ports({"port": 80}, realServers=[server(forwarding="dr")]),
    ),
    one(
        "port-changed-without-nat",
        service(firewallMark=1, realServers=[server(port=80)], forwarding="dr"),
        service(firewallMark=1, realServers=[server(port=80)], forwarding="nat"),
    ),
    # scheduling
    one(
        "flag-of-another-scheduler",
        service(scheduler="sh", schedulerFlags=["mh-port"]),
        service(scheduler="mh", schedulerFlags=["mh-port"]),
        "for scheduler mh, and this service has sh",
    ),
    one(
        "dh-with-drain",
        service(scheduler="dh"),
        service(scheduler="dh", drain={"timeout": "0s"}),
    ),
    one(
        "weights-ignored",
        servers(server(weight=1), server("10.0.3.6", weight=3), scheduler="rr"),
        servers(server(weight=0), server("10.0.3.6", weight=3), scheduler="rr"),
        "weights 1 and 3 on lb1; use wrr",
    ),
    one(
        "weights-ignored",
        servers(server(weight=1), server("10.0.3.6", weight=3), scheduler="lc"),
        servers(server(weight=1), server("10.0.3.6", weight=3), scheduler="wlc"),
        "use wlc",
    ),
    Case(
        "weights-ignored",
        on_lb1(
            service(pools=["a", {"name": "b", "weight": 5}], scheduler="rr"),
            pool("a", server()),
            pool("b", server("10.0.3.6")),
        ),
        on_lb1(
            service(pools=["a", {"name": "b", "weight": 0}], scheduler="rr"),
            pool("a", server()),
            pool("b", server("10.0.3.6")),
        ),
    ),
    Case(
        "weight-over-limit",
        on_lb1(service(pools=[{"name": "a", "weight": 2}]), pool("a", server(weight=32768))),
        on_lb1(service(pools=[{"name": "a", "weight": 2}]), pool("a", server(weight=32767))),
        "32768 of real server 10.0.3.5",
    ),
    one("out-of-range", servers(server(weight=65536)), servers(server(weight=65535)), "65535"),
    # persistence and durations
    one(
        "engine-without-persistence",
        ports({"port": 5060, "protocol": "udp"}, persistence={"engine": "sip"}),
        ports({"port": 5060, "protocol": "udp"}, persistence={**KEEP, "engine": "sip"}),
    ),
    one("persistence-without-timeout", service(persistence={}), service(persistence=KEEP)),
    one(
        "engine-without-udp",
        ports({"port": 5060}, persistence={**KEEP, "engine": "sip"}),
        ports({"port": 5060, "protocol": "udp"}, persistence={**KEEP, "engine": "sip"}),
    ),
    one(
        "persistence-out-of-range",
        service(persistence={"timeout": "0s"}),
        service(persistence={"timeout": "1s"}),
        "leave persistence out",
    ),
    one(
        "persistence-out-of-range",
        service(persistence={"timeout": "745h"}),
        service(persistence={"timeout": "744h"}),
        "31 days",
    ),
    one(
        "whole-seconds",
        service(persistence={"timeout": "1500ms"}),
        service(persistence={"timeout": "2000ms"}),
        "1500ms",
    ),
    hosts("whole-seconds", {"timeouts": {"tcp": "500ms"}}, {"timeouts": {"tcp": "1s"}}, "500ms"),
    hosts("timeout-out-of-range", {"timeouts": {"tcp": "0s"}}, {"timeouts": {"tcp": "1s"}}),
    hosts("timeout-out-of-range", {"timeouts": {"tcp": "597h"}}, {"timeouts": {"tcp": "596h"}}),
    one("bad-format", service(drain={"timeout": "5 min"}), service(drain={"timeout": "5m"}), "90s"),
    # tunnels
    one(
        "gue-without-port",
        service(forwarding="tun", tunnel={"type": "gue"}),
        service(forwarding="tun", tunnel={"type": "gue", "port": 6080}),
    ),
    one(
        "tunnel-port-without-gue",
        service(forwarding="tun", tunnel={"type": "gre", "port": 6080}),
        service(forwarding="tun", tunnel={"type": "gre"}),
    ),
    one(
        "tunnel-checksum",
        service(forwarding="tun", tunnel={"type": "gre", "checksum": "remote"}),
        service(forwarding="tun", tunnel={"type": "gre", "checksum": "full"}),
        "none, full",
    ),
    one(
        "tunnel-without-tun",
        service(tunnel={"type": "gre"}),
        service(tunnel={"type": "gre"}, realServers=[server(forwarding="tun")]),
    ),
    one(
        "tunnel-without-tun",
        servers(server(tunnel={"type": "gre"})),
        servers(server(tunnel={"type": "gre"}, forwarding="tun")),
    ),
    one(
        "cross-family-without-tun",
        service(crossFamily=True),
        service(crossFamily=True, forwarding="tun"),
    ),
    # real servers
    one(
        "thresholds-crossed",
        servers(server(upperThreshold=10, lowerThreshold=11)),
        servers(server(upperThreshold=10, lowerThreshold=10)),
        "lowerThreshold 11 is above upperThreshold (10)",
    ),
    one(
        "thresholds-crossed",
        servers(server(lowerThreshold=1)),
        servers(server(lowerThreshold=0)),
    ),
    Case(
        "thresholds-crossed",
        [pool("a", server(upperThreshold=10, lowerThreshold=11))],
        [pool("a", server(upperThreshold=10))],
    ),
    one("duplicate-real-server", servers(server(), server()), servers(server(), server(port=8443))),
    one(
        "duplicate-real-server",
        servers(server(), server(port=443)),
        servers(server(), server("10.0.3.6", port=443)),
        "10.0.3.5:443",
    ),
    Case(
        "duplicate-real-server",
        [pool("a", server(), server())],
        [pool("a", server(labels={"site": "ams"}), server(labels={"site": "lax"}))],
    ),
    Case(
        "duplicate-real-server",
        on_lb1(service(pools=["a", "b"]), pool("a", server()), pool("b", server())),
        on_lb1(service(pools=["a", "b"]), pool("a", server()), pool("b", server("10.0.3.6"))),
    ),
    one(
        "family-without-real-servers",
        service(vips=["203.0.113.10", "2001:db8::10"]),
        service(vips=["203.0.113.10", "2001:db8::10"], realServers=[server(), V6]),
        "no IPv6 real server",
    ),
    one(
        "family-without-real-servers",
        service(vips=["2001:db8::10"], forwarding="tun"),
        service(vips=["2001:db8::10"], forwarding="tun", crossFamily=True),
    ),
    one(
        "family-without-real-servers",
        service(firewallMark=1, addressFamily="ipv6", vips=LEFT_OUT),
        service(firewallMark=1, addressFamily="ipv6", vips=LEFT_OUT, realServers=[]),
    ),
    Case(
        "family-without-real-servers",
        [director(addresses={"n": ["2001:db8::1"]}), service(hostAddresses=["n"])],
        [director(addresses={"n": ["192.0.2.1"]}), service(hostAddresses=["n"])],
    ),
    one(
        "real-server-is-vip",
        servers(server("203.0.113.10")),
        servers(server("203.0.113.11")),
        "VIP of lb1",
    ),
    Case(
        "real-server-in-local-route",
        [director(localRoutes=["10.0.0.0/16"]), service()],
        [director(localRoutes=["10.1.0.0/16"]), service()],
        "10.0.0.0/16 of lb1",
    ),
    # names and selectors
    Case("duplicate-name", [director(), director()], [director(), director("lb2")], "all.yaml:2"),
    Case("duplicate-name", [pool("a"), pool("a")], [pool("a"), director("a")]),
    Case(
        "duplicate-name",
        on_lb1(service("a"), service("a", vips=["203.0.113.11"])),
        on_lb1(service("a"), service("b", vips=["203.0.113.11"])),
    ),
    Case(
        "unknown-pool",
        on_lb1(service(pools=["wbe"]), pool("web", server())),
        on_lb1(service(pools=["web"]), pool("web", server())),
        "did you mean web?",
    ),
    one(
        "unknown-director",
        service(directors={"names": ["lb2"]}),
        service(directors={"names": ["lb1"]}),
        "did you mean lb1?",
    ),
    Case(
        "unknown-host-address",
        [
            director(addresses={"n": ["192.0.2.1"]}),
            director("lb2"),
            service(hostAddresses=["n"]),
        ],
        [
            director(addresses={"n": ["192.0.2.1"]}),
            director("lb2", addresses={"n": []}),
            service(hostAddresses=["n"]),
        ],
        "Director lb2",
    ),
    Case(
        "selector-matches-none",
        [AMS, service(directors={"matchLabels": {"site": "lax"}})],
        [AMS, service(directors={"matchLabels": {"site": ["lax", "ams"]}})],
        "site lax",
    ),
    Case(
        "selector-matches-none",
        [AMS, LAX, service(directors={"names": ["lb-ams"], "matchLabels": {"site": "lax"}})],
        [AMS, LAX, service(directors={"names": ["lb-ams"], "matchLabels": {"site": "ams"}})],
    ),
    Case(
        "selector-matches-none",
        [
            AMS,
            LAX,
            service(
                directors={"names": ["lb-ams"]},
                vips=[
                    "203.0.113.1",
                    {"address": "203.0.113.2", "directors": {"names": ["lb-lax"]}},
                ],
            ),
        ],
        [
            AMS,
            LAX,
            service(
                vips=[
                    "203.0.113.1",
                    {"address": "203.0.113.2", "directors": {"names": ["lb-lax"]}},
                ],
            ),
        ],
        "VIP 203.0.113.2 is for lb-lax",
    ),
    Case(
        "empty-selection",
        [AMS, service(pools=[{"name": "a", "matchLabels": {"track": "x"}}]), pool("a", server())],
        [AMS, service(pools=[{"name": "a", "matchLabels": {"track": "x"}}]), pool("a")],
        "Pool a on lb-ams",
    ),
    Case(
        "empty-selection",
        [
            AMS,
            LAX,
            service(pools=[{"name": "a", "sameLabels": ["site"]}]),
            pool("a", server(labels={"site": "ams"})),
        ],
        [
            AMS,
            LAX,
            service(pools=[{"name": "a", "sameLabels": ["site"]}], directors={"names": ["lb-ams"]}),
            pool("a", server(labels={"site": "ams"})),
        ],
        "on lb-lax",
    ),
    Case(
        "empty-selection",
        [
            director(),
            service(pools=[{"name": "a", "sameLabels": ["site"]}]),
            pool("a", server(), server("10.0.3.6", labels={"site": "ams"})),
        ],
        [
            director(labels={"site": "ams"}),
            service(pools=[{"name": "a", "sameLabels": ["site"]}]),
            pool("a", server(), server("10.0.3.6", labels={"site": "ams"})),
        ],
        "on lb1",
    ),
    # what meets on a director
    Case(
        "same-virtual-service",
        [AMS, LAX, service("a"), service("b")],
        [
            AMS,
            LAX,
            service("a", directors={"names": ["lb-ams"]}),
            service("b", directors={"names": ["lb-lax"]}),
        ],
        "both serve tcp 203.0.113.10:443 on lb-ams and lb-lax",
    ),
    Case(
        "same-virtual-service",
        on_lb1(service("a"), service("b", ports=[{"port": 80}, {"port": 443}])),
        on_lb1(service("a"), service("b", ports=[{"port": 80}])),
    ),
    Case(
        "same-virtual-service",
        on_lb1(service("a", firewallMark=7), service("b", firewallMark=7, vips=["203.0.113.11"])),
        on_lb1(
            service("a", firewallMark=7),
            service("b", firewallMark=7, vips=["2001:db8::7"], realServers=[V6]),
        ),
        "both serve fwmark 7 ipv4 on lb1; give one of them another firewallMark or director",
    ),
    Case(
        "same-virtual-service",
        [
            director(addresses={"n": ["192.0.2.1"], "m": ["192.0.2.1"]}),
            service("a", vips=LEFT_OUT, hostAddresses=["n"]),
            service("b", vips=LEFT_OUT, hostAddresses=["m"]),
        ],
        [
            director(addresses={"n": ["192.0.2.1"], "m": ["192.0.2.2"]}),
            service("a", vips=LEFT_OUT, hostAddresses=["n"]),
            service("b", vips=LEFT_OUT, hostAddresses=["m"]),
        ],
        "tcp 192.0.2.1:443",
    ),
    Case(
        "same-virtual-service",
        [
            director(addresses={"n": ["192.0.2.1"]}),
            service("a", hostAddresses=["n"]),
            service("b", vips=LEFT_OUT, hostAddresses=["n"]),
        ],
        [
            director(addresses={"n": ["192.0.2.1"]}),
            service("a", hostAddresses=["n"]),
            service("b", vips=LEFT_OUT, hostAddresses=["n"], ports=[{"port": 80}]),
        ],
        "tcp port 443 of host address n",
    ),
    one(
        "duplicate-vip",
        service(vips=["2001:db8::1", "2001:DB8:0::1"], realServers=[V6]),
        service(vips=["2001:db8::1", "2001:db8::2"], realServers=[V6]),
    ),
    Case(
        "different-bind",
        on_lb1(
            service("a"),
            service("b", vips=[{"address": "203.0.113.10", "bind": False}], ports=[{"port": 80}]),
        ),
        on_lb1(
            service("a"),
            service("b", vips=[{"address": "203.0.113.10", "bind": True}], ports=[{"port": 80}]),
        ),
        "bind: false here and bind: true in all.yaml",
    ),
    Case(
        "vip-is-host-address",
        [director(addresses={"n": ["203.0.113.10"]}), service()],
        [director(addresses={"n": ["203.0.113.11"]}), service()],
    ),
    # directors
    hosts("interface-name", {"interface": "gitvs-dummy-0123"}, {"interface": "gitvs-dummy-012"}),
    hosts("interface-name", {"interface": "gìtvs-dummy-012"}, {"interface": "gìtvs-dummy-01"}),
    hosts("interface-name", {"interface": "a b"}, {"interface": "a-b"}),
    hosts("interface-name", {"interface": "-x"}, {"interface": "x-"}),
    hosts("interface-name", {"interface": "\x1b[31m"}, {"interface": "[31m"}),
    hosts("interface-name", {"interface": "all"}, {"interface": "all0"}),
    hosts("interface-name", {"interface": "lo"}, {"interface": "lo0"}),
    hosts(
        "interface-name",
        {"syncDaemons": [{"role": "primary", "interface": "eth0/1"}]},
        {"syncDaemons": [{"role": "primary", "interface": "eth0.1"}]},
    ),
    hosts(
        "duplicate-sync-daemon",
        {"syncDaemons": [{"role": "backup", "interface": i} for i in ("eth0", "eth1")]},
        {"syncDaemons": [{"role": r, "interface": "eth0"} for r in ("backup", "primary")]},
    ),
    hosts(
        "not-multicast",
        {"syncDaemons": [{"role": "backup", "interface": "eth0", "group": "10.0.0.81"}]},
        {"syncDaemons": [{"role": "backup", "interface": "eth0", "group": "239.0.0.81"}]},
        "10.0.0.81 is no multicast group; write one, such as 224.0.0.81 or ff02::81",
    ),
    hosts(
        "sync-length-out-of-range",
        {
            "syncDaemons": [
                {"role": "backup", "interface": "eth0", "group": "ff02::1", "maxLength": 1023}
            ]
        },
        {
            "syncDaemons": [
                {"role": "backup", "interface": "eth0", "group": "ff02::1", "maxLength": 1024}
            ]
        },
        "1023 is out of range; for a backup with group ff02::1 it is 1024 to 65487",
    ),
    hosts("bad-prefix", {"localRoutes": ["10.20.0.1/24"]}, {"localRoutes": ["10.20.0.0/24"]}),
    hosts(
        "bad-prefix",
        {"localRoutes": ["10.20.0.0/255.255.255.0"]},
        {"localRoutes": ["10.20.0.0"]},
        "write the length as a number, 10.20.0.0/24",
    ),
    hosts("bad-prefix", {"localRoutes": ["10.20.0/24"]}, {"localRoutes": ["2001:db8::/64"]}),
    hosts("local-route-too-wide", {"localRoutes": ["8.0.0.0/7"]}, {"localRoutes": ["10.0.0.0/8"]}),
    hosts("local-route-too-wide", {"localRoutes": ["2001::/31"]}, {"localRoutes": ["2001::/32"]}),
    hosts("local-route-too-wide", {"localRoutes": ["0.0.0.0/0"]}, {"localRoutes": []}),
    hosts(
        "local-route-reserved", {"localRoutes": ["127.1.0.0/16"]}, {"localRoutes": ["128.0.0.0/16"]}
    ),
    hosts(
        "local-route-reserved", {"localRoutes": ["169.0.0.0/8"]}, {"localRoutes": ["170.0.0.0/8"]}
    ),
    hosts("local-route-reserved", {"localRoutes": ["ff02::/32"]}, {"localRoutes": ["fd00::/32"]}),
    hosts("bad-key", {"sysctls": {"kernel.panic": 1}}, {"sysctls": {"net.core.somaxconn": 1}}),
    hosts("bad-sysctl", {"sysctls": {"net.a.//.b": 1}}, {"sysctls": {"net.ipv4.conf.e0/1.x": 1}}),
    hosts("bad-sysctl", {"sysctls": {"net.a": " "}}, {"sysctls": {"net.a": "1 2"}}),
    # policy and defaults
    Case("several-policies", [policy(), policy()], [policy()]),
    Case("several-defaults", [defaults(), defaults()], [defaults()], "all.yaml:2"),
    Case(
        "missing-field",
        [defaults({"schedulerFlags": ["mh-port"]})],
        [defaults({"schedulerFlags": ["mh-port"], "scheduler": "mh"})],
        "only together with scheduler",
    ),
    Case(
        "missing-field",
        [defaults({"tunnel": {"type": "gre"}})],
        [defaults({"tunnel": {"type": "gre"}, "forwarding": "tun"})],
        "only together with forwarding",
    ),
    Case(
        "whole-seconds",
        [defaults({"persistence": {"timeout": "1ms"}})],
        [defaults({"persistence": {"timeout": "1s"}})],
    ),
    Case(
        "owner-path",
        [policy(owners=[{"path": "../team"}])],
        [policy(owners=[{"path": "team/"}])],
    ),
    Case(
        "owner-overlap",
        [policy(owners=[{"path": "a"}, {"path": "a/"}])],
        [policy(owners=[{"path": "a"}, {"path": "a/b"}])],
    ),
    Case(
        "owner-overlap",
        [
            policy(
                owners=[
                    {"path": p, "vips": [v]} for p, v in (("a", "10.0.0.0/8"), ("b", "10.1.0.0/16"))
                ]
            )
        ],
        [
            policy(
                owners=[
                    {"path": p, "vips": [v]} for p, v in (("a", "10.0.0.0/8"), ("b", "11.1.0.0/16"))
                ]
            )
        ],
    ),
    Case(
        "owner-overlap",
        [policy(owners=[{"path": p, "firewallMarks": [1]} for p in "ab"])],
        [policy(owners=[{"path": p, "firewallMarks": [m]} for m, p in enumerate("ab", 1)])],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.rule)
def test_a_broken_rule_is_reported_once_with_its_name(case: Case) -> None:
    found = problems_of(*case.red)
    assert rules_of(found) == [case.rule]
    assert case.says in found[0].message


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.rule)
def test_the_neighbour_of_a_broken_rule_is_fine(case: Case) -> None:
    assert problems_of(*case.green) == []


TEAM = {"path": "team-a", "vips": ["203.0.113.64/26"], "firewallMarks": [100]}
TEAM_ON_AMS = {**TEAM, "directors": {"names": ["lb-ams"]}}
THEIRS = ["203.0.113.65"]


@pytest.mark.parametrize(
    ("rule", "path", "red", "green"),
    [
        ("owner-vip", "team-a/x.yaml", service(), service(vips=THEIRS)),
        ("owner-vip", "team-a/deep/x.yaml", service(), service(vips=THEIRS)),
        ("owner-vip", "x.yaml", service(vips=THEIRS), service()),
        ("owner-vip", "team-b/x.yaml", service(vips=THEIRS), service()),
        (
            "owner-firewall-mark",
            "team-a/x.yaml",
            service(vips=THEIRS, firewallMark=101),
            service(vips=THEIRS, firewallMark=100),
        ),
        ("owner-firewall-mark", "x.yaml", service(firewallMark=100), service(firewallMark=101)),
        (
            "owner-host-address",
            "team-a/x.yaml",
            service(vips=THEIRS, hostAddresses=["n"]),
            service(vips=THEIRS),
        ),
    ],
)
def test_an_owned_path_and_what_is_its_own_go_together(
    rule: str, path: str, red: Doc, green: Doc
) -> None:
    around = file_of("policy.yaml", policy(owners=[TEAM]), director(addresses={"n": ["192.0.2.1"]}))
    assert rules_of(problems_in(around, file_of(path, red))) == [rule]
    assert problems_in(around, file_of(path, green)) == []


def test_an_owner_stays_on_its_directors() -> None:
    around = file_of("policy.yaml", policy(owners=[TEAM_ON_AMS]), AMS, LAX)
    everywhere = service(vips=THEIRS)
    on_ams = service(vips=THEIRS, directors={"names": ["lb-ams"]})
    found = problems_in(around, file_of("team-a/x.yaml", everywhere))
    assert rules_of(found) == ["owner-director"]
    assert "lb-lax" in found[0].message
    assert problems_in(around, file_of("team-a/x.yaml", on_ams)) == []


def test_the_directors_of_an_owner_serve_others_too() -> None:
    around = file_of("policy.yaml", policy(owners=[TEAM_ON_AMS]), AMS, LAX)
    assert problems_in(around, file_of("x.yaml", service())) == []


def test_defaults_of_an_owned_folder_keep_its_services_on_its_directors() -> None:
    around = file_of("policy.yaml", policy(owners=[TEAM_ON_AMS]), AMS, LAX)
    team_defaults = file_of("team-a/defaults.yaml", defaults({"directors": {"names": ["lb-ams"]}}))
    assert problems_in(around, team_defaults, file_of("team-a/x.yaml", service(vips=THEIRS))) == []


@pytest.mark.parametrize(
    "what", [director("other"), policy(), document("Pool", "p", {"realServers": []})]
)
def test_no_director_and_no_policy_inside_an_owned_path(what: Doc) -> None:
    files = [file_of("policy.yaml", policy(owners=[TEAM])), file_of("team-a/x.yaml", what)]
    expected = {"Director": ["owner-document"], "Pool": []}
    expected["Policy"] = ["policy-outside-root", "several-policies"]
    assert sorted(rules_of(problems_in(*files))) == expected[what["kind"]]


def test_a_policy_in_a_folder_is_refused() -> None:
    assert rules_of(problems_in(file_of("a/p.yaml", policy()))) == ["policy-outside-root"]


def test_two_services_on_one_key_are_both_named_with_file_and_line() -> None:
    files = [
        file_of("0.yaml", director()),
        file_of("a.yaml", service("a")),
        file_of("b.yaml", service("b")),
    ]
    (found,) = problems_in(*files)
    assert (found.file, found.pointer) == ("b.yaml", "/spec/vips/0")
    assert f"service b (b.yaml:{found.line})" in found.message
    assert f"service a (a.yaml:{found.line})" in found.message


def test_one_key_on_two_hundred_directors_is_one_problem() -> None:
    directors = [director(f"lb{n:03}") for n in range(200)]
    (found,) = problems_of(*directors, service("a"), service("b"))
    assert "lb000, lb001, lb002 and 197 more" in found.message


def test_a_firewall_mark_needs_no_vip() -> None:
    assert problems_of(director(), service(vips=LEFT_OUT, firewallMark=1)) == []


def test_a_weight_factor_of_zero_is_zero_and_not_one() -> None:
    documents = [service(pools=[{"name": "a", "weight": 0}]), pool("a", server(weight=65535))]
    assert problems_of(director(), *documents) == []


def test_two_equal_real_servers_on_one_line_have_one_place() -> None:
    text = (
        "{apiVersion: gitvs/v1, kind: Director, metadata: {name: lb1}}\n---\n"
        "{apiVersion: gitvs/v1, kind: Service, metadata: {name: web}, spec: {vips: [192.0.2.7],"
        " ports: [{port: 80}], realServers: [{address: 10.1.0.1}, {address: 10.1.0.1}]}}\n"
    )
    (problem,) = problems_in(ManifestFile("a.yaml", text.encode()))
    assert "is twice in service web, both in a.yaml:3; remove one" in problem.message
