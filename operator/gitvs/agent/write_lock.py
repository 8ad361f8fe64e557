"""How the agent holds the writer lock: always, except while a pause lets others write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from gitvs.ports import Store

MakeLock = Callable[[], AbstractContextManager[Callable[[], None]]]
"""Takes the lock; what it yields makes sure that it is still held."""


class WriteLock:
    """The writer lock of this network namespace, as the agent takes and releases it."""

    def __init__(self, store: Store, make_lock: MakeLock) -> None:
        self._store = store
        self._make_lock = make_lock
        self._lock: ExitStack | None = None
        self._ensure: Callable[[], None] = lambda: None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock, and keep it afterwards unless a pause is in force.

        Raises:
            LockHeld: another gitvs is the writer; the error names it.
        """
        if self._lock is None:
            with ExitStack() as stack:
                self._ensure = stack.enter_context(self._make_lock())
                self._lock = stack.pop_all()
        try:
            yield
        finally:
            if self._store.operations().pause is not None:
                self.release()

    def ensure(self) -> None:
        """Make sure that the lock is still held. For the time in which it is.

        Raises:
            LockHeld, LockUnusable: its file was removed, and it cannot be taken again.
        """
        self._ensure()

    def release(self) -> None:
        """Release the lock, so that others can write."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
