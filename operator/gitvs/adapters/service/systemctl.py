"""Runs systemd's programs for `gitvs install`: users, folders, units, network managers.

Every function can be repeated: it does nothing if its work is already done.
"""

from __future__ import annotations

import grp
import shutil
import subprocess
from collections.abc import Sequence

from gitvs.adapters.service.installation import SERVICES, UNITS, InstallationError

AGENT_GROUP = "gitvs"
ADMIN_GROUP = "gitvs-admin"

_SET_UP_COMMANDS = (
    ("systemd-sysusers", "/etc/sysusers.d/gitvs.conf"),
    ("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/gitvs.conf"),
    ("systemctl", "daemon-reload"),
)
_NETWORK_MANAGER_RELOADS = {
    "systemd-networkd.service": ("networkctl", "reload"),
    "NetworkManager.service": ("nmcli", "general", "reload", "conf"),
}
"""How each reloads its drop-ins, without touching a link."""

_TIMEOUT_SECONDS = 300.0


def require_tools() -> None:
    """Check that systemd's programs are installed, before anything is written.

    Raises:
        InstallationError: one is missing.
    """
    tools = ("systemctl", *(command[0] for command in _SET_UP_COMMANDS))
    missing = [tool for tool in dict.fromkeys(tools) if shutil.which(tool) is None]
    if missing:
        raise InstallationError(
            f"{', '.join(missing)} not found: gitvs runs as a service under systemd. Nothing was"
            " changed"
        )


def is_set_up(*, enable: bool) -> bool:
    """Return whether the users exist and, if wanted, the units start at boot."""
    if group_id(AGENT_GROUP) is None or group_id(ADMIN_GROUP) is None:
        return False
    return not enable or all(_succeeds("systemctl", "is-enabled", "-q", unit) for unit in SERVICES)


def set_up(*, enable: bool) -> None:
    """Create users and folders, and reload the programs that read the installed files.

    Raises:
        InstallationError: a command failed; the message contains its output.
    """
    for command in _SET_UP_COMMANDS:
        _run(command)
    if enable:
        _run(("systemctl", "enable", "-q", *SERVICES))
    reload_network_managers()


def stop_and_disable() -> None:
    """Stop and disable the units; what is in the kernel stays.

    Raises:
        InstallationError: systemctl failed; the message contains its output.
    """
    _run(("systemctl", "disable", "--now", "-q", *SERVICES))
    _run(("systemctl", "stop", *UNITS))


def reload_after_removal() -> None:
    """Reload systemd and the network managers after files were removed.

    Raises:
        InstallationError: a command failed; the message contains its output.
    """
    _run(("systemctl", "daemon-reload"))
    reload_network_managers()


def reload_network_managers() -> None:
    """Make the network managers that run reload their drop-ins."""
    for unit, command in _NETWORK_MANAGER_RELOADS.items():
        if _succeeds("systemctl", "is-active", "-q", unit):
            _run(command)


def is_agent_active() -> bool:
    return _succeeds("systemctl", "is-active", "-q", "gitvs.service")


def group_id(name: str) -> int | None:
    """Return the id of a group, or None if there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _succeeds(*command: str) -> bool:
    return _run_unchecked(command).returncode == 0


def _run(command: Sequence[str]) -> None:
    completed = _run_unchecked(command)
    if completed.returncode != 0:
        output = (completed.stderr.strip() or completed.stdout.strip()).replace("\n", "; ")
        raise InstallationError(
            f"`{' '.join(command)}` failed (exit code {completed.returncode}): {output}. Fix"
            " that, and run this again"
        )


def _run_unchecked(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
        )
    except FileNotFoundError:
        raise InstallationError(f"{command[0]} not found: is this a host with systemd?") from None
    except subprocess.TimeoutExpired:
        raise InstallationError(
            f"`{' '.join(command)}` did not end within {_TIMEOUT_SECONDS:g} s, and was stopped"
        ) from None
