"""The agent's settings as typed values; `adapters.service.settings_file` reads them from TOML."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

DEFAULT_SETTINGS_FILE = Path("/etc/gitvs/gitvs.toml")
DEFAULT_STATE_DIR = Path("/var/lib/gitvs")
DEFAULT_SOCKET_PATH = Path("/run/gitvs/control.sock")
SOCKET_FILE_NAME = "control.sock"
LOCK_FOLDER = Path("/run/gitvs/lock")
LOCK_GROUP = "gitvs"
"""The group that may enter the folder of the locks, besides root."""

KEPT_TRANSACTIONS = 500
KEPT_PLANS = 50


@dataclass(frozen=True, slots=True)
class SshSignatures:
    """Commits must be signed with an SSH key of a file (ssh-keygen(1), ALLOWED SIGNERS)."""

    allowed_signers: Path
    revoked_keys: Path | None = None


@dataclass(frozen=True, slots=True)
class GpgSignatures:
    """Commits must be signed with an OpenPGP key that is in `keys` and in `fingerprints`."""

    keys: Path
    fingerprints: frozenset[str]


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """A Git remote, and how to access it."""

    url: str
    branch: str = "main"
    path: str = "."
    timeout_seconds: float = 60.0
    poll_seconds: float = 30.0
    allow_local: bool = False
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    credentials_file: Path | None = None
    ca_file: Path | None = None
    signatures: SshSignatures | GpgSignatures | None = None


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where metrics are served, and for how many real servers.

    An empty `listen` turns metrics off. `real_servers` limits the real servers that have metrics
    of their own.
    """

    listen: str = "127.0.0.1:9712"
    real_servers: int = 1000


@dataclass(frozen=True, slots=True)
class HookSettings:
    """Where pushes are announced, and the file with the secret that proves them.

    An empty `listen` turns the hook off.
    """

    listen: str = ""
    secret_file: Path = Path()


@dataclass(frozen=True, slots=True)
class Settings:
    """The contents of one settings file; `source` is a remote or a folder of this host."""

    source: RemoteSettings | Path
    director: str | None = None
    state_dir: Path = DEFAULT_STATE_DIR
    kept_transactions: int = KEPT_TRANSACTIONS
    kept_plans: int = KEPT_PLANS
    drift_seconds: float = 60.0
    max_downtime_seconds: float = 24 * 3600.0
    metrics: MetricsSettings = MetricsSettings()
    hook: HookSettings = HookSettings()


def socket_path_of(state_dir: Path) -> Path:
    """Return the agent's control socket for a state folder; systemd's for the default folder."""
    return DEFAULT_SOCKET_PATH if state_dir == DEFAULT_STATE_DIR else state_dir / SOCKET_FILE_NAME


def listen_address(listen: str) -> tuple[str, int]:
    """Return the address and the port of a text such as `127.0.0.1:9712` or `[::1]:9712`.

    Raises:
        ValueError: it is not an address and a port.
    """
    host, _, port = listen.rpartition(":")
    is_ipv6 = host.startswith("[") and host.endswith("]")
    address = IPv6Address(host[1:-1]) if is_ipv6 else IPv4Address(host)
    if not (port.isascii() and port.isdecimal() and int(port) < 2**16):
        raise ValueError(f"{port} is not a port number")
    return str(address), int(port)
