"""Remembers failed repairs, so that they are retried less and less often."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gitvs.core.model.resources import Key
from gitvs.core.planning.repairs import Unrepairable
from gitvs.ports import Clock

FIRST_DELAY_SECONDS = 15.0
MAX_DELAY_SECONDS = 600.0
"""The pause before the next try doubles from the first to this one."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """An object that was tried, and failed. `next_try_boottime` is on CLOCK_BOOTTIME."""

    reason: str
    next_try_boottime: float
    delay_seconds: float


@dataclass(slots=True)
class RepairMemory:
    """The objects that could not be repaired; a restart forgets them. For one thread."""

    _failed: dict[Key, _Failed] = field(default_factory=dict)
    _since: dict[Key, datetime] = field(default_factory=dict)

    def waiting(self, repair_keys: Collection[Key], boottime_seconds: float) -> dict[Key, str]:
        """Return the repairs that failed and are not due yet, with the reasons."""
        return {
            key: failed.reason
            for key, failed in self._failed.items()
            if key in repair_keys and failed.next_try_boottime > boottime_seconds
        }

    def record(
        self,
        failed: Mapping[Key, str],
        tried_keys: Collection[Key],
        clock: Clock,
        is_paused: bool = False,
    ) -> tuple[Unrepairable, ...]:
        """Record what failed in a pass, and return it; all else is forgotten.

        `tried_keys` are those that the kernel was asked to change in this pass. A pass that is
        paused says nothing of the others.
        """
        boottime, now = clock.boottime(), clock.now()
        known = {k: f for k, f in self._failed.items() if is_paused and k not in tried_keys}
        self._failed = known | {
            key: self._next(key, reason, boottime) if key in tried_keys else self._failed[key]
            for key, reason in failed.items()
            if key in tried_keys or key in self.waiting((key,), boottime)
        }
        self._since = {key: self._since.get(key, now) for key in {**known, **failed}}
        return tuple(
            Unrepairable(key, reason, self._since[key], self._next_try_at(key, boottime, now))
            for key, reason in failed.items()
        )

    def retry_now(self) -> None:
        """Make all repairs due now, because an operator asks for it."""
        self._failed = {
            key: replace(failed, next_try_boottime=float("-inf"))
            for key, failed in self._failed.items()
        }

    def seconds_to_next_try(self, boottime_seconds: float) -> float | None:
        """Return the time until something is tried again; None if nothing waits."""
        waits = [f.next_try_boottime - boottime_seconds for f in self._failed.values()]
        if not waits:
            return None
        soonest = min(waits)
        return soonest if soonest > 0 else FIRST_DELAY_SECONDS  # the pass did not get to it

    def _next(self, key: Key, reason: str, boottime_seconds: float) -> _Failed:
        former = self._failed.get(key)
        delay_seconds = (
            FIRST_DELAY_SECONDS
            if former is None
            else min(2 * former.delay_seconds, MAX_DELAY_SECONDS)
        )
        return _Failed(reason, boottime_seconds + delay_seconds, delay_seconds)

    def _next_try_at(self, key: Key, boottime_seconds: float, now: datetime) -> datetime | None:
        failed = self._failed.get(key)
        if failed is None:
            return None
        return now + timedelta(seconds=failed.next_try_boottime - boottime_seconds)
