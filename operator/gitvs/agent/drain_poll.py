"""When draining real servers are read again: some may be idle before their deadline."""

from __future__ import annotations

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

    def schedule(self, cycle_seconds: float) -> None:
        """Set the next reading after a cycle of `cycle_seconds`; none if nothing drains."""
        drains = self._ports.store.ledger(self._ports.kernel.incarnation()).drains
        if not drains:
            self._due_boottime = None
            return
        now = self._ports.clock.boottime()
        regular_boottime = now + max(DRAIN_POLL_SECONDS, DRAIN_POLL_FACTOR * cycle_seconds)
        deadline_boottime = min(d.deadline_seconds for d in drains.values())
        self._due_boottime = min(regular_boottime, max(deadline_boottime, now + 1.0))

    def postpone(self, delay_seconds: float) -> None:
        """Move the next reading, if there is one, to `delay_seconds` from now."""
        if self._due_boottime is not None:
            self._due_boottime = self._ports.clock.boottime() + delay_seconds

    def seconds_left(self) -> float:
        """Return the time until the next reading; infinite if there is none."""
        if self._due_boottime is None:
            return float("inf")
        return self._due_boottime - self._ports.clock.boottime()
