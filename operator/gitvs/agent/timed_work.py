"""When the agent has to look again by itself: at drains, operations, repairs, and after failures.

`triggers` has the timers that the settings name, and what comes from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gitvs.agent.cycle_result import CycleResult
from gitvs.agent.work_queue import Trigger, WorkQueue
from gitvs.core.model.history import Outcome
from gitvs.core.planning.operations import Operation
from gitvs.ports import Ports

DRAIN_POLL_SECONDS = 5.0
"""The interval between two readings of draining real servers: some are idle before their end."""

DRAIN_POLL_FACTOR = 20
"""Reading them takes at most a twentieth of the time, however long one reading takes."""

_MIN_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 60.0
_STUCK_RETRY_SECONDS = 15.0
_MAX_DOUBLINGS = 30


class TimedWork:
    """What is due, and when, by CLOCK_BOOTTIME. For the worker's thread."""

    def __init__(self, ports: Ports, work_queue: WorkQueue) -> None:
        self._ports = ports
        self._work_queue = work_queue
        self._drains_due_boottime: float | None = None
        self._not_before_boottime = 0.0
        self._failures_in_a_row = 0

    def seconds_left(self) -> float:
        """Return the time until draining real servers are due; infinite if nothing drains."""
        if self._drains_due_boottime is None:
            return float("inf")
        return self._drains_due_boottime - self._ports.clock.boottime()

    def due(self, operations: Iterable[Operation]) -> Iterator[Trigger]:
        """Yield the triggers that are due now; `operations` are those that may have expired."""
        if self.seconds_left() <= 0:
            yield Trigger.DRAIN_DUE
        moment = self._ports.moment()
        is_time = moment.boottime_seconds >= self._not_before_boottime
        if is_time and any(operation.is_expired(moment) for operation in operations):
            yield Trigger.OPERATION_EXPIRED

    def cycle_ended(
        self, cycle_result: CycleResult, cycle_seconds: float, seconds_to_next_repair: float | None
    ) -> None:
        """Plan ahead after a cycle of `cycle_seconds`.

        `seconds_to_next_repair` is None if nothing waits for a repair.
        """
        self._failures_in_a_row, self._not_before_boottime = 0, 0.0
        self._schedule_drains(cycle_result, cycle_seconds)
        if seconds_to_next_repair is not None:
            self._work_queue.add_trigger(Trigger.REPAIR_DUE, seconds_to_next_repair)
        if any(p.outcome is Outcome.STUCK or p.is_transient for p in cycle_result.pass_results):
            self._work_queue.add_trigger(Trigger.RETRY, _STUCK_RETRY_SECONDS)

    def _schedule_drains(self, cycle_result: CycleResult, cycle_seconds: float) -> None:
        """Set the next reading of drains; a server not removed is left to `RepairMemory`."""
        unrepairable = {u.key for p in cycle_result.pass_results[-1:] for u in p.unrepairable}
        ledger = self._ports.store.ledger(self._ports.kernel.incarnation())
        drains = [d for d in ledger.drains.values() if d.key not in unrepairable]
        if not drains:
            self._drains_due_boottime = None
            return
        now = self._ports.clock.boottime()
        regular_boottime = now + max(DRAIN_POLL_SECONDS, DRAIN_POLL_FACTOR * cycle_seconds)
        # The cycle did what was due before it.
        deadlines = [d.deadline_seconds for d in drains if d.deadline_seconds > now - cycle_seconds]
        self._drains_due_boottime = min([regular_boottime, *(max(d, now + 1.0) for d in deadlines)])

    def retry(self) -> None:
        """Have a cycle follow soon, because an operator's cycle failed."""
        delay_seconds = retry_delay_seconds(self._failures_in_a_row + 1)
        self._work_queue.add_trigger(Trigger.RETRY, delay_seconds)

    def cycle_failed(self) -> None:
        """Have a cycle follow, later after each failure in a row.

        Drains and expired operations wait for it.
        """
        self._failures_in_a_row += 1
        delay_seconds = retry_delay_seconds(self._failures_in_a_row)
        self._work_queue.add_trigger(Trigger.RETRY, delay_seconds)
        self._not_before_boottime = self._ports.clock.boottime() + delay_seconds
        if self._drains_due_boottime is not None:
            self._drains_due_boottime = self._not_before_boottime


def retry_delay_seconds(failures: int) -> float:
    """Return how long to wait after this many failures in a row."""
    doublings = min(failures - 1, _MAX_DOUBLINGS)
    return min(_MIN_RETRY_SECONDS * 2.0**doublings, _MAX_RETRY_SECONDS)
