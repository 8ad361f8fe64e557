"""A push that is announced, with the shipped recipes, on a director that never polls meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.system_guest import SystemGuest
from tests.support.paths import EXAMPLES
from tests.system import remote
from tests.system.director import PROGRAM, director, put

pytestmark = pytest.mark.system

HOOK = "http://127.0.0.1:9713/hooks/push"
SECRET_FILE = "/etc/gitvs/hook-secret"

SETTINGS = f"""
director = "lb1"

[source]
url = "{remote.URL}"
ssh_key = "{remote.KEY}"
known_hosts = "{remote.KNOWN_HOSTS}"
poll = "8760h"

[hook]
listen = "127.0.0.1:9713"
secret_file = "{SECRET_FILE}"
"""

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

SYNC_SSHD = """
Port 2223
ListenAddress 127.0.0.1
HostKey /srv/sshd/host_key
AuthorizedKeysFile /srv/sshd/sync_keys
PidFile none
UsePAM no
StrictModes no
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemGuest]:
    """A director with a hook, which has its first commit and polls once a year."""
    with director(tmp_path_factory.mktemp("system")) as machine:
        machine.check(f"{PROGRAM} install --yes")
        put(machine, "/etc/gitvs/gitvs.toml", SETTINGS)
        for script in ("notify.sh", "sync.sh"):
            put(machine, f"/srv/recipes/{script}", (EXAMPLES / "push" / script).read_text())
        machine.check(f"""
            install -m 640 -g gitvs /dev/null {SECRET_FILE}
            openssl rand -hex 32 >{SECRET_FILE}
        """)
        remote.make_remote(machine)
        push_weight(machine, 1)
        machine.check("systemctl daemon-reload && systemctl start gitvs.service")
        machine.wait_until(has_weight(1))
        yield machine


@pytest.fixture(autouse=True)
def log(host: SystemGuest) -> Iterator[None]:
    """What the agent said, beside a test that failed."""
    yield
    print(host.run("journalctl --no-pager -b -n 60 -u gitvs.service").out)


def push_weight(host: SystemGuest, weight: int) -> str:
    return remote.push(host, MANIFESTS.replace("WEIGHT", str(weight)))


def has_weight(weight: int) -> str:
    """Return a shell condition."""
    return f"ipvsadm -Sn | grep -qx -e '-a -t 203.0.113.10:80 -r 10.0.3.5:80 -m -w {weight}'"


def announce(secret: str = f"$(cat {SECRET_FILE})") -> str:
    """Return the command of a CI job."""
    return f'HOOKS={HOOK} HOOK_SECRET="{secret}" sh /srv/recipes/notify.sh'


def test_a_push_is_in_force_once_it_is_announced(host: SystemGuest) -> None:
    for weight in (2, 3):
        push_weight(host, weight)
        assert host.check(announce()) == f"announced: {HOOK}\n"
        host.wait_until(has_weight(weight))
    assert "listens on 127.0.0.1:9713, last push" in host.check(f"{PROGRAM} status")


def test_a_push_that_is_not_proven_changes_nothing(host: SystemGuest) -> None:
    push_weight(host, 4)
    ran = host.run(announce("a secret that is not the one"))
    assert ran.code == 1
    assert "403" in ran.err
    host.check(has_weight(3))
    host.check(announce())
    host.wait_until(has_weight(4))


def test_the_secret_is_in_no_log_and_no_status(host: SystemGuest) -> None:
    host.check(f"{{ journalctl --no-pager -b; {PROGRAM} status --json; }} >/run/said")
    assert host.run("grep -c 'push announced' /run/said").out.strip() != "0"
    assert host.run(f"grep -F -f {SECRET_FILE} /run/said").code == 1


def test_a_secret_that_is_taken_away_is_named_and_the_agent_goes_on(host: SystemGuest) -> None:
    host.check(f"chmod 644 {SECRET_FILE}")
    host.wait_until(f"{PROGRAM} status | grep -q 'may be used by every user'")
    assert host.run(announce()).code == 1
    host.check(f"chmod 640 {SECRET_FILE}")
    host.wait_until(f"{PROGRAM} status | grep -q 'listens on'")
    push_weight(host, 5)
    host.check(announce())
    host.wait_until(has_weight(5))


def test_a_key_that_can_run_sync_alone_brings_a_push_and_waits_for_it(host: SystemGuest) -> None:
    put(host, "/srv/sshd/sync_config", SYNC_SSHD)
    host.check(f"""
        useradd --system --create-home --groups gitvs-admin --password '*' gitvs-sync
        echo "restrict,command=\\"{PROGRAM} sync\\" $(cat {remote.KEY}.pub)" >/srv/sshd/sync_keys
        systemd-run -q --unit=sync-sshd /usr/sbin/sshd -D -f /srv/sshd/sync_config
        mkdir -p -m 700 ~/.ssh
        install -m 600 {remote.KEY} ~/.ssh/ci
        echo "[127.0.0.1]:2223 $(cat /srv/sshd/host_key.pub)" >~/.ssh/known_hosts
        printf 'Host lb1\\n HostName 127.0.0.1\\n Port 2223\\n IdentityFile ~/.ssh/ci\\n' \\
            >~/.ssh/config
    """)
    host.wait_until("exec 3<>/dev/tcp/127.0.0.1/2223")
    push_weight(host, 6)
    said = host.check("sh /srv/recipes/sync.sh gitvs-sync@lb1")
    assert "applied" in said
    host.check(has_weight(6))
    remote.push(host, "kind: nonsense")
    assert host.run("sh /srv/recipes/sync.sh gitvs-sync@lb1").code == 4
