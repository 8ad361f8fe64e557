"""A kernel on which one thing goes wrong, once: every way in which an apply can be disturbed."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NoReturn

from gitvs.core.errors import KernelUnreadable
from gitvs.core.model.ledger import Incarnation
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.planning.plan import Change
from gitvs.ports import Kernel, WriteResult, WriteStatus


class Crashed(BaseException):
    """The process died here; nothing but a test catches it."""


class How(StrEnum):
    """What happens at the chosen change; those around it run as ever, until a crash."""

    REFUSED = "refused"
    """Not written, and answered ENOMEM."""
    LOST = "lost"
    """Written, but the answer got lost."""
    LOST_UNWRITTEN = "lost-unwritten"
    """Not written, and the answer got lost."""
    CRASH_BEFORE = "crash-before"
    """The process dies before it is written."""
    CRASH_AFTER = "crash-after"
    """The process dies after it was written, before anybody learned so."""
    UNREADABLE = "unreadable"
    """Not a change but the chosen reading fails."""


def crash() -> NoReturn:
    """End as a crash does, as far as one process can; another way is `os._exit` in a child."""
    raise Crashed


class WrappedKernel:
    """Passes everything on to another kernel; a subclass changes some of it."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def incarnation(self) -> Incarnation:
        return self._kernel.incarnation()

    def read_witness(self) -> int | None:
        return self._kernel.read_witness()

    def write_witness(self, number: int, adopted_interface: str | None = None) -> None:
        self._kernel.write_witness(number, adopted_interface)

    def observe(self, scope: Scope) -> Observation:
        return self._kernel.observe(scope)

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        return self._kernel.execute(changes)


class FaultyKernel(WrappedKernel):
    """Wraps a kernel; at the change number `at`, counted from 0 over all calls, `how` happens.

    For `How.UNREADABLE` it is the readings that are counted. Afterwards nothing goes wrong any
    more, and `has_struck` says that it did.
    """

    def __init__(
        self, kernel: Kernel, at: int, how: How, die: Callable[[], NoReturn] = crash
    ) -> None:
        super().__init__(kernel)
        self._at = at
        self._how = how
        self._die = die
        self._seen = 0
        self.has_struck = False

    def observe(self, scope: Scope) -> Observation:
        if self._how is How.UNREADABLE and self._position(1) is not None:
            raise KernelUnreadable("the kernel changed while it was read: try again")
        return self._kernel.observe(scope)

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        index = None if self._how is How.UNREADABLE else self._position(len(changes))
        if index is None:
            return self._kernel.execute(changes)
        before, chosen, behind = changes[:index], changes[index], changes[index + 1 :]
        outcomes = self._kernel.execute(before)
        outcomes.append(self._strike(chosen))
        return outcomes + self._kernel.execute(behind)

    def _position(self, count: int) -> int | None:
        """Count further, and return which of these is the chosen one."""
        first, self._seen = self._seen, self._seen + count
        if not first <= self._at < self._seen:
            return None
        self.has_struck = True
        return self._at - first

    def _strike(self, change: Change) -> WriteResult:
        if self._how in (How.LOST, How.CRASH_AFTER):
            self._kernel.execute([change])
        if self._how in (How.CRASH_BEFORE, How.CRASH_AFTER):
            self._die()
        if self._how is How.REFUSED:
            message = f"{change.key}: cannot allocate memory (ENOMEM)"
            return WriteResult(change, WriteStatus.REFUSED, errno.ENOMEM, message)
        return WriteResult(change, WriteStatus.UNKNOWN, None, f"{change.key}: the answer got lost")
