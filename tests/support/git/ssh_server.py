"""A real SSH server on loopback: OpenSSH's sshd, with keys of its own, that serves Git alone."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SHELL = 'git-shell -c "$SSH_ORIGINAL_COMMAND"'
_START_SECONDS = 120.0
_PRIVILEGE_SEPARATION = Path("/run/sshd")


@dataclass(frozen=True)
class SshServer:
    """How to get in: `key` is the one private key that may, `known_hosts` names the server."""

    port: int
    key: Path
    known_hosts: Path

    def url(self, repository: Path) -> str:
        """Return the URL of a repository of this host."""
        return f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{self.port}{repository}"


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def ssh_server(folder: Path, port: int = 0, command: str = _SHELL) -> Iterator[SshServer]:
    """Run an sshd whose files are in a folder; they are made once, so that it may come back.

    `command` is all that anybody who logs in can run.
    """
    server = _prepared(folder, port or free_port(), command)
    if os.getuid() == 0:
        _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    log = folder / "log"
    process = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-f", str(folder / "sshd_config"), "-E", str(log)],
        start_new_session=True,
    )
    try:
        _wait_for(server.port, process, log)
        yield server
    finally:
        _end(process)


def _prepared(folder: Path, port: int, command: str) -> SshServer:
    folder.mkdir(mode=0o700, exist_ok=True)
    host_key, key = folder / "host_key", folder / "key"
    for path in (host_key, key):
        if not path.exists():
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
            subprocess.run(make, check=True)
    authorized = folder / "authorized_keys"
    authorized.write_text(f"restrict {key.with_suffix('.pub').read_text()}")
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {host_key.with_suffix('.pub').read_text()}")
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": host_key,
        "AuthorizedKeysFile": authorized,
        "ForceCommand": command,
        "PidFile": "none",
        "StrictModes": "no",  # the folders of tests lie in /tmp
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "AcceptEnv": "GIT_PROTOCOL",
    }
    lines = "".join(f"{name} {value}\n" for name, value in settings.items())
    (folder / "sshd_config").write_text(lines)
    return SshServer(port, key, known)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise AssertionError(f"sshd did not start: {log.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and every session of it: sshd gives each a session of its own."""
    sessions = _descendants(process.pid)
    for pid in (process.pid, *sessions):
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
    process.wait()


def _descendants(pid: int) -> list[int]:
    found = []
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def stalling_after(count: int) -> str:
    """A command that serves Git, sends so many bytes, and then nothing until the client is gone."""
    until_gone = "while kill -0 $PPID; do sleep 0.1; done"
    return f"{_SHELL} | {{ {_head(count)}; {until_gone}; }} 2>/dev/null"


def hanging_up_after(count: int) -> str:
    """A command that serves Git, sends so many bytes, and dies."""
    return f"{_SHELL} | {{ {_head(count)}; kill -9 0; }}"


def _head(count: int) -> str:
    return f"stdbuf --output=0 head --bytes={count}"
