"""A Git remote inside a guest: a repository that an sshd on loopback serves.

While the file `HANG` exists, whoever fetches waits: the server has let them in, and says
nothing more.
"""

from __future__ import annotations

from tests.harness.system_guest import SystemGuest
from tests.system.director import put

URL = "ssh://gitserver@127.0.0.1:2222/srv/git/lb.git"
HANG = "/srv/git/hang"
KEY = "/etc/gitvs/id_ed25519"
KNOWN_HOSTS = "/etc/gitvs/known_hosts"

_SERVER = "runuser -u gitserver -- env HOME=/srv/git"

_SSHD_CONFIG = """
Port 2222
ListenAddress 127.0.0.1
HostKey /srv/sshd/host_key
AuthorizedKeysFile /srv/sshd/authorized_keys
PidFile none
UsePAM no
StrictModes no
"""

_COMMAND = f"""#!/bin/bash
while [ -e {HANG} ]; do sleep 0.5; done
exec git-shell -c "$SSH_ORIGINAL_COMMAND"
"""

_IDENTITY = "-c user.name=Ada -c user.email=ada@example.org -c init.defaultBranch=main"


def make_remote(host: SystemGuest) -> None:
    """Make the repository, the server's and the client's keys, and start the server.

    It takes an installed gitvs. The server is gone after a reboot, until it is started again.
    """
    put(host, "/srv/sshd/config", _SSHD_CONFIG)
    put(host, "/srv/sshd/command", _COMMAND)
    host.check(f"""
        useradd --system --home-dir /srv/git --shell /bin/bash --password '*' gitserver
        install -d -o gitserver /srv/git
        chmod 755 /srv/sshd/command
        {_SERVER} git {_IDENTITY} init --quiet --bare /srv/git/lb.git
        {_SERVER} git {_IDENTITY} init --quiet /srv/git/work
        ssh-keygen -q -t ed25519 -N '' -f /srv/sshd/host_key
        ssh-keygen -q -t ed25519 -N '' -f {KEY}
        chgrp gitvs {KEY} && chmod 640 {KEY}
        echo "[127.0.0.1]:2222 $(cat /srv/sshd/host_key.pub)" >{KNOWN_HOSTS}
        echo "command=\\"/srv/sshd/command\\" $(cat {KEY}.pub)" >/srv/sshd/authorized_keys
    """)
    start_server(host)


def start_server(host: SystemGuest) -> None:
    host.check("""
        mkdir -p /run/sshd
        systemd-run -q --unit=remote /usr/sbin/sshd -D -f /srv/sshd/config
    """)


def stop_server(host: SystemGuest) -> None:
    host.check("systemctl stop remote.service")


def push(host: SystemGuest, manifests: str) -> str:
    """Commit and push manifests, and return the commit's id."""
    put(host, "/srv/git/work/all.yaml", manifests)
    return host.check(f"""
        chown -R gitserver /srv/git/work
        cd /srv/git/work
        {_SERVER} git add --all
        {_SERVER} git {_IDENTITY} commit --quiet --allow-empty -m 'Change what is balanced'
        {_SERVER} git push --quiet /srv/git/lb.git HEAD:main
        sync
        {_SERVER} git rev-parse HEAD
    """).strip()
