"""The health of a director as Prometheus metrics; none if nothing is checked.

Counters of the checker process restart with it, as Prometheus allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric

from gitvs.core.health.check_states import Standing
from gitvs.core.health.judgement import Reason
from gitvs.core.health.messages import Heartbeat
from gitvs.core.model.resources import Key, host_and_port
from gitvs.core.status.agent_status import AgentStatus
from gitvs.core.status.health import CheckerStatus, HealthStatus

_SERVICE_LABELS = ("service", "virtual_service")
_NO_FAILURES = ("pass", "void")


def health_metrics(status: AgentStatus, max_real_servers: int) -> Iterator[Metric]:
    """Yield the metrics of health, of no more than so many real servers."""
    health = status.health
    if not health.tracked:
        return
    names = {each.service.key: each.name for each in status.services}
    yield from _service_metrics(health, names)
    yield _check_up(health, names, max_real_servers)
    yield _changes(health, names)
    frozen = "Whether nothing is taken out, since nearly all checks fail at once."
    yield GaugeMetricFamily("gitvs_health_frozen", frozen, float(health.is_frozen))
    if health.checker is not None:
        yield from _checker_metrics(health.checker)
        yield from _result_metrics(health.checker.heartbeat)


def _service_metrics(health: HealthStatus, names: Mapping[Key, str]) -> Iterator[Metric]:
    servers = GaugeMetricFamily(
        "gitvs_health_servers",
        "Checked real servers by state: why they serve, or do not.",
        labels=(*_SERVICE_LABELS, "state"),
    )
    quorum = GaugeMetricFamily(
        "gitvs_health_quorum", "Whether the quorum is held.", labels=_SERVICE_LABELS
    )
    for key, service in health.services.items():
        labels = (names.get(key, ""), key)
        for reason in Reason:
            servers.add_metric((*labels, str(reason)), service.count(reason))
        quorum.add_metric(labels, float(not service.is_quorum_lost))
    yield servers
    yield quorum


def _check_up(health: HealthStatus, names: Mapping[Key, str], limit: int) -> Metric:
    gauge = GaugeMetricFamily(
        "gitvs_check_up",
        "Whether the checks of a real server say that it is up; absent while nothing is known.",
        labels=(*_SERVICE_LABELS, "real_server"),
    )
    pairs = ((key, server) for key, each in health.services.items() for server in each.servers)
    for key, server in islice(pairs, limit):
        if server.standing is not Standing.UNKNOWN:
            address = host_and_port(server.server.address, server.server.port)
            labels = (names.get(key, ""), key, address)
            gauge.add_metric(labels, float(server.standing is Standing.UP))
    return gauge


def _changes(health: HealthStatus, names: Mapping[Key, str]) -> Metric:
    counter = CounterMetricFamily(
        "gitvs_health_changes",
        "How often real servers went down or came up.",
        labels=(*_SERVICE_LABELS, "to"),
    )
    for (key, standing), count in health.change_counts.items():
        counter.add_metric((names.get(key, ""), key, str(standing)), count)
    return counter


def _checker_metrics(checker: CheckerStatus) -> Iterator[Metric]:
    heartbeat = checker.heartbeat
    for name, help_, value in (
        ("up", "Whether the process that runs the checks answers.", checker.is_answering),
        ("probes", "Checks of an address and port; equal ones are one.", heartbeat.probes),
        ("in_flight", "Checks that are under way.", heartbeat.in_flight),
        ("lateness_seconds", "How late a check began at worst.", heartbeat.worst_lateness_seconds),
        (
            "probes_without_results",
            "Checks that have learnt nothing for three intervals, for a reason of this host.",
            len(heartbeat.stale),
        ),
    ):
        yield GaugeMetricFamily(f"gitvs_checker_{name}", help_, float(value))
    restarts = "How often the process that runs the checks was started again."
    yield CounterMetricFamily("gitvs_checker_restarts", restarts, checker.restart_count)


def _result_metrics(heartbeat: Heartbeat) -> Iterator[Metric]:
    results = CounterMetricFamily(
        "gitvs_check_results",
        "Results of checks: pass, fail with its class, or void where nothing was learnt.",
        labels=("type", "result", "class"),
    )
    durations = SummaryMetricFamily(
        "gitvs_check_duration_seconds", "How long checks took.", labels=("type",)
    )
    for kind, counts in heartbeat.results.items():
        for word, count in counts.items():
            is_failure = word not in _NO_FAILURES
            labels = (kind, "fail" if is_failure else word, word if is_failure else "")
            results.add_metric(labels, count)
        count = sum(counts.values())
        durations.add_metric((kind,), count, heartbeat.seconds.get(kind, 0.0))
    yield results
    yield durations
