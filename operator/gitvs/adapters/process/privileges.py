"""Giving up rights: becoming a folder's owner, and keeping capabilities from children.

Capabilities belong to a thread: call these before any other thread is started.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

# Source: linux/capability.h, linux/prctl.h
_CAP_NET_ADMIN = 1 << 12
_CAPABILITY_VERSION = 0x20080522
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_libc = ctypes.CDLL(None, use_errno=True)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySet(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def become_owner_of(folder: Path) -> None:
    """As root, become the owner of a folder for good, and keep only CAP_NET_ADMIN.

    What is written there then stays within reach of the agent that owns it, and a folder
    that its owner filled with symbolic links leads root nowhere. Children hold no
    capability. Where the folder is root's own or missing, or we are not root, nothing
    happens.

    Raises:
        OSError: this process may not become somebody else.
    """
    try:
        owner = folder.stat()
    except FileNotFoundError:
        return
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    _check_result(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
    _keep_net_admin()


def _keep_net_admin() -> None:
    header = _CapabilityHeader(_CAPABILITY_VERSION, 0)
    sets = (_CapabilitySet * 2)()
    _check_result(_libc.capget(ctypes.byref(header), sets))
    net_admin = sets[0].permitted & _CAP_NET_ADMIN
    sets[0] = _CapabilitySet(net_admin, net_admin, 0)
    sets[1] = _CapabilitySet(0, 0, 0)
    _check_result(_libc.capset(ctypes.byref(header), sets))


def clear_ambient_capabilities() -> None:
    """Keep this thread's capabilities from the programs it starts.

    Raises:
        OSError: the kernel refused.
    """
    _check_result(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))


def _check_result(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
