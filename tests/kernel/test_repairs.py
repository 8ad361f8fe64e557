"""On a real kernel: one object that cannot be repaired hurts nothing else, and no commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gitvs.core.model.history import Outcome
from gitvs.core.model.resources import Key, RealServer
from gitvs.reconcile.one_pass import PassResult
from gitvs.reconcile.teardown import teardown
from tests.harness.lab import run
from tests.kernel.agent_process import Host, eventually
from tests.kernel.live import Director
from tests.support.agents import DIRECTOR
from tests.support.agents import service as web_of_two
from tests.support.manifests.writing import Doc, director, server, service

pytestmark = pytest.mark.kernel

WEB = service("web", vips=["203.0.113.10"], realServers=[server("10.0.0.1")])
WEB6 = service("web6", vips=["2001:db8::10"], realServers=[server("2001:db8:1::1")])
VIP = Key("203.0.113.10/32 dev gitvs0")
VIP6 = Key("2001:db8::10/128 dev gitvs0")
SWITCH = "net.ipv6.conf.gitvs0.disable_ipv6"


@pytest.fixture
def here(tmp_path: Path) -> Director:
    return Director(tmp_path)


def switch(value: int, name: str = SWITCH) -> None:
    """Switch IPv6 off, or on."""
    run("sysctl", "-qw", f"{name}={value}")


def reasons(result: PassResult) -> dict[Key, str]:
    return {u.key: u.reason for u in result.unrepairable}


def weighing(weight: int) -> Doc:
    return service("web", vips=["203.0.113.10"], realServers=[server("10.0.0.1", weight=weight)])


def weights(here: Director) -> list[int]:
    return [s.weight for s in here.observe(WEB).state.of_type(RealServer)]


def keys(here: Director, *documents: Doc) -> set[Key]:
    return set(here.observe(*documents).state)


def test_with_ipv6_switched_off_the_agent_keeps_ipv4_and_takes_commits(tmp_path: Path) -> None:
    """The first input of fault B0."""
    web = web_of_two().replace("vips: [203.0.113.10]", 'vips: [203.0.113.10, "2001:db8::10"]')
    web = web.replace("  realServers:", "  realServers:\n  - {address: '2001:db8:1::1'}")
    host = Host(tmp_path, {"lb1.yaml": DIRECTOR, "web.yaml": web})
    with host.agent():
        switch(1)
        run("ipvsadm", "-D", "-t", "203.0.113.10:80")
        eventually(lambda: "203.0.113.10:80" in run("ipvsadm", "-Sn"), host.log)
        eventually(lambda: _unrepairable(host) == [VIP6], host.log)
        host.remote.commit({"web.yaml": web.replace("10.0.0.1, weight: 1", "10.0.0.1, weight: 7")})
        eventually(lambda: "-w 7" in run("ipvsadm", "-Sn"), host.log)
        eventually(lambda: _is_newest_applied(host), host.log)
        status = host.order("status")
        assert status["quarantined"] == []
        assert SWITCH in status["unrepairable"][0]["reason"]
        switch(0)
        eventually(lambda: _unrepairable(host) == [], host.log)
        assert "2001:db8::10" in run("ip", "address", "show", "gitvs0")
    assert host.log.read_text().count("not repaired key=") == 1


def _is_newest_applied(host: Host) -> bool:
    status = host.order("status")
    return bool(status["applied"] == status["source"]["head"])


def _unrepairable(host: Host) -> list[Any]:
    return [u["key"] for u in host.order("status")["unrepairable"]]


@contextmanager
def vlan() -> Iterator[str]:
    """A VLAN, for as long as the block lasts."""
    run("ip", "link", "add", "up0", "type", "dummy")
    run("ip", "link", "add", "link", "up0", "name", "vlan5", "type", "vlan", "id", "5")
    yield "vlan5"
    run("ip", "link", "delete", "vlan5")


def test_a_vlan_that_went_away_keeps_nothing_from_being_repaired(here: Director) -> None:
    """The second input of fault B0."""
    setting = Key("net.ipv4.conf.vlan5.rp_filter")
    lb1 = director(sysctls={setting: 1})
    with vlan():
        here.apply(lb1, WEB)
    run("ipvsadm", "-C")
    result = here.bring(lb1, WEB)
    assert (result.outcome, result.exit_code) == (Outcome.APPLIED, 1)
    assert reasons(result).keys() == {setting}
    assert weights(here) == [1]
    assert here.bring(lb1, weighing(7)).outcome is Outcome.APPLIED
    assert weights(here) == [7]


@pytest.fixture
def no_module() -> Iterator[None]:
    """A kernel that loads no modules, and has no scheduler `fo`, for as long as the test lasts."""
    former = Path("/proc/sys/kernel/modprobe").read_text()
    yield
    Path("/proc/sys/kernel/modprobe").write_text(former)


@pytest.mark.usefixtures("no_module")
def test_a_scheduler_module_that_is_gone_keeps_nothing_from_being_repaired(here: Director) -> None:
    failover = service(
        "failover", vips=["203.0.113.11"], scheduler="fo", realServers=[server("10.0.0.1")]
    )
    here.apply(WEB, failover)
    run("ipvsadm", "-C")
    Path("/proc/sys/kernel/modprobe").write_text("/bin/false")
    run("rmmod", "ip_vs_fo")
    run("ip", "address", "delete", "203.0.113.11/32", "dev", "gitvs0")
    result = here.bring(WEB, failover)
    assert result.outcome is Outcome.APPLIED
    lost = Key("tcp 203.0.113.11:443")
    assert reasons(result).keys() == {
        lost,
        Key(f"{lost} -> 10.0.0.1:443"),
        Key("203.0.113.11/32 dev gitvs0"),
    }
    assert "is module ip_vs_fo there?" in reasons(result)[lost]
    assert weights(here) == [1]
    assert here.bring(weighing(7), failover).outcome is Outcome.APPLIED
    assert weights(here) == [7]


@pytest.mark.parametrize("name", ["all", "default"])
def test_without_ipv6_a_commit_that_needs_it_is_blocked(here: Director, name: str) -> None:
    switch(1, f"net.ipv6.conf.{name}.disable_ipv6")
    result = here.bring(WEB, WEB6)
    assert result.outcome is Outcome.BLOCKED
    assert result.planned is not None
    assert [(g.name, g.key) for g in result.planned.proposal.gates] == [("unsupported", VIP6)]
    assert "gitvs0" not in run("ip", "link")
    assert here.bring(WEB).outcome is Outcome.APPLIED


def test_ipv6_on_again_brings_the_vip_back(here: Director) -> None:
    here.apply(WEB, WEB6)
    switch(1)
    assert reasons(here.bring(WEB, WEB6)).keys() == {VIP6}
    switch(0)
    result = here.bring(WEB, WEB6)
    assert (result.outcome, result.exit_code) == (Outcome.APPLIED, 0)
    assert here.bring(WEB, WEB6).outcome is Outcome.CONVERGED


def test_a_renamed_interface_is_told_not_doubled_and_torn_down(here: Director) -> None:
    here.apply(WEB, WEB6)
    run("ip", "link", "set", "gitvs0", "name", "lan7")
    run("ipvsadm", "-C")
    result = here.bring(WEB, WEB6)
    assert reasons(result).keys() == {Key("dummy gitvs0"), VIP, VIP6}
    assert "gitvs0" not in run("ip", "link")
    assert weights(here) == [1, 1]
    run("ip", "link", "set", "lan7", "name", "gitvs0")
    assert here.bring(WEB, WEB6).outcome is Outcome.CONVERGED
    run("ip", "link", "set", "gitvs0", "name", "lan7")
    with here.ports() as ports:
        assert teardown(ports).outcome is Outcome.APPLIED
    assert "lan7" not in run("ip", "link")


def test_an_interface_in_a_vrf_is_told_and_keeps_ipv4(here: Director) -> None:
    here.apply(WEB, WEB6)
    run("ip", "link", "add", "red", "type", "vrf", "table", "10")
    run("ip", "link", "set", "gitvs0", "master", "red")
    run("ipvsadm", "-C")
    result = here.bring(WEB, WEB6)
    assert reasons(result).keys() == {Key("dummy gitvs0"), VIP6}
    assert "VRF red" in reasons(result)[VIP6]
    assert "203.0.113.10 dev gitvs0" in run("ip", "route", "show", "table", "local")
    assert weights(here) == [1, 1]
    run("ip", "link", "set", "gitvs0", "nomaster")
    assert here.bring(WEB, WEB6).exit_code == 0
    assert here.bring(WEB, WEB6).outcome is Outcome.CONVERGED
