"""Drops privileges: switches to a folder's owner, and keeps capabilities from child processes.

Capabilities are per thread: call `become_owner_of` before any other thread starts.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from pathlib import Path

from gitvs.core.errors import FileUnusable

_MAX_SHOWN_CHARACTERS = 100

# Source: linux/capability.h, linux/prctl.h
_CAP_NET_ADMIN = 1 << 12
_CAPABILITY_VERSION = 0x20080522
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS = 38
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
    """As root, switch to the owner of a folder for good, and keep only CAP_NET_ADMIN.

    Files that are written there then belong to the agent, which owns the folder, and symbolic
    links that the owner put there cannot misdirect root. Child processes get no capability.
    Nothing happens if the folder is missing or root's own, or if this process does not run as
    root.

    Raises:
        FileUnusable: the folder cannot be looked at; its name may be too long.
        OSError: this process may not change its user.
    """
    try:
        owner = folder.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        name = str(folder)
        shown = name if len(name) <= _MAX_SHOWN_CHARACTERS else f"{name[:_MAX_SHOWN_CHARACTERS]}…"
        raise FileUnusable(
            f"the state folder {shown} cannot be used: {error.strerror}. Nothing was changed"
        ) from error
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    _check_result(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups(_groups_of(owner.st_uid, owner.st_gid))
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
    _keep_net_admin()


def _groups_of(uid: int, gid: int) -> list[int]:
    """Return the groups of a user; a uid without a name has no more than `gid`."""
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return []


def _keep_net_admin() -> None:
    header = _CapabilityHeader(_CAPABILITY_VERSION, 0)
    sets = _capabilities()
    net_admin = sets[0].permitted & _CAP_NET_ADMIN
    sets[0] = _CapabilitySet(net_admin, net_admin, 0)
    sets[1] = _CapabilitySet(0, 0, 0)
    _check_result(_libc.capset(ctypes.byref(header), sets))


def clear_ambient_capabilities() -> None:
    """Keep this thread's capabilities from the programs that it starts.

    Raises:
        OSError: the kernel refused.
    """
    _check_result(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))


def give_up_everything() -> None:
    """Give up every capability of this process for good, and keep its programs from getting any.

    A process that has none asks for nothing: the unit of systemd forbids the call.

    Raises:
        OSError: the kernel refused.
    """
    _check_result(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    clear_ambient_capabilities()
    if any(each.effective | each.permitted for each in _capabilities()):
        header = _CapabilityHeader(_CAPABILITY_VERSION, 0)
        _check_result(_libc.capset(ctypes.byref(header), (_CapabilitySet * 2)()))


def _capabilities() -> ctypes.Array[_CapabilitySet]:
    """Return the lower and the upper 32 capabilities of this thread."""
    sets = (_CapabilitySet * 2)()
    header = _CapabilityHeader(_CAPABILITY_VERSION, 0)
    _check_result(_libc.capget(ctypes.byref(header), sets))
    return sets


def _check_result(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
