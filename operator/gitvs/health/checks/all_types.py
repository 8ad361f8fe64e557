"""Every type of check by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gitvs.core.model.health import Probe
from gitvs.health.checks.dns import check_dns
from gitvs.health.checks.http import check_http
from gitvs.health.checks.ping import check_ping
from gitvs.health.checks.results import Check
from gitvs.health.checks.tcp import check_tcp
from gitvs.health.checks.udp import check_udp

_CHECKS: Mapping[str, Callable[[Probe], Check]] = {
    "tcp": check_tcp,
    "http": check_http,
    "https": check_http,
    "udp": check_udp,
    "dns": check_dns,
    "ping": check_ping,
}


def check_of(probe: Probe) -> Check:
    """Begin one execution of a probe."""
    return _CHECKS[probe.check.kind](probe)
