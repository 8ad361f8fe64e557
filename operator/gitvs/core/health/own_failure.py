"""Whether this host's own network is the likely cause of failures: nearly everything fails at once.

Taking all real servers out would then make it worse: their answers may come back at any moment.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

MIN_ADDRESSES = 10
"""Among fewer real servers, all failing at once says nothing about this host."""

FAILING_PERCENT = 90

MAX_FROZEN_SECONDS = 60.0
"""A whole site may be dead: after that time the judgement counts again."""


@dataclass(frozen=True, slots=True)
class OwnFailure:
    """An episode in which nearly everything fails; `began_seconds` is None while there is none.

    Moments are seconds of CLOCK_BOOTTIME.
    """

    began_seconds: float | None = None

    def is_frozen(self, now_seconds: float) -> bool:
        """Whether nothing is taken out now."""
        began = self.began_seconds
        return began is not None and now_seconds < began + MAX_FROZEN_SECONDS

    @property
    def ends_seconds(self) -> float:
        """When the judgement counts again; infinite without an episode."""
        began = self.began_seconds
        return float("inf") if began is None else began + MAX_FROZEN_SECONDS

    def observed(
        self,
        failing_since: Mapping[str, float],
        addresses: Collection[str],
        fall_seconds: float,
        now_seconds: float,
    ) -> OwnFailure:
        """Return what is known after newer results.

        `failing_since` is when the newest connections to an address began to fail: refused,
        unreachable, or timed out. `addresses` are all that are checked. An episode begins when
        nearly all began to fail within `fall_seconds`; it ends when enough answer again.
        """
        is_wide = len(addresses) >= MIN_ADDRESSES and (
            100 * len(failing_since) >= FAILING_PERCENT * len(addresses)
        )
        if not is_wide:
            return OwnFailure()
        if self.began_seconds is not None:
            return self
        recent = sum(since >= now_seconds - fall_seconds for since in failing_since.values())
        is_sudden = 100 * recent >= FAILING_PERCENT * len(addresses)
        return OwnFailure(now_seconds) if is_sudden else self
