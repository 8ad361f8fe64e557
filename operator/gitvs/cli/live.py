"""The director under us: its kernel, store and clock, and the right to be its only writer."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from gitvs.adapters.clock import SystemClock
from gitvs.adapters.linux_kernel import LinuxKernel
from gitvs.adapters.privileges import become_owner_of
from gitvs.adapters.store import SqliteStore
from gitvs.adapters.writer_lock import writer_lock
from gitvs.cli.output import tell
from gitvs.core.errors import ExitCode
from gitvs.core.history import Result
from gitvs.core.ownership import MARK_PREFIX
from gitvs.report.pass_text import pass_text
from gitvs.transaction import Interrupted, Ports

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def reader(state_dir: Path) -> Iterator[Ports]:
    """Open what is needed to look; without a store yet, nothing is owned."""
    become_owner_of(state_dir)
    with SqliteStore.open_readonly(state_dir) as store:
        yield _ports(store)


@contextmanager
def writer(state_dir: Path) -> Iterator[Ports]:
    """Open what is needed to write, as the only writer of this network namespace.

    SIGTERM ends it like Ctrl-C: after the undo, which a second one does not interrupt.

    Raises:
        LockHeld: another gitvs is the writer, and which.
    """
    become_owner_of(state_dir)
    with _interruptible_once(), writer_lock(), SqliteStore(state_dir) as store:
        try:
            yield _ports(store)
        except Interrupted as error:
            end = error.finished
            tell(
                pass_text(end.result, end.failures, prefix="interrupted; the transaction is now: ")
            )
            if end.result is Result.STUCK:
                raise click.exceptions.Exit(ExitCode.STUCK) from error
            raise


@contextmanager
def _interruptible_once() -> Iterator[None]:
    former = {number: signal.signal(number, _interrupt) for number in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _ports(store: SqliteStore) -> Ports:
    return Ports(LinuxKernel(MARK_PREFIX + store.id), store, SystemClock())


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for number in _INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
