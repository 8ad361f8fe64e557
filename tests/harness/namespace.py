"""Network namespaces by system call, for tests that run as root on a kernel with IPVS."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.guest import find_tool

_libc = ctypes.CDLL(None, use_errno=True)

# Source: linux/sched.h, linux/mount.h, linux/sockios.h, linux/if.h
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWNET = 0x40000000
_MS_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
_MS_BIND = 0x1000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_MNT_DETACH = 0x2
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

_PROBE = """
set -e
mount -t tmpfs none /mnt
ip link set lo up
ip link add probe type dummy
ipvsadm -A -t 192.0.2.1:80 -s rr
echo 1 >/proc/sys/net/ipv4/ip_forward
"""


def obstacle() -> str | None:
    """Return why the kernel under us can't serve kernel tests, or None if it can."""
    if os.geteuid() != 0:
        return "not root"
    if missing := [t for t in ("unshare", "ip", "ipvsadm") if not find_tool(t)]:
        return f"{', '.join(missing)} not found"
    probe = subprocess.run(
        ["unshare", "--net", "--mount", "/bin/sh", "-c", _PROBE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if probe.returncode == 0:
        return None
    return probe.stderr.strip().splitlines()[-1] if probe.stderr.strip() else "no IPVS"


def enter_fresh_namespace() -> None:
    """Move this process into a network namespace of its own, with `lo` up.

    The mount namespace is new too: /sys shows the new network namespace, and the names
    that `ip netns add` makes are private, and gone with the last process here.
    """
    _check(_libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS), "unshare")
    _mount("none", "/", None, _MS_REC_PRIVATE)
    _mount("sysfs", "/sys", "sysfs", _MS_NOSUID_NODEV_NOEXEC)
    names = Path("/run/netns")
    names.mkdir(exist_ok=True)
    _mount("tmpfs", str(names), "tmpfs", _MS_NOSUID_NODEV_NOEXEC)
    set_up("lo")


def rename_host(name: str) -> None:
    """Give this process, and what it starts, a host name of their own."""
    _check(_libc.unshare(_CLONE_NEWUTS), "unshare")
    socket.sethostname(name)


def set_up(interface: str) -> None:
    """Bring an interface up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh14x", interface.encode(), 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(handle, _SIOCGIFFLAGS, request), 16)
        request = struct.pack("16sh14x", interface.encode(), flags | _IFF_UP)
        fcntl.ioctl(handle, _SIOCSIFFLAGS, request)


def add(name: str) -> None:
    """Make a named network namespace, as `ip netns add` does, without starting a process."""
    with _coming_back():
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        name_current(name)


def name_current(name: str) -> None:
    """Give the network namespace that we are in a name for `ip -n NAME` and `entered`."""
    path = Path("/run/netns", name)
    path.touch(exist_ok=False)
    _mount("/proc/thread-self/ns/net", str(path), None, _MS_BIND)


def delete(name: str) -> None:
    """Take a network namespace's name away; it goes with the last process and socket in it."""
    path = Path("/run/netns", name)
    _check(_libc.umount2(str(path).encode(), _MNT_DETACH), f"umount {path}")
    path.unlink()


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Be in a named network namespace.

    It is this thread that moves, and what it makes there stays there: a socket can be used
    from anywhere, a child process remains.
    """
    with _coming_back():
        with open(f"/run/netns/{name}", "rb") as there:
            _check(_libc.setns(there.fileno(), _CLONE_NEWNET), f"setns {name}")
        yield


@contextmanager
def _coming_back() -> Iterator[None]:
    with open("/proc/thread-self/ns/net", "rb") as home:
        try:
            yield
        finally:
            _check(_libc.setns(home.fileno(), _CLONE_NEWNET), "setns")


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = kind.encode() if kind is not None else None
    _check(
        _libc.mount(source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), None),
        f"mount {target}",
    )


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
