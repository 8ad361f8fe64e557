"""Kernel settings of this network namespace, through /proc/sys.

`/proc/sys/net` shows the namespace of the process that reads it. `net.ipv4.vs.*` exists only
when ip_vs is loaded. `ipvs` loads it by looking up its netlink family.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from gitvs.core.model.resources import Sysctl

_PROC_SYS = Path("/proc/sys")


def read_sysctls(names: Iterable[str]) -> list[Sysctl]:
    """Read settings; those that do not exist, or cannot be read, are left out.

    Runs of white space become one space, since the kernel prints tabs (`3\\t50`).
    """
    sysctls = []
    for name in sorted(names):
        try:
            value = sysctl_path(name).read_text(errors="replace")
        except OSError:  # write-only (`net.ipv4.route.flush`), or not in this kernel
            continue
        sysctls.append(Sysctl(name, " ".join(value.split())))
    return sysctls


def write_sysctl(sysctl: Sysctl) -> None:
    """Write one setting.

    Raises:
        OSError: ENOENT, no such setting; EINVAL, no such value; EACCES, no permission.
    """
    descriptor = os.open(sysctl_path(sysctl.name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, sysctl.value.encode() + b"\n")
    finally:
        os.close(descriptor)


def sysctl_path(name: str) -> Path:
    """Return the file of a setting; a `/` in the setting's name is a dot in the file's name.

    `net.ipv4.conf.eth0/100.forwarding` is VLAN 100's. Source: sysctl(8), NOTES.

    Raises:
        OSError: ENOENT, the name leads out of /proc/sys/net.
    """
    parts = [part.replace("/", ".") for part in name.split(".")]
    if parts[0] != "net" or any(part in ("", ".", "..") for part in parts):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return _PROC_SYS.joinpath(*parts)
