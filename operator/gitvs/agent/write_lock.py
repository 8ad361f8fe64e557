"""How the agent holds the writer lock: always, except while a pause lets others write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from gitvs.ports import Store


class WriteLock:
    """The writer lock of this network namespace, as the agent takes and releases it."""

    def __init__(self, store: Store, make_lock: Callable[[], AbstractContextManager[None]]) -> None:
        self._store = store
        self._make_lock = make_lock
        self._lock: ExitStack | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock, and keep it afterwards unless a pause is in force.

        Raises:
            LockHeld: another gitvs is the writer; the error names it.
        """
        if self._lock is None:
            with ExitStack() as stack:
                stack.enter_context(self._make_lock())
                self._lock = stack.pop_all()
        try:
            yield
        finally:
            if self._store.operations().pause is not None:
                self.release()

    def release(self) -> None:
        """Release the lock, so that others can write."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
