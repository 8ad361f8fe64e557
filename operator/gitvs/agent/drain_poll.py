"""When draining real servers are read again: some may be idle before their deadline."""

from __future__ import annotations

from collections.abc import Collection

from gitvs.core.model.resources import Key
from gitvs.ports import Ports

DRAIN_POLL_SECONDS = 5.0
"""The interval between two readings."""

DRAIN_POLL_FACTOR = 20
"""Reading takes at most a twentieth of the time, however long one reading takes."""


class DrainPoll:
    """The time of the next reading, by CLOCK_BOOTTIME. For one thread."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._due_boottime: float | None = None

    def schedule(self, cycle_seconds: float, unrepairable_keys: Collection[Key] = ()) -> None:
        """Set the next reading after a cycle of `cycle_seconds`; none if nothing drains.

        A real server that could not be removed is left to `RepairMemory`.
        """
        ledger = self._ports.store.ledger(self._ports.kernel.incarnation())
        drains = [d for d in ledger.drains.values() if d.key not in unrepairable_keys]
        if not drains:
            self._due_boottime = None
            return
        now = self._ports.clock.boottime()
        regular_boottime = now + max(DRAIN_POLL_SECONDS, DRAIN_POLL_FACTOR * cycle_seconds)
        # What was due before the cycle has had its turn in it.
        deadlines = [d.deadline_seconds for d in drains if d.deadline_seconds > now - cycle_seconds]
        self._due_boottime = min([regular_boottime, *(max(d, now + 1.0) for d in deadlines)])

    def postpone(self, delay_seconds: float) -> None:
        """Move the next reading, if there is one, to `delay_seconds` from now."""
        if self._due_boottime is not None:
            self._due_boottime = self._ports.clock.boottime() + delay_seconds

    def seconds_left(self) -> float:
        """Return the time until the next reading; infinite if there is none."""
        if self._due_boottime is None:
            return float("inf")
        return self._due_boottime - self._ports.clock.boottime()
