"""The health of a director in statuses, after rounds of checks."""

from __future__ import annotations

from gitvs.core.health.messages import Heartbeat
from gitvs.core.status.health import CheckerStatus, HealthStatus
from tests.support.health.rounds import Rounds

ANSWERING = CheckerStatus(0.4, 0, Heartbeat(probes=4, in_flight=1))


def health_after(
    rounds: Rounds,
    seconds: float = 42,
    checker: CheckerStatus | None = ANSWERING,
    *,
    is_frozen: bool = False,
) -> HealthStatus:
    """Return the health that a status has some seconds after the last round."""
    return HealthStatus(rounds.tracker.services, rounds.now + seconds, is_frozen, checker)
