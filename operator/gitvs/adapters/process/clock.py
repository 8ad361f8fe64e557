"""The clocks of this host."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """Implements `ports.Clock` with the clocks of this host."""

    def boottime(self) -> float:
        """Return CLOCK_BOOTTIME in seconds; wall-clock steps and suspend do not disturb it."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
