"""`gitvs install` on a host with systemd, and what the units' sandbox lets gitvs do."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gitvs.adapters.service.installation import DESTINATIONS, SERVICES, UNITS
from tests.harness.system_guest import SystemGuest
from tests.system.director import PROGRAM, director, put

pytestmark = pytest.mark.system

MANIFESTS = """
apiVersion: gitvs/v1
kind: Director
metadata: {name: lb1}
spec: {localRoutes: [10.20.0.0/24], sysctls: {net.ipv4.ip_forward: 1}, timeouts: {tcp: 10m}}
---
apiVersion: gitvs/v1
kind: Service
metadata: {name: web}
spec:
  vips: [203.0.113.10, "2001:db8::10"]
  ports: [{port: 80}]
  scheduler: mh
  realServers: [{address: 10.0.3.5}, {address: "2001:db8:3::5"}]
"""

RULES = [
    "-A -t 203.0.113.10:80 -s mh",
    "-A -t [2001:db8::10]:80 -s mh",
    "-a -t 203.0.113.10:80 -r 10.0.3.5:80 -m -w 1",
    "-a -t [2001:db8::10]:80 -r [2001:db8:3::5]:80 -m -w 1",
]


NOTHING = """
    ipvsadm -C
    ip link delete gitvs0 2>/dev/null || true
    ip route flush table local proto 71
    rmmod ip_vs_mh 2>/dev/null || true
    sysctl -qw net.ipv4.ip_forward=0
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemGuest]:
    with director(tmp_path_factory.mktemp("system")) as machine:
        said = machine.check(f"{PROGRAM} install --yes")
        assert said.count("create") == len(DESTINATIONS) + 1
        put(machine, "/srv/manifests/all.yaml", MANIFESTS)
        yield machine


def run_in_sandbox(host: SystemGuest, unit: str, command: str) -> None:
    """Run a command as a unit does: same user, same sandbox, but once."""
    lines = ("[Service]", "Type=oneshot", "Restart=no", "WatchdogSec=0", "RemainAfterExit=no")
    drop_in = "\n".join([*lines, "ExecStart=", f"ExecStart={command}"])
    unset = "[Unit]\nConditionPathExists=\nWants=\n"
    put(host, f"/run/systemd/system/{unit}.d/once.conf", unset + drop_in)
    try:
        ran = host.run(f"systemctl daemon-reload && systemctl start {unit}")
        assert ran.code == 0, host.check(f"journalctl --no-pager -b -u {unit}")
    finally:
        host.check(f"rm -r /run/systemd/system/{unit}.d; systemctl daemon-reload")


def test_a_second_installation_has_nothing_to_do(host: SystemGuest) -> None:
    assert host.check(f"{PROGRAM} install").endswith("nothing to do\n")


def test_the_units_run_the_program_that_installed_them(host: SystemGuest) -> None:
    for unit in SERVICES:
        assert f"path={PROGRAM} ;" in host.check(f"systemctl show -p ExecStart {unit}")


def test_users_and_folders_are_there(host: SystemGuest) -> None:
    assert host.check("id -nG gitvs; getent group gitvs-admin | cut -d: -f1,4").split() == [
        "gitvs",
        "gitvs-admin:",
    ]
    paths = "/etc/gitvs /etc/gitvs/gitvs.toml /run/gitvs /run/gitvs/lock /var/lib/gitvs"
    assert host.check(f"stat -c '%a %U:%G %n' {paths}").splitlines() == [
        "750 root:gitvs /etc/gitvs",
        "640 root:gitvs /etc/gitvs/gitvs.toml",
        "755 root:root /run/gitvs",
        "770 root:gitvs /run/gitvs/lock",
        "700 gitvs:gitvs /var/lib/gitvs",
    ]


def test_what_root_does_before_the_first_start_is_the_agents(host: SystemGuest) -> None:
    put(host, "/srv/once.toml", 'director = "lb1"\n[source]\ndirectory = "/srv/manifests"')
    host.check(f"{PROGRAM} agent --once --config /srv/once.toml")
    assert host.check("stat -c '%U' /var/lib/gitvs/gitvs.db") == "gitvs\n"
    assert host.check("find /var/lib/gitvs ! -user gitvs") == ""
    assert sorted(host.check("ipvsadm -Sn").splitlines()) == RULES


def test_the_services_start_at_boot_and_nothing_is_started_yet(host: SystemGuest) -> None:
    assert host.check(f"systemctl is-enabled {' '.join(SERVICES)}").split() == ["enabled"] * 2
    assert host.run(f"systemctl is-active {' '.join(UNITS)}").out.split() == ["inactive"] * 3


def test_an_installation_that_was_broken_off_is_finished(host: SystemGuest) -> None:
    host.check("systemctl disable -q gitvs.service")
    host.check(f"{PROGRAM} install --yes")
    assert host.check("systemctl is-enabled gitvs.service") == "enabled\n"


@pytest.mark.parametrize("unit", SERVICES)
def test_systemd_rates_the_sandbox_2_or_better(host: SystemGuest, unit: str) -> None:
    said = host.check(f"systemd-analyze security --no-pager {unit}")
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert exposure is not None, said
    assert float(exposure[1]) <= 2.0, said


@pytest.mark.parametrize("unit", SERVICES)
def test_the_sandbox_lets_gitvs_make_everything(host: SystemGuest, unit: str) -> None:
    """Sysctls, the link, routes, rules, and a scheduler that the kernel has yet to load."""
    host.check(NOTHING)
    assert "ip_vs_mh" not in host.check("lsmod")
    run_in_sandbox(host, unit, f"{PROGRAM} apply /srv/manifests --director lb1")
    assert "ip_vs_mh" in host.check("lsmod")
    assert sorted(host.check("ipvsadm -Sn").splitlines()) == RULES
    assert host.check("sysctl -n net.ipv4.ip_forward net.ipv4.vs.expire_nodest_conn") == "1\n1\n"
    assert "dummy" in host.check("ip -d link show gitvs0")
    assert host.check("ip -o -4 addr show gitvs0 | awk '{print $4}'") == "203.0.113.10/32\n"
    assert "10.20.0.0/24" in host.check("ip route show table local proto 71")
    assert host.check("stat -c '%a %U' /var/lib/gitvs") == "700 gitvs\n"


def test_settings_that_cannot_be_used_do_not_start_the_agent_again(host: SystemGuest) -> None:
    """The sample settings name no source."""
    host.run("systemctl start gitvs.service")
    state = "systemctl show -P ActiveState -P ExecMainStatus -P NRestarts gitvs.service"
    assert sorted(host.check(state).split()) == ["0", "78", "failed"]
    host.check("systemctl reset-failed gitvs.service; systemctl stop gitvs.socket")


def test_uninstall_takes_the_files_and_leaves_the_kernel(host: SystemGuest) -> None:
    host.check("ipvsadm -A -t 192.0.2.1:80; touch /var/lib/gitvs/here")
    rules = host.check("ipvsadm -Sn")
    host.check(f"{PROGRAM} uninstall --yes")
    paths = " ".join(f"/{destination}" for destination in DESTINATIONS.values())
    assert host.run(f"ls {paths}").out == ""
    assert host.check("find /etc/systemd -name '*gitvs*'") == ""
    assert host.run("systemctl cat gitvs.service gitvs.socket gitvs-restore.service").out == ""
    assert host.check("ipvsadm -Sn") == rules
    host.check("id gitvs; test -e /etc/gitvs/gitvs.toml; test -e /var/lib/gitvs/here")
