"""Where things are on a host unless options or settings say otherwise."""

from __future__ import annotations

from pathlib import Path

DEFAULT_STATE_DIR = Path("/var/lib/gitvs")
DEFAULT_SETTINGS = Path("/etc/gitvs/gitvs.toml")
DEFAULT_SOCKET = Path("/run/gitvs/control.sock")
SOCKET_NAME = "control.sock"


def socket_of(state_dir: Path) -> Path:
    """Return where the agent of a state folder listens: systemd's place for the usual one."""
    return DEFAULT_SOCKET if state_dir == DEFAULT_STATE_DIR else state_dir / SOCKET_NAME
