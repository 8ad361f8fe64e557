"""The last `Status` of a director as Prometheus metrics.

What is not known yet is left out, never 0. Counters begin anew with their object in the
kernel, as counters may. Serving them is the business of `metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gitvs import __version__
from gitvs.core.model.history import Result
from gitvs.core.model.observation import Counters
from gitvs.core.model.resources import host_and_port
from gitvs.core.planning.gates import LIFTABLE
from gitvs.core.status.agent_status import ServerStatus, ServiceStatus, Status

FAILED = "failed"
"""The result of a pass that could do nothing at all."""
RESULTS = (*map(str, Result), FAILED)

_GATES = (*LIFTABLE, "conflict", "unsupported")

_Value = float | None
_Gauge = tuple[str, str, Callable[[Status], _Value]]


def _time(at: datetime | None) -> _Value:
    return None if at is None else at.timestamp()


def _is_up(status: Status) -> _Value:
    source = status.source
    return None if source.answered_at is None and not source.failures else not source.failures


def _is_up_to_date(status: Status) -> _Value:
    desired, applied = status.desired, status.applied
    if desired is None:  # a folder has no commits; otherwise it is not known yet
        return status.is_applied if applied is None else None
    return applied is not None and applied.id == desired.id


def _drains(status: Status) -> list[float]:
    """Return how long each drain in progress may still take."""
    servers = (server for service in status.services for server in service.servers)
    return [s.draining_seconds for s in servers if s.draining_seconds is not None]


def _first_deadline(status: Status) -> _Value:
    drains = _drains(status)
    return status.at.timestamp() + min(drains) if drains else None


_GAUGES: Sequence[_Gauge] = (
    ("status_timestamp_seconds",
     "When the agent last said how things are; most metrics are of that moment.",
     lambda s: _time(s.at)),
    ("source_up",
     "Whether the source answered when it was last asked.",
     _is_up),
    ("source_answered_timestamp_seconds",
     "When the source last answered.",
     lambda s: _time(s.source.answered_at)),
    ("source_consecutive_failures",
     "How often in a row the source has not answered.",
     lambda s: s.source.failures),
    ("up_to_date",
     "Whether the desired commit is the applied one.",
     _is_up_to_date),
    ("applied_timestamp_seconds",
     "When the applied state was applied.",
     lambda s: _time(s.applied_at)),
    ("last_pass_timestamp_seconds",
     "When the last pass ended.",
     lambda s: None if s.last is None else _time(s.last.at)),
    ("last_pass_duration_seconds",
     "How long the last pass took.",
     lambda s: None if s.last is None else s.last.duration_seconds),
    ("last_observation_timestamp_seconds",
     "When the kernel was last read as a whole.",
     lambda s: _time(s.observed_at)),
    ("drift_objects",
     "Objects that the last pass found changed behind gitvs's back.",
     lambda s: len(s.drift)),
    ("drains_in_progress",
     "Real servers that drain because of a change in Git.",
     lambda s: len(_drains(s))),
    ("drain_deadline_timestamp_seconds",
     "When the first of the drains is to end at the latest.",
     _first_deadline),
    ("drains_by_hand",
     "Drains by hand that are in force.",
     lambda s: len(s.operations.drains)),
    ("paused",
     "Whether an operator keeps new commits and the repair of drift away.",
     lambda s: s.operations.pause is not None),
    ("pinned",
     "Whether an operator holds one commit, whatever the branch says.",
     lambda s: s.operations.pin is not None),
    ("standby",
     "Whether Git or an operator keeps VIPs and local routes away.",
     lambda s: s.is_standby),
    ("quarantined_commits",
     "Commits that failed and are not tried again.",
     lambda s: len(s.quarantined)),
    ("transaction_open",
     "Whether a transaction is neither applied nor undone.",
     lambda s: s.is_transaction_open),
    ("foreign_objects",
     "Objects of others that gitvs leaves alone.",
     lambda s: len(s.foreign)),
    ("vips",
     "Owned VIPs and local routes that are there.",
     lambda s: len(s.vips)),
    ("virtual_services",
     "Owned virtual services that are there.",
     lambda s: len(s.services)),
    ("real_servers",
     "Owned real servers that are there, counted once for each virtual service.",
     lambda s: sum(len(service.servers) for service in s.services)),
)  # fmt: skip

_COUNTS: Sequence[tuple[str, str, Callable[[Counters], int]]] = (
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
    """The newest status as metrics, of no more than `real_servers` real servers.

    Whoever has a newer status assigns it; a scrape in another thread goes on with its own.
    """

    def __init__(self, real_servers: int) -> None:
        self.status: Callable[[], Status] | None = None
        self._real_servers = real_servers

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield _info("build", "The version of gitvs that runs.", {"version": __version__})
        if self.status is None:
            return
        status = self.status()
        yield from _simple(status)
        yield from _named(status)
        yield from _by_word(status)
        yield from _services(status.services)
        yield from _servers(status.services, self._real_servers)


def _simple(status: Status) -> Iterator[Metric]:
    for name, help_, measure in _GAUGES:
        value = measure(status)
        if value is not None:
            yield GaugeMetricFamily(f"gitvs_{name}", help_, float(value))


def _info(name: str, help_: str, labels: Mapping[str, str]) -> Metric:
    family = GaugeMetricFamily(f"gitvs_{name}_info", help_, labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family


def _named(status: Status) -> Iterator[Metric]:
    yield _info("director", "Which director this is.", {"director": status.director})
    yield _info("source", "Where commits come from.", {"source": status.source.name})
    for name, help_, commit in (
        ("source_commit", "The newest accepted commit.", status.source.head),
        ("desired_commit", "The commit that is to be in force.", status.desired),
        ("applied_commit", "The commit that is in force.", status.applied),
    ):
        if commit is not None:
            yield _info(name, help_, {"commit": commit.id})


def _by_word(status: Status) -> Iterator[Metric]:
    """Yield what has one value for each word of a short list."""
    if status.last is not None:
        result = str(status.last.result or FAILED)
        results = {word: float(word == result) for word in RESULTS}
        yield _words("last_pass_result", "Whether the last pass ended so.", "result", results)
    gates = () if status.last is None else status.last.gates
    blocking = sorted({gate.name for gate in gates if not gate.allowed})
    blocked = {name: float(name in blocking) for name in (*_GATES, *blocking)}
    yield _words("gate_blocked", "Whether the gate blocks the desired commit.", "gate", blocked)
    operations = status.operations.all
    for noun, help_, moments in (
        ("start", "Since when the first operation of its kind is in force.",
         _first((o.kind, o.at) for o in operations)),
        ("expiry", "When the first operation of its kind expires.",
         _first((o.kind, o.until) for o in operations)),
    ):  # fmt: skip
        yield _words(f"operation_{noun}_timestamp_seconds", help_, "operation", moments)


def _first(moments: Iterable[tuple[str, datetime | None]]) -> dict[str, float]:
    """Return the earliest moment by word."""
    first: dict[str, float] = {}
    for word, at in moments:
        if at is not None:
            first[word] = min(at.timestamp(), first.get(word, at.timestamp()))
    return first


def _words(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"gitvs_{name}", help_, labels=(label,))
    for word, value in values.items():
        family.add_metric((str(word),), value)
    return family


def _services(services: Sequence[ServiceStatus]) -> Iterator[Metric]:
    labelled = [((s.name, s.service.key), s) for s in services]
    for name, help_, count in _COUNTS:
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


def _servers(services: Sequence[ServiceStatus], limit: int) -> Iterator[Metric]:
    """Yield the metrics of the first `limit` real servers, and how many there are beyond."""
    every = ((service, server) for service in services for server in service.servers)
    labelled = [(_server_labels(*pair), pair[1]) for pair in islice(every, limit)]
    for name, help_, count in _COUNTS:
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
    yield GaugeMetricFamily("gitvs_real_servers_left_out", help_, sum(1 for _ in every))


def _server_labels(service: ServiceStatus, status: ServerStatus) -> tuple[str, str, str, str]:
    server = status.server
    where = host_and_port(server.address, server.port)
    return (service.name, service.service.key, where, status.name)
