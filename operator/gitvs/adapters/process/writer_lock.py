"""The lock that makes this process the only writer of its network namespace.

The lock is `flock` on a file, one for each network namespace, whatever the state folder. It
disappears with the process that holds it. If the file is removed, a second process could lock a
new one, so the holder compares the two before each transaction. The permissions of the folder
decide who may hold the lock: root and group gitvs. Other users can neither hold nor block it. The
holder describes itself in the file, for the message of a process that finds the lock held.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gitvs.adapters.process.network_namespace import namespace_name
from gitvs.core.errors import LockHeld, LockUnusable
from gitvs.core.problems import printable
from gitvs.core.settings import LOCK_FOLDER, LOCK_GROUP

log = logging.getLogger(__name__)

WRITER_LOCK_NAME = "writer"
AGENT_LOCK_NAME = "agent"
"""Held by an agent as long as it runs, even while a pause lets other processes write."""

_FOLDER_MODE, _PARENT_MODE = 0o770, 0o755
_FILE_MODE = 0o666
"""Only the folder protects the file, so that a change of the folder's group is enough."""
_OPEN_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MAX_SHOWN_CHARACTERS = 200
_MAX_NOTE_BYTES = 1024


def prepare_lock_folder(folder: Path = LOCK_FOLDER) -> None:
    """As root, make the folder of the locks if it is missing; other users cannot.

    Usually systemd-tmpfiles has made it. Call this before privileges are dropped.

    Raises:
        LockUnusable: it cannot be made.
    """
    if os.geteuid() != 0 or folder.exists():
        return
    try:
        _make_folder(folder.parent, _PARENT_MODE)
        _make_folder(folder, _FOLDER_MODE)
        with suppress(KeyError):  # a host without the group, where only root runs gitvs
            os.chown(folder, -1, grp.getgrnam(LOCK_GROUP).gr_gid)
    except OSError as error:
        raise LockUnusable(f"{folder} cannot be made: {_errno_text(error)}") from error


@contextmanager
def writer_lock(
    name: str = WRITER_LOCK_NAME, folder: Path = LOCK_FOLDER
) -> Iterator[Callable[[], None]]:
    """Hold the lock as the only writer of this network namespace, or the only holder of `name`.

    Yields a function that makes sure that this process still holds it: to be called before a
    transaction begins. It raises as this one does.

    Raises:
        LockHeld: another process holds it; the message describes that process.
        LockUnusable: the folder is missing, or this user may not use it.
    """
    lock = _Lock(name, folder)
    try:
        yield lock.ensure
    finally:
        lock.release()


class _Lock:
    """A lock that is held until its release."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder
        self._path = folder / f"{name}-{namespace_name()}"
        self._descriptor = self._take()

    def ensure(self) -> None:
        """Take the lock again if its file was removed or replaced: others could hold the new one.

        Raises:
            LockHeld, LockUnusable: it cannot be taken. The lock of the old file is kept.
        """
        held = os.fstat(self._descriptor)  # it stays allocated, so no new file has its number
        with suppress(OSError):
            found = self._path.lstat()
            if (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino):
                return
        log.warning("lock file was removed path=%s", self._path)
        prepare_lock_folder(self._folder)
        taken = self._take()
        self.release()
        self._descriptor = taken

    def release(self) -> None:
        # A child that was forked and has not called exec yet has the descriptor too.
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)

    def _take(self) -> int:
        _check_folder(self._folder)
        descriptor = _open_lock_file(self._path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise LockHeld(
                f"this network namespace has one {self._name} at a time. Now it is"
                f" {_describe_holder(self._path)}. Nothing was changed; wait until it ends, and"
                " try again"
            ) from None
        _write_note(descriptor)
        return descriptor


def _make_folder(folder: Path, mode: int) -> None:
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(mode)  # regardless of the umask


def _check_folder(folder: Path) -> None:
    """Check that no user but root and group gitvs could hold a lock in a folder.

    Raises:
        LockUnusable: they could, or there is no folder.
    """
    try:
        status = folder.lstat()
    except FileNotFoundError as error:
        raise LockUnusable(
            f"{folder}, the folder of the locks, does not exist. As root, run `systemd-tmpfiles"
            f" --create`, or `install -d -m {_PARENT_MODE:04o} {folder.parent}` and `install -d"
            f" -m {_FOLDER_MODE:04o} -g {LOCK_GROUP} {folder}`"
        ) from error
    except OSError as error:
        raise LockUnusable(f"{folder}: {_errno_text(error)}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        raise LockUnusable(f"{folder} must be a folder that root owns: remove it and make it again")
    if status.st_mode & stat.S_IRWXO:
        raise LockUnusable(
            f"{folder} is open to every user of this host, who could block gitvs:"
            f" `chmod {_FOLDER_MODE:04o} {folder}`"
        )


def _open_lock_file(path: Path) -> int:
    """Open a lock file, and make it if it is missing.

    Raises:
        LockUnusable: this user may not, or something else is there.
    """
    try:
        descriptor = _open_or_create(path)
    except PermissionError as error:
        raise LockUnusable(
            f"{path}: no permission for user {os.geteuid()}; be root, or a member of group"
            f" {LOCK_GROUP} (as root, gitvs acts as the owner of its state directory)"
        ) from error
    except OSError as error:
        raise LockUnusable(
            f"{path} cannot be opened: {_errno_text(error)}{_remedy(error)}"
        ) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise LockUnusable(f"{path} has to be a file: remove it")
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != _FILE_MODE:
        with suppress(OSError):
            os.fchmod(descriptor, _FILE_MODE)  # regardless of the umask
    return descriptor


def _remedy(error: OSError) -> str:
    if error.errno == errno.EROFS:  # a unit's ReadWritePaths= names the folder that was removed
        return "; if its folder was removed while gitvs.service ran, restart that"
    return "; remove it" if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO) else ""


def _open_or_create(path: Path) -> int:
    try:
        return os.open(path, _OPEN_FLAGS | os.O_CREAT, _FILE_MODE)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        # A file that exists can be locked even if it cannot be written.
        try:
            return os.open(path, _OPEN_FLAGS & ~os.O_RDWR)
        except FileNotFoundError:
            raise error from None


def _write_note(descriptor: int) -> None:
    """Describe this process in its lock file."""
    with suppress(OSError):  # a full or read-only file system: the lock holds nevertheless
        os.ftruncate(descriptor, 0)
        command = Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
        boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
        note = f"{os.getpid()} {_pid_namespace()} {boottime:.0f} ".encode() + command
        os.pwrite(descriptor, note[:_MAX_NOTE_BYTES], 0)


def _describe_holder(path: Path) -> str:
    """Return a description of the process that holds a lock, as it described itself."""
    try:
        note = path.read_bytes()[:_MAX_NOTE_BYTES].decode("utf-8", "replace")
        pid, pid_namespace, since, command = note.split(" ", 3)
        age_seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - int(since)
        is_same_container = int(pid_namespace) == _pid_namespace()
    except (OSError, ValueError):
        return f"another process (`lsof {path}` shows it)"
    where = "" if is_same_container else " of another container"
    shown = printable(command)[:_MAX_SHOWN_CHARACTERS]
    return f"process {pid}{where} ({shown}), which has held it for {max(age_seconds, 0):.0f} s"


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _errno_text(error: OSError) -> str:
    code = error.errno or 0
    return f"{os.strerror(code)} ({errno.errorcode.get(code, code)})"
