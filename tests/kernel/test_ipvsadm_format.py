"""What `render` prints as commands is what ipvsadm and ip take, and what they print themselves."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import pytest

from gitvs.core.model.resources import (
    DummyInterface,
    Endpoint,
    Forwarding,
    LocalRoute,
    Persistence,
    Protocol,
    RealServer,
    Resource,
    Scheduler,
    Tunnel,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.report.host.ip_commands import ip_commands
from gitvs.report.host.ipvsadm import ipvsadm_lines
from tests.support.ipvsadm_lines import EVERYTHING

pytestmark = pytest.mark.kernel


def run(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, input=stdin)
    assert done.stderr == ""
    return done.stdout


def restored(resources: Iterable[Resource]) -> tuple[list[str], list[str]]:
    """Our lines without thresholds, and what ipvsadm prints once it has restored them."""
    lines = list(ipvsadm_lines(State(resources)))
    run("ipvsadm", "-R", stdin="".join(f"{x}\n" for x in lines))
    without = [re.sub(r" -[xy] \d+", "", x) for x in lines]
    return without, run("ipvsadm", "-Sn").splitlines()


def services(*listeners: str, protocol: Protocol = Protocol.TCP) -> list[VirtualService]:
    endpoints = (x.rpartition(":") for x in listeners)
    return [
        VirtualService(Endpoint(protocol, ip_address(host), int(port)))
        for host, _, port in endpoints
    ]


def test_every_attribute_is_spelled_as_ipvsadm_spells_it() -> None:
    ours, theirs = restored(resource for resource, _ in EVERYTHING)
    assert ours == theirs


@pytest.mark.parametrize("scheduler", [s for s in Scheduler if s is not Scheduler.TWOS])
def test_every_scheduler_is_taken(scheduler: Scheduler) -> None:
    listener = Endpoint(Protocol.UDP, ip_address("192.0.2.7"), 53)
    persistence = Persistence(300, 24)
    ours, theirs = restored([VirtualService(listener, scheduler, persistence=persistence)])
    assert ours == theirs


def test_services_stand_in_the_order_of_ipvsadm() -> None:
    ours, theirs = restored(
        [
            *services("10.0.0.1:80", "203.0.113.10:443", "203.0.113.10:80", "198.51.100.1:80"),
            *services("203.0.113.9:80", protocol=Protocol.UDP),
            *services("fd00::1:80", "2001:db8::ffff:0:0:80", "2001:db8::1:80", "::ffff:1.2.3.4:80"),
            *services("2001:db8::1:53", protocol=Protocol.SCTP),
        ]
    )
    assert ours == theirs


def test_real_servers_stand_in_the_order_of_ipvsadm() -> None:
    (service,) = services("203.0.113.10:443")
    addresses = ["10.0.0.9", "203.0.113.77", "10.0.0.10", "192.168.1.1", "2001:db8::1"]
    ours, theirs = restored(
        [
            service,
            *(
                RealServer(
                    service.listener,
                    ip_address(a),
                    443,
                    forwarding=Forwarding.TUN,
                    tunnel=Tunnel(),
                )
                for a in addresses
            ),
            RealServer(service.listener, ip_address("10.0.0.9"), 80),
        ]
    )
    assert ours == theirs


def test_thresholds_arrive() -> None:
    (service,) = services("203.0.113.10:443")
    server = RealServer(
        service.listener, ip_address("10.0.0.9"), 8443, upper_threshold=1000, lower_threshold=800
    )
    restored([service, server])
    listed = [x.split() for x in run("ipvsadm", "-Ln", "--thresholds").splitlines()]
    assert ["->", "10.0.0.9:8443", "1000", "800", "0", "0"] in listed


def test_the_ip_commands_make_what_they_say() -> None:
    state = State(
        [
            DummyInterface("gitvs0"),
            Vip(ip_address("203.0.113.10"), "gitvs0", 32),
            Vip(ip_address("2001:db8::10"), "gitvs0", 128),
            LocalRoute(ip_network("198.51.100.0/24")),
            LocalRoute(ip_network("2001:db8:a::/64")),
        ]
    )
    for command in ip_commands(state):
        run(*command.split())
    routes = run("ip", "route", "show", "table", "local") + run(
        *("ip", "-6", "route", "show", "table", "local")
    )
    assert "local 198.51.100.0/24 dev lo proto 71 scope host" in routes
    assert "local 2001:db8:a::/64 dev lo proto 71" in routes
    assert "local 203.0.113.10 dev gitvs0 proto kernel scope host src 203.0.113.10" in routes
    assert "local 2001:db8::10 dev gitvs0 proto kernel" in routes
