"""The director under us: its kernel, store and clock, and the right to be its only writer."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from gitvs.adapters.clock import SystemClock
from gitvs.adapters.linux_kernel import LinuxKernel
from gitvs.adapters.privileges import become_owner_of
from gitvs.adapters.store import SqliteStore
from gitvs.adapters.writer_lock import writer_lock
from gitvs.core.ownership import MARK_PREFIX
from gitvs.transaction import Ports


@contextmanager
def reader(state_dir: Path) -> Iterator[Ports]:
    """Open what is needed to look; without a store yet, nothing is owned."""
    become_owner_of(state_dir)
    with SqliteStore.open_readonly(state_dir) as store:
        yield _ports(store)


@contextmanager
def writer(state_dir: Path) -> Iterator[Ports]:
    """Open what is needed to write, as the only writer of this network namespace.

    SIGTERM ends it like Ctrl-C: after the undo.

    Raises:
        LockHeld: another gitvs is the writer, and which.
    """
    become_owner_of(state_dir)
    signal.signal(signal.SIGTERM, _interrupt)
    with writer_lock(), SqliteStore(state_dir) as store:
        yield _ports(store)


def _ports(store: SqliteStore) -> Ports:
    return Ports(LinuxKernel(MARK_PREFIX + store.id), store, SystemClock())


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
