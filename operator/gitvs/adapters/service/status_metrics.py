"""The last `AgentStatus` of a director as Prometheus metrics.

A value that is not known yet is left out, never 0. Counters restart with their object in the
kernel, as Prometheus allows. Serving them is left to `metrics_server`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gitvs import __version__
from gitvs.adapters.service.health_metrics import health_metrics
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Counters
from gitvs.core.model.resources import host_and_port
from gitvs.core.planning.gates import LIFTABLE_GATES
from gitvs.core.status.agent_status import AgentStatus, ServerStatus, ServiceStatus

FAILED_OUTCOME = "failed"
"""Outcome of a pass that could do nothing at all."""
OUTCOMES = (*map(str, Outcome), FAILED_OUTCOME)

_GATE_NAMES = (*LIFTABLE_GATES, "conflict", "unsupported")

_MetricValue = float | None
_Gauge = tuple[str, str, Callable[[AgentStatus], _MetricValue]]


def _timestamp(at: datetime | None) -> _MetricValue:
    return None if at is None else at.timestamp()


def _is_source_up(status: AgentStatus) -> _MetricValue:
    source = status.source
    return (
        None
        if source.last_answer_at is None and not source.failure_count
        else not source.failure_count
    )


def _is_up_to_date(status: AgentStatus) -> _MetricValue:
    desired, applied = status.desired_commit, status.applied_commit
    if desired is None:  # a folder has no commits; otherwise it is not known yet
        return status.is_applied if applied is None else None
    return applied is not None and applied.id == desired.id


def _remaining_drain_seconds(status: AgentStatus) -> list[float]:
    """Return how long each drain in progress may still take."""
    servers = (server for service in status.services for server in service.servers)
    return [s.remaining_drain_seconds for s in servers if s.remaining_drain_seconds is not None]


def _first_deadline(status: AgentStatus) -> _MetricValue:
    drains = _remaining_drain_seconds(status)
    return status.at.timestamp() + min(drains) if drains else None


_GAUGES: Sequence[_Gauge] = (
    ("status_timestamp_seconds",
     "When the agent last wrote its status; most metrics are from that moment.",
     lambda s: _timestamp(s.at)),
    ("source_up",
     "Whether the source answered when it was last asked.",
     _is_source_up),
    ("source_answered_timestamp_seconds",
     "When the source last answered.",
     lambda s: _timestamp(s.source.last_answer_at)),
    ("source_consecutive_failures",
     "Fetches in a row that the source did not answer.",
     lambda s: s.source.failure_count),
    ("up_to_date",
     "Whether the desired commit is the applied one.",
     _is_up_to_date),
    ("applied_timestamp_seconds",
     "When the applied state was applied.",
     lambda s: _timestamp(s.applied_at)),
    ("last_pass_timestamp_seconds",
     "When the last pass ended.",
     lambda s: None if s.last_pass is None else _timestamp(s.last_pass.at)),
    ("last_pass_duration_seconds",
     "How long the last pass took.",
     lambda s: None if s.last_pass is None else s.last_pass.duration_seconds),
    ("last_observation_timestamp_seconds",
     "When the kernel was last read as a whole.",
     lambda s: _timestamp(s.observed_at)),
    ("drift_objects",
     "Objects that the last pass found changed by something other than gitvs.",
     lambda s: len(s.drifted_keys)),
    ("unrepairable_objects",
     "Objects that are not as they should be and could not be repaired.",
     lambda s: len(s.unrepairable)),
    ("drains_in_progress",
     "Real servers that drain because of a change in Git.",
     lambda s: len(_remaining_drain_seconds(s))),
    ("drain_deadline_timestamp_seconds",
     "The earliest deadline of the drains.",
     _first_deadline),
    ("drains_by_hand",
     "Drains by hand that are in force.",
     lambda s: len(s.operations.drains)),
    ("paused",
     "Whether an operator paused new commits and the repair of drift.",
     lambda s: s.operations.pause is not None),
    ("pinned",
     "Whether an operator pinned a commit, so that newer commits wait.",
     lambda s: s.operations.pin is not None),
    ("standby",
     "Whether Git or an operator keeps the director on standby, without VIPs and local routes.",
     lambda s: s.is_standby),
    ("quarantined_commits",
     "Commits that failed and are not tried again.",
     lambda s: len(s.quarantined)),
    ("transaction_open",
     "Whether a transaction is neither applied nor undone.",
     lambda s: s.is_transaction_open),
    ("foreign_objects",
     "Foreign objects, which gitvs does not change.",
     lambda s: len(s.foreign_objects)),
    ("vips",
     "Owned VIPs and local routes in the kernel.",
     lambda s: len(s.vips)),
    ("virtual_services",
     "Owned virtual services in the kernel.",
     lambda s: len(s.services)),
    ("real_servers",
     "Owned real servers in the kernel, counted once for each virtual service.",
     lambda s: sum(len(service.servers) for service in s.services)),
)  # fmt: skip

_TRAFFIC_COUNTERS: Sequence[tuple[str, str, Callable[[Counters], int]]] = (
    ("connections", "Connections that IPVS has scheduled.", lambda c: c.connections),
    ("incoming_packets", "Packets from clients.", lambda c: c.packets_in),
    ("outgoing_packets",
     "Packets to clients; those that do not pass the director are not counted.",
     lambda c: c.packets_out),
    ("incoming_bytes", "Bytes from clients.", lambda c: c.bytes_in),
    ("outgoing_bytes",
     "Bytes to clients; those that do not pass the director are not counted.",
     lambda c: c.bytes_out),
)  # fmt: skip

_SERVER_GAUGES: Sequence[tuple[str, str, Callable[[ServerStatus], int]]] = (
    ("active_connections", "Established connections.", lambda s: s.connections.active),
    ("inactive_connections", "Connections that open or close.", lambda s: s.connections.inactive),
    ("weight", "The weight in force; 0 takes no new connections.", lambda s: s.server.weight),
)

_SERVICE_GAUGES: Sequence[tuple[str, str, Callable[[ServiceStatus], int]]] = (
    ("active_connections", "Established connections.",
     lambda s: sum(server.connections.active for server in s.servers)),
    ("inactive_connections", "Connections that open or close.",
     lambda s: sum(server.connections.inactive for server in s.servers)),
    ("weight", "The weights of all real servers together.",
     lambda s: sum(server.server.weight for server in s.servers)),
    ("real_servers", "Real servers.", lambda s: len(s.servers)),
    ("active_real_servers", "Real servers whose weight is not 0.",
     lambda s: sum(server.server.weight > 0 for server in s.servers)),
)  # fmt: skip

_SERVICE_LABELS = ("service", "virtual_service")
_SERVER_LABELS = (*_SERVICE_LABELS, "real_server", "name")


class StatusCollector(Collector):
    """The newest status as metrics, of no more than `max_real_servers` real servers.

    A newer status is assigned to `get_status`; a scrape in another thread continues with its
    own.
    """

    def __init__(self, max_real_servers: int) -> None:
        self.get_status: Callable[[], AgentStatus] | None = None
        self._max_real_servers = max_real_servers

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield _info("build", "The version of gitvs that runs.", {"version": __version__})
        if self.get_status is None:
            return
        status = self.get_status()
        yield from _status_gauges(status)
        yield from _info_metrics(status)
        yield from _labelled_gauges(status)
        yield from _service_metrics(status.services)
        yield from _server_metrics(status.services, self._max_real_servers)
        yield from health_metrics(status, self._max_real_servers)


def _status_gauges(status: AgentStatus) -> Iterator[Metric]:
    for name, help_, measure in _GAUGES:
        value = measure(status)
        if value is not None:
            yield GaugeMetricFamily(f"gitvs_{name}", help_, float(value))


def _info(name: str, help_: str, labels: Mapping[str, str]) -> Metric:
    family = GaugeMetricFamily(f"gitvs_{name}_info", help_, labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family


def _info_metrics(status: AgentStatus) -> Iterator[Metric]:
    yield _info("director", "Which director this is.", {"director": status.director})
    yield _info("source", "Where commits come from.", {"source": status.source.name})
    for name, help_, commit in (
        ("source_commit", "The newest accepted commit.", status.source.head),
        ("desired_commit", "The commit that should be in force.", status.desired_commit),
        ("applied_commit", "The commit that is in force.", status.applied_commit),
    ):
        if commit is not None:
            yield _info(name, help_, {"commit": commit.id})


def _labelled_gauges(status: AgentStatus) -> Iterator[Metric]:
    """Yield the gauges that have one value for each label of a short list."""
    if status.last_pass is not None:
        outcome = str(status.last_pass.outcome or FAILED_OUTCOME)
        outcomes = {word: float(word == outcome) for word in OUTCOMES}
        yield _gauge_by_label(
            "last_pass_result", "Whether the last pass ended so.", "result", outcomes
        )
    gates = () if status.last_pass is None else status.last_pass.gates
    blocking = sorted({gate.name for gate in gates if not gate.is_allowed})
    blocked = {name: float(name in blocking) for name in (*_GATE_NAMES, *blocking)}
    yield _gauge_by_label(
        "gate_blocked", "Whether the gate blocks the desired commit.", "gate", blocked
    )
    operations = status.operations.all
    for noun, help_, moments in (
        ("start", "Since when the first operation of its kind is in force.",
         _earliest((o.kind, o.requested_at) for o in operations)),
        ("expiry", "When the first operation of its kind expires.",
         _earliest((o.kind, o.expires_at) for o in operations)),
    ):  # fmt: skip
        yield _gauge_by_label(f"operation_{noun}_timestamp_seconds", help_, "operation", moments)


def _earliest(moments: Iterable[tuple[str, datetime | None]]) -> dict[str, float]:
    """Return the earliest time for each word."""
    earliest: dict[str, float] = {}
    for word, at in moments:
        if at is not None:
            earliest[word] = min(at.timestamp(), earliest.get(word, at.timestamp()))
    return earliest


def _gauge_by_label(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"gitvs_{name}", help_, labels=(label,))
    for word, value in values.items():
        family.add_metric((str(word),), value)
    return family


def _service_metrics(services: Sequence[ServiceStatus]) -> Iterator[Metric]:
    labelled = [((s.name, s.service.key), s) for s in services]
    for name, help_, count in _TRAFFIC_COUNTERS:
        counter = CounterMetricFamily(
            f"gitvs_virtual_service_{name}", help_, labels=_SERVICE_LABELS
        )
        for labels, service in labelled:
            counter.add_metric(labels, count(service.counters))
        yield counter
    for name, help_, measure in _SERVICE_GAUGES:
        gauge = GaugeMetricFamily(f"gitvs_virtual_service_{name}", help_, labels=_SERVICE_LABELS)
        for labels, service in labelled:
            gauge.add_metric(labels, measure(service))
        yield gauge


def _server_metrics(services: Sequence[ServiceStatus], limit: int) -> Iterator[Metric]:
    """Yield the metrics of the first `limit` real servers, and the number of the others."""
    pairs = ((service, server) for service in services for server in service.servers)
    labelled = [(_server_labels(*pair), pair[1]) for pair in islice(pairs, limit)]
    for name, help_, count in _TRAFFIC_COUNTERS:
        counter = CounterMetricFamily(f"gitvs_real_server_{name}", help_, labels=_SERVER_LABELS)
        for labels, server in labelled:
            counter.add_metric(labels, count(server.counters))
        yield counter
    for name, help_, measure in _SERVER_GAUGES:
        gauge = GaugeMetricFamily(f"gitvs_real_server_{name}", help_, labels=_SERVER_LABELS)
        for labels, server in labelled:
            gauge.add_metric(labels, measure(server))
        yield gauge
    help_ = "Real servers that have no metrics of their own (metrics.real_servers)."
    yield GaugeMetricFamily("gitvs_real_servers_left_out", help_, sum(1 for _ in pairs))


def _server_labels(
    service: ServiceStatus, server_status: ServerStatus
) -> tuple[str, str, str, str]:
    server = server_status.server
    address = host_and_port(server.address, server.port)
    return (service.name, service.service.key, address, server_status.name)
