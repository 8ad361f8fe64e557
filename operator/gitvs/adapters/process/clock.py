"""Time, as the kernel and people know it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """The clocks of this host, as `ports.Clock` wants them."""

    def boottime(self) -> float:
        """Seconds of CLOCK_BOOTTIME: no step of the wall clock and no suspend disturbs it."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
