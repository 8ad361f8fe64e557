"""Child processes forked from this one, warm: no import, no start of an interpreter."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h


def fork_child(work: Callable[[], None]) -> int:
    """Run `work` in a child process, which ends with status 0 if it returns, and return its id."""
    with warnings.catch_warnings():
        # Python 3.12 warns where there are threads; the child uses none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid != 0:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001  # a child must never run its parent's code
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(status)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that forked it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def kill(pid: int) -> int:
    """Kill a child, or the group that it leads, and return its wait status."""
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]
