"""Which network namespace this thread is in."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from struct import Struct

_SO_NETNS_COOKIE = 71  # Source: Linux include/uapi/asm-generic/socket.h, since 5.14
_COOKIE = Struct("=Q")
_NAMESPACE_FILE = Path("/proc/thread-self/ns/net")


def namespace_cookie() -> int | None:
    """Return the number that no other network namespace of this boot has; None before 5.14."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            data = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, _COOKIE.size)
        except OSError:
            return None
        return int(_COOKIE.unpack(data)[0])


def namespace_file_status() -> os.stat_result:
    """Return device and inode of this network namespace; a later namespace may get them again."""
    return _NAMESPACE_FILE.stat()


def namespace_name() -> str:
    """Return a name that no other network namespace has as long as this one exists."""
    cookie = namespace_cookie()
    if cookie is not None:
        return str(cookie)
    status = namespace_file_status()
    return f"{status.st_dev}-{status.st_ino}"
