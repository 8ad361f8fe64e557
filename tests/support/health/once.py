"""One check of one address, as the checker process makes it."""

from __future__ import annotations

from ipaddress import ip_address

from gitvs.core.model.health import Check, CheckTimes, Probe
from gitvs.health.checks.results import Result
from gitvs.health.once import run_once

PLENTY, LITTLE = 30.0, 0.3
"""Time-outs in seconds: for what comes about at once, and for what never does."""


def checked(
    check: Check, port: int = 0, host: str = "127.0.0.1", seconds: float = PLENTY
) -> Result:
    """Return the result of one check."""
    probe = Probe(check, ip_address(host), port, CheckTimes(60.0, seconds, 60.0))
    [(result, _)] = run_once([probe]).values()
    return result
