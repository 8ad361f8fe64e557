"""The agent as systemd runs it: from a push to the kernel, through crashes, stops and reboots."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.harness.system_guest import SystemGuest
from tests.system import remote
from tests.system.director import PROGRAM, director, put

pytestmark = pytest.mark.system

ADMIN = "ada"

SETTINGS = f"""
director = "lb1"

[source]
url = "{remote.URL}"
ssh_key = "{remote.KEY}"
known_hosts = "{remote.KNOWN_HOSTS}"
poll = "4s"
timeout = "20s"

[agent]
drift = "4s"
"""

DROP_IN = """
[Service]
RestartSec=1s
WatchdogSec=10s
"""
"""What the shipped unit waits for minutes, in seconds."""

MANIFESTS = """
apiVersion: gitvs/v1
kind: Director
metadata: {name: lb1}
---
apiVersion: gitvs/v1
kind: Service
metadata: {name: web}
spec:
  vips: [203.0.113.10]
  ports: [{port: 80}]
  realServers: [{address: 10.0.3.5, weight: WEIGHT}]
"""

AGENT_PID = "systemctl show -P MainPID gitvs.service"
CHILDREN = "/sys/fs/cgroup/system.slice/gitvs.service/cgroup.procs"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemGuest]:
    """A director that follows a remote which weighs its one real server 1."""
    with director(tmp_path_factory.mktemp("system")) as machine:
        machine.check(f"{PROGRAM} install --yes && useradd -G gitvs-admin {ADMIN}")
        put(machine, "/etc/gitvs/gitvs.toml", SETTINGS)
        put(machine, "/etc/systemd/system/gitvs.service.d/test.conf", DROP_IN)
        remote.make_remote(machine)
        push_weight(machine, 1)
        machine.check("systemctl daemon-reload && systemctl start gitvs.service")
        yield machine


@pytest.fixture(autouse=True)
def log(host: SystemGuest) -> Iterator[None]:
    """What the agent said, beside a test that failed."""
    yield
    units = "-u gitvs.service -u gitvs-restore.service"
    print(host.run(f"journalctl --no-pager -b -n 60 {units}").out)


def push_weight(host: SystemGuest, weight: int) -> str:
    return remote.push(host, MANIFESTS.replace("WEIGHT", str(weight)))


CHECKS = "  health: {interval: 500ms, timeout: 500ms, fall: 1, checks: [{tcp: {}}]}\n"
CHECKERS = "pgrep -f '[g]itvs.health.process'"


def has_weight(weight: int) -> str:
    """Return a shell condition."""
    return f"ipvsadm -Sn | grep -qx -e '-a -t 203.0.113.10:80 -r 10.0.3.5:80 -m -w {weight}'"


KERNEL = "ipvsadm -Sn; ip -o addr show dev gitvs0; sysctl net.ipv4.vs.expire_nodest_conn"


def as_admin(command: str) -> str:
    return f"runuser -u {ADMIN} -- {PROGRAM} {command}"


def test_it_says_that_it_is_ready_and_applies_the_branch(host: SystemGuest) -> None:
    assert host.check("systemctl is-active gitvs.service gitvs.socket").split() == ["active"] * 2
    host.wait_until(has_weight(1))


def test_real_servers_are_checked_by_a_process_without_rights_and_with_enough_descriptors(
    host: SystemGuest,
) -> None:
    """Nobody is at the address of the only real server: the check stays on trial."""
    remote.push(host, MANIFESTS.replace("WEIGHT", "1") + CHECKS)
    host.wait_until(f'{PROGRAM} status --json | grep -q \'"failure": *"\'')
    assert host.check(f"{PROGRAM} status --json | grep -c '\"isAnswering\": *true'").strip() == "1"
    facts = host.check(f"cat /proc/$({CHECKERS})/status /proc/$({CHECKERS})/limits")
    assert f"CapEff:\t{0:016x}" in facts
    assert "NoNewPrivs:\t1" in facts
    (files,) = (line for line in facts.splitlines() if line.startswith("Max open files"))
    assert files.split()[3:5] == ["16384", "16384"]
    host.wait_until(has_weight(1))
    push_weight(host, 1)
    host.wait_until(f'test -z "$({CHECKERS})"')


def test_a_pushed_commit_is_in_the_kernel_within_one_poll(host: SystemGuest) -> None:
    push_weight(host, 2)
    host.wait_until(has_weight(2))


def test_drift_is_repaired(host: SystemGuest) -> None:
    host.check("ip address delete 203.0.113.10/32 dev gitvs0")
    host.wait_until("ip -o addr show dev gitvs0 | grep -q 203.0.113.10/32")
    host.check("ipvsadm -C")
    host.wait_until(has_weight(2))


def test_an_admin_may_talk_to_it_through_the_socket(host: SystemGuest) -> None:
    said = host.check("stat -c '%a %U:%G' /run/gitvs/control.sock")
    assert said == "660 root:gitvs-admin\n"
    host.check(as_admin("sync"))


def test_an_admin_sees_how_it_is_and_breaks_the_glass(host: SystemGuest) -> None:
    assert "in sync with" in host.check(as_admin("status"))
    host.check(as_admin("drain 10.0.3.5 --why 'disk errors'"))
    host.wait_until(has_weight(0))
    assert "disk errors" in host.check(as_admin("status"))
    host.check(as_admin("undrain 10.0.3.5"))
    host.wait_until(has_weight(2))


def test_the_journal_finds_what_belongs_to_a_commit(host: SystemGuest) -> None:
    head = push_weight(host, 9)
    host.check(as_admin("sync"))
    said = host.check(f"journalctl --no-pager -b -o json GITVS_COMMIT={head}")
    assert {"lb1"} == {json.loads(line)["GITVS_DIRECTOR"] for line in said.splitlines()}


def test_its_own_user_may_not_talk_to_it(host: SystemGuest) -> None:
    ran = host.run(f"runuser -u gitvs -- {PROGRAM} pause --for 1h")
    assert ran.code == 1
    assert "gitvs-admin" in ran.err
    as_its_user_in_the_group = f"setpriv --reuid gitvs --regid gitvs-admin --clear-groups {PROGRAM}"
    ran = host.run(f"{as_its_user_in_the_group} pause --for 1h")
    assert ran.code == 1
    assert "may not" in ran.err


def test_git_and_ssh_hold_no_capability_while_they_fetch(host: SystemGuest) -> None:
    host.check(f"touch {remote.HANG}")
    try:
        host.wait_until(f"for p in $(cat {CHILDREN}); do cat /proc/$p/comm; done | grep -x ssh")
        said = host.check(f"""
            for pid in $(cat {CHILDREN}); do
                [ $pid = $({AGENT_PID}) ] && continue
                echo $(cat /proc/$pid/comm) $(awk '/^Cap(Prm|Eff|Amb)/ {{print $2}}' \
                    /proc/$pid/status)
            done
        """)
    finally:
        host.check(f"rm {remote.HANG}")
    rights = {words[0]: set(words[1:]) for words in map(str.split, said.splitlines())}
    assert {"git", "ssh"} <= rights.keys(), said
    assert set.union(*rights.values()) == {"0" * 16}, said


def test_a_reload_reads_the_settings_anew(host: SystemGuest) -> None:
    """Seen by where it serves its metrics, which the sandbox lets it do."""
    pid = host.check(AGENT_PID)
    host.wait_until(serves_metrics(9712))
    host.check("""
        printf '[metrics]\\nlisten = "127.0.0.1:9713"\\n' >>/etc/gitvs/gitvs.toml
        systemctl reload gitvs.service
    """)
    host.wait_until(serves_metrics(9713))
    assert host.run(serves_metrics(9712)).code != 0
    assert host.check(AGENT_PID) == pid


def serves_metrics(port: int) -> str:
    """Return a shell condition."""
    return f"""(
        exec 3<>/dev/tcp/127.0.0.1/{port}
        printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3
        grep -q ^gitvs_ <&3
    )"""


def test_killed_it_comes_back_and_the_kernel_is_as_it_was(host: SystemGuest) -> None:
    kernel, pid = host.check(KERNEL), host.check(AGENT_PID).strip()
    host.check("systemctl kill -s KILL gitvs.service")
    assert host.check(KERNEL) == kernel
    host.wait_until(f"test $({AGENT_PID}) != {pid} && systemctl is-active gitvs.service")
    assert host.check(KERNEL) == kernel


def test_hung_it_is_restarted_by_the_watchdog(host: SystemGuest) -> None:
    pid = host.check(AGENT_PID).strip()
    host.check(f"kill -STOP {pid}")
    push_weight(host, 4)
    host.wait_until(has_weight(4), timeout_seconds=90)
    assert host.check(AGENT_PID).strip() != pid
    assert "watchdog" in host.check("journalctl --no-pager -b -u gitvs.service | grep -i watchdog")


def test_stopped_it_leaves_the_kernel_and_is_not_started_by_a_question(host: SystemGuest) -> None:
    kernel = host.check(KERNEL)
    host.check("systemctl stop gitvs.service")
    assert host.check(KERNEL) == kernel
    assert host.check("systemctl show -P Result gitvs.service") == "success\n"
    assert host.run(as_admin("sync")).code == 1
    assert host.run("systemctl is-active gitvs.service gitvs.socket").out.split() == [
        "inactive",
        "inactive",
    ]
    host.check("systemctl start gitvs.service")
    assert host.check(KERNEL) == kernel


def test_an_upgrade_leaves_the_kernel(host: SystemGuest) -> None:
    kernel = host.check(KERNEL)
    assert "nothing to do" in host.check(f"{PROGRAM} install --yes")
    host.check("systemctl restart gitvs.service")
    assert host.check(KERNEL) == kernel
    assert host.check("systemctl is-active gitvs.service gitvs.socket").split() == ["active"] * 2


def test_after_a_power_cut_it_is_all_there_without_the_remote(host: SystemGuest) -> None:
    push_weight(host, 5)
    host.wait_until(has_weight(5))
    kernel = host.check(KERNEL)
    host.cut_power()
    host.boot()
    assert host.run("systemctl is-active remote.service").out == "inactive\n"
    assert host.check(KERNEL) == kernel
    assert host.check("systemctl show -P Result gitvs-restore.service") == "success\n"
    restored, network, started = map(int, host.check("""
        systemctl show -P ActiveEnterTimestampMonotonic gitvs-restore.service
        systemctl show -P ActiveEnterTimestampMonotonic network-pre.target
        systemctl show -P InactiveExitTimestampMonotonic gitvs.service
    """).split())  # fmt: skip
    assert 0 < restored <= min(network, started)
    assert host.check("systemctl is-active gitvs.service gitvs.socket").split() == ["active"] * 2


def test_when_the_remote_is_back_it_is_followed_again(host: SystemGuest) -> None:
    remote.start_server(host)
    push_weight(host, 6)
    host.check(as_admin("sync"))
    host.wait_until(has_weight(6))
