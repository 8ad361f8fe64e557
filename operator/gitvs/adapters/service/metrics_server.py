"""The Prometheus metrics of a director, served over HTTP.

Gauges show the last published `AgentStatus` (`status_metrics`). Events between two of them are
counted here. All of it may be called from any thread.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from socketserver import BaseServer, TCPServer
from threading import Lock, Thread
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import MetricsHandler

from gitvs.adapters.service.status_metrics import OUTCOMES, StatusCollector
from gitvs.core.errors import SettingsError
from gitvs.core.model.history import Outcome
from gitvs.core.planning.kernel_refusals import errno_name
from gitvs.core.settings import MetricsSettings
from gitvs.core.status.agent_status import AgentStatus

log = logging.getLogger(__name__)

FAILURE_KINDS = ("source", "manifests", "gate", "quarantine", "kernel", "store", "bug", "other")
"""The kinds of failure that are counted from 0; others appear when they first happen."""

_SUCCESSFUL_OUTCOMES = (Outcome.CONVERGED, Outcome.APPLIED)
_STAGE_BUCKETS_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60)
_POLL_SECONDS = 0.1
"""How often the server looks for connections that take too long, and whether to stop."""
_REQUEST_SECONDS = 10.0
"""Longest time of one scrape in all, however slowly its client sends or receives."""
_MAX_CONNECTIONS = 16


class Metrics:
    """The metrics of one director."""

    def __init__(self, settings: MetricsSettings) -> None:
        # Otherwise, each counter has a second metric, which is of no use here.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
        self._settings = settings
        self._registry = CollectorRegistry()
        self._status_collector = StatusCollector(settings.real_servers)
        self._registry.register(self._status_collector)
        ProcessCollector(registry=self._registry)
        self._event_metrics = _EventMetrics(self._registry)
        self._server_and_thread: tuple[_MetricsServer, Thread] | None = None

    @property
    def address(self) -> str:
        """Where metrics are served, as `127.0.0.1:9712`; empty if they are not."""
        return "" if self._server_and_thread is None else self._server_and_thread[0].address_text

    def start(self) -> None:
        """Start to serve, unless the settings switch it off.

        Raises:
            SettingsError: the address cannot be used.
        """
        if not self._settings.listen:
            return
        try:
            server = _MetricsServer(self._settings.address, _Handler.factory(self._registry))
        except OSError as error:
            raise _listen_error(self._settings.listen, error) from error
        thread = Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="metrics")
        thread.daemon = True
        thread.start()
        self._server_and_thread = server, thread

    def restart_if_dead(self) -> None:
        """Serve again if the server's thread has died."""
        if self._server_and_thread is None or self._server_and_thread[1].is_alive():
            return
        log.error("metrics server ended unexpectedly, started again")
        self.stop()
        try:
            self.start()
        except SettingsError as error:
            log.error("no metrics reason=%s", error)

    def stop(self) -> None:
        """Stop serving."""
        if self._server_and_thread is not None:
            server, thread = self._server_and_thread
            self._server_and_thread = None
            server.shutdown()
            server.server_close()
            thread.join()

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

    def count_transaction_found_open(self) -> None:
        """Count a transaction that the agent found open when it started."""
        self._event_metrics.found_open.inc()


