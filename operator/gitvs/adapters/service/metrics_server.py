"""The Prometheus metrics of a director, served over HTTP.

Gauges show the last published `AgentStatus` (`status_metrics`). Events between two of them are
counted here. All of it may be called from any thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import MetricsHandler

from gitvs.adapters.service.http_server import HttpListener, HttpServer
from gitvs.adapters.service.push_hook import HookResult
from gitvs.adapters.service.status_metrics import OUTCOMES, StatusCollector
from gitvs.core.errors import CannotListen
from gitvs.core.model.history import Outcome
from gitvs.core.settings import MetricsSettings
from gitvs.core.status.agent_status import AgentStatus

log = logging.getLogger(__name__)

FAILURE_KINDS = ("source", "manifests", "gate", "quarantine", "kernel", "store", "bug", "other")
"""The kinds of failure that are counted from 0; others appear when they first happen."""

_SUCCESSFUL_OUTCOMES = (Outcome.CONVERGED, Outcome.APPLIED)
_STAGE_BUCKETS_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60)


class Metrics:
    """The metrics of one director."""

    def __init__(self, settings: MetricsSettings) -> None:
        # Otherwise, each counter has a second metric, which is of no use here.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
        self.settings = settings
        self._registry = CollectorRegistry()
        self._status_collector = StatusCollector(settings.real_servers)
        self._registry.register(self._status_collector)
        ProcessCollector(registry=self._registry)
        self._event_metrics = _EventMetrics(self._registry)
        self._listener: HttpListener | None = None

    @property
    def address(self) -> str:
        """Where metrics are served, as `127.0.0.1:9712`; empty if they are not."""
        return "" if self._listener is None else self._listener.address

    def start(self) -> None:
        """Start to serve, unless the settings switch it off.

        Raises:
            CannotListen: the address cannot be used.
        """
        if self.settings.listen:
            handler = _Handler.factory(self._registry)
            self._listener = HttpListener("metrics.listen", self.settings.listen, handler)

    def restart_if_dead(self) -> None:
        """Serve again if the server's thread has died."""
        if self._listener is None or self._listener.is_alive():
            return
        log.error("metrics server ended unexpectedly, started again")
        self.stop()
        try:
            self.start()
        except CannotListen as error:
            log.error("no metrics reason=%s", error)

    def stop(self) -> None:
        """Stop serving."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None

    def publish(self, get_status: Callable[[], AgentStatus]) -> None:
        """From now on, call `get_status` at each scrape."""
        self._status_collector.get_status = get_status

    def count_pass(self, outcome: str, stages: Mapping[str, float]) -> None:
        """Count a pass that ended, with the seconds of each of its stages."""
        self._event_metrics.passes.labels(str(outcome)).inc()
        for stage, seconds in stages.items():
            self._event_metrics.stage_durations.labels(stage).observe(seconds)
        if outcome in _SUCCESSFUL_OUTCOMES:
            self._event_metrics.last_successes.labels(str(outcome)).set(time.time())

    def count_changes(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Count changes of the kernel, by kind of object and action."""
        for (kind, action), number in counts.items():
            self._event_metrics.kernel_changes.labels(str(kind), str(action)).inc(number)

    def count_drift(self, found: int, repaired: int) -> None:
        """Count objects that were changed outside gitvs, and those that were repaired."""
        self._event_metrics.drift_found.inc(found)
        self._event_metrics.drift_repaired.inc(repaired)

    def count_failure(self, kind: str) -> None:
        """Count a failure of a kind such as `source`."""
        self._event_metrics.failures.labels(kind).inc()
        self._event_metrics.last_failures.labels(kind).set(time.time())

    def count_hook_request(self, result: HookResult) -> None:
        """Count a request of the hook, by how it ended."""
        self._event_metrics.hook_requests.labels(str(result)).inc()

    def count_transaction_found_open(self) -> None:
        """Count a transaction that the agent found open when it started."""
        self._event_metrics.found_open.inc()


class _EventMetrics:
    """Metrics that are counted as events happen; known label values start at 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.passes = Counter("gitvs_passes", "Passes, by outcome.", ["result"], registry=registry)
        self.stage_durations = Histogram(
            "gitvs_pass_stage_duration_seconds",
            "How long the stages of passes took.",
            ["stage"],
            registry=registry,
            buckets=_STAGE_BUCKETS_SECONDS,
        )
        self.last_successes = Gauge(
            "gitvs_last_success_timestamp_seconds",
            "When a pass last ended well, by outcome.",
            ["result"],
            registry=registry,
        )
        self.failures = Counter("gitvs_failures", "Errors, by kind.", ["kind"], registry=registry)
        self.last_failures = Gauge(
            "gitvs_last_failure_timestamp_seconds",
            "When the last error of a kind happened.",
            ["kind"],
            registry=registry,
        )
        self.kernel_changes = Counter(
            "gitvs_kernel_operations",
            "Changes of the kernel, by kind of object and action.",
            ["kind", "action"],
            registry=registry,
        )
        self.drift_found = Counter(
            "gitvs_drift_found",
            "Objects that were found changed by something other than gitvs.",
            registry=registry,
        )
        self.drift_repaired = Counter(
            "gitvs_drift_repaired",
            "Objects that something other than gitvs changed, and that gitvs repaired.",
            registry=registry,
        )
        self.found_open = Counter(
            "gitvs_transactions_found_open",
            "Transactions that the agent found open when it started.",
            registry=registry,
        )
        self.hook_requests = Counter(
            "gitvs_hook_requests",
            "Requests of the push hook, by outcome.",
            ["result"],
            registry=registry,
        )
        for result in HookResult:
            self.hook_requests.labels(result)
        for outcome in OUTCOMES:
            self.passes.labels(outcome)
        for kind in FAILURE_KINDS:
            self.failures.labels(kind)


class _Handler(MetricsHandler):
    """Answers one scrape."""

    server: HttpServer

    def do_GET(self) -> None:
        """Answer, unless the connection was cut off while the request came in."""
        if self.server.connections.mark_received(self.connection):
            super().do_GET()