class _EventMetrics:
    """Metrics that are counted as events happen; known label values start at 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.passes = Counter(
            "gitvs_passes", "Passes, by how they ended.", ["result"], registry=registry
        )
        self.stage_durations = Histogram(
            "gitvs_pass_stage_duration_seconds",
            "How long the stages of passes took.",
            ["stage"],
            registry=registry,
            buckets=_STAGE_BUCKETS_SECONDS,
        )
        self.last_successes = Gauge(
            "gitvs_last_success_timestamp_seconds",
            "When a pass last ended well, by how.",
            ["result"],
            registry=registry,
        )
        self.failures = Counter(
            "gitvs_failures", "What went wrong, by kind.", ["kind"], registry=registry
        )
        self.last_failures = Gauge(
            "gitvs_last_failure_timestamp_seconds",
            "When something last went wrong, by kind.",
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
            "Objects that were found changed behind gitvs's back.",
            registry=registry,
        )
        self.drift_repaired = Counter(
            "gitvs_drift_repaired",
            "Objects that were changed behind gitvs's back and are right again.",
            registry=registry,
        )
        self.found_open = Counter(
            "gitvs_transactions_found_open",
            "Transactions that the agent found open when it started.",
            registry=registry,
        )
        for outcome in OUTCOMES:
            self.passes.labels(outcome)
        for kind in FAILURE_KINDS:
            self.failures.labels(kind)


class _Handler(MetricsHandler):
    """Answers one scrape."""

    server: _MetricsServer

    def do_GET(self) -> None:
        """Answer, unless the connection was cut off while the request came in."""
        if self.server.connections.mark_received(self.connection):
            super().do_GET()


@dataclass(slots=True)
class _Connection:
    deadline_monotonic: float
    is_request_received: bool = False


class _Connections:
    """The open connections: a bounded number, each for a bounded time.

    A client that has not sent its request yet makes room for a new one, so clients that send
    slowly or nothing keep nobody from scraping.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._connections: dict[socket.socket, _Connection] = {}  # the oldest first

    def admit(self, client: socket.socket) -> bool:
        """Add a connection; False if there is no room."""
        with self._lock:
            if len(self._connections) >= _MAX_CONNECTIONS and not self._cut_off_slow_sender():
                return False
            self._connections[client] = _Connection(time.monotonic() + _REQUEST_SECONDS)
            return True

    def mark_received(self, client: socket.socket) -> bool:
        """Record that the request is complete; False if the connection was cut off."""
        with self._lock:
            connection = self._connections.get(client)
            if connection is not None:
                connection.is_request_received = True
            return connection is not None

    def remove(self, client: socket.socket) -> None:
        """Remove a connection before it is closed."""
        with self._lock:
            self._connections.pop(client, None)

    def cut_off_late(self, now_monotonic: float) -> None:
        """Cut off the connections whose deadline has passed."""
        with self._lock:
            for client, connection in list(self._connections.items()):
                if connection.deadline_monotonic <= now_monotonic:
                    self._cut_off(client)

    def _cut_off_slow_sender(self) -> bool:
        for client, connection in self._connections.items():
            if not connection.is_request_received:
                self._cut_off(client)
                return True
        return False

    def _cut_off(self, client: socket.socket) -> None:
        """End a connection; its thread notices, and closes it."""
        del self._connections[client]
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


class _MetricsServer(ThreadingHTTPServer):
    request_queue_size = 128  # connections that wait to be accepted; beyond, clients wait seconds

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self.connections = _Connections()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    @property
    def address_text(self) -> str:
        host, port = self.server_address[:2]
        return f"[{host!s}]:{port}" if ":" in str(host) else f"{host!s}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or close: clients must not use up all threads of the agent."""
        if self.connections.admit(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.connections.remove(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off slow clients; called several times a second."""
        self.connections.cut_off_late(time.monotonic())

    def server_close(self) -> None:
        """Close the server, and its connections with it."""
        super().server_close()
        self.connections.cut_off_late(float("inf"))

    def server_bind(self) -> None:
        """Bind without the DNS lookup of the parent class: the DNS may be down."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect; any other error is a bug and is shown."""
        if not isinstance(sys.exception(), OSError):
            BaseServer.handle_error(self, request, client_address)


def _listen_error(listen: str, error: OSError) -> SettingsError:
    code = error.errno or 0
    return SettingsError(
        f"metrics cannot be served on {listen}: {os.strerror(code)} ({errno_name(code)});"
        ' choose another metrics.listen, or "" for none'
    )
