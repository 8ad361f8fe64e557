"""Metrics over real HTTP: every value is that of a status, or of what was counted."""

from __future__ import annotations

import errno
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from gitvs import __version__
from gitvs.adapters.service import http_server
from gitvs.adapters.service.http_server import MAX_CONNECTIONS
from gitvs.adapters.service.metrics_server import Metrics
from gitvs.adapters.service.push_hook import HookResult
from gitvs.core.errors import CannotListen
from gitvs.core.health.check_states import Standing
from gitvs.core.health.messages import Heartbeat
from gitvs.core.model.history import Commit, Outcome, Quarantine
from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resources import Key
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.operations import Operation, OperationKind, Operations
from gitvs.core.planning.repairs import Unrepairable
from gitvs.core.settings import MetricsSettings
from gitvs.core.status.agent_status import (
    AgentStatus,
    LastPass,
    ServerStatus,
    ServiceStatus,
    SourceStatus,
)
from gitvs.core.status.health import CheckerStatus
from tests.harness.promtool import promtool
from tests.support.agents import eventually
from tests.support.builders import WEB, WEB6, real_server, virtual_service
from tests.support.health.statuses import health_after
from tests.support.statuses import one_dead
from tests.support.work import work_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=1)
LATER = NOW + timedelta(hours=2)
OLD, NEW = Commit("a" * 40), Commit("b" * 40)

WEB_SERVERS = (
    ServerStatus(
        real_server(weight=10), "web1", ConnectionCounts(7, 5, 1), Counters(100, 200, 300, 400, 500)
    ),
    ServerStatus(
        real_server(address="10.0.0.2", weight=0),
        "",
        ConnectionCounts(2, 1, 0),
        Counters(1, 2, 3, 4, 5),
        remaining_drain_seconds=30.0,
    ),
)
SERVICES = (
    ServiceStatus(virtual_service(), "web", Counters(101, 202, 303, 404, 505), WEB_SERVERS),
    ServiceStatus(virtual_service(WEB6), "web", Counters(), (ServerStatus(real_server(WEB6)),)),
)
BARE = AgentStatus("lb1", __version__, NOW)
FULL = replace(
    BARE,
    source=SourceStatus("git.example.org/lb main", NEW, last_answer_at=EARLIER, failure_count=3),
    desired_commit=NEW,
    applied_commit=OLD,
    applied_at=EARLIER,
    is_applied=True,
    last_pass=LastPass(
        Outcome.BLOCKED,
        NOW,
        0.25,
        NEW,
        "poll timer",
        gates=(
            Gate("mass-removal", "5 of 10", "30 %", "5 of 10 would leave", is_allowed=False),
            Gate("capacity-drop", "80 %", "50 %", "lifted", is_allowed=True),
        ),
    ),
    observed_at=NOW,
    drifted_keys=(Key("tcp 203.0.113.10:80"), Key("203.0.113.10/32 dev gitvs0")),
    unrepairable=(Unrepairable(Key("203.0.113.10/32 dev gitvs0"), "refused"),),
    vips=("203.0.113.10/32 dev gitvs0",),
    is_standby=True,
    operations=Operations(
        (
            Operation(OperationKind.PAUSE, "ann", "work", EARLIER, LATER),
            Operation(OperationKind.PIN, "ann", "back", NOW, LATER, "a" * 40),
            Operation(OperationKind.DRAIN, "ann", "disk", NOW, None, "10.0.0.2"),
            Operation(OperationKind.DRAIN, "bob", "fan", EARLIER, NOW, "10.0.0.3"),
        )
    ),
    quarantined=(Quarantine("c" * 40, "refused", NOW),),
    services=SERVICES,
    is_transaction_open=True,
    foreign_objects=("tcp 198.51.100.1:80",),
)
HEARTBEAT = Heartbeat(
    4, 1, 0.25, {"tcp": {"pass": 7, "refused": 2, "void": 1}}, {"tcp": 0.5}, ("a",)
)
CHECKED = replace(
    FULL,
    health=replace(
        health_after(one_dead(), checker=CheckerStatus(0.5, 2, HEARTBEAT), is_frozen=True),
        change_counts={(WEB.key, Standing.DOWN): 3, (WEB.key, Standing.UP): 1},
    ),
)

Samples = Mapping[str, float]


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    with served("127.0.0.1:0") as metrics:
        yield metrics


@contextmanager
def served(listen: str, real_servers: int = 1000) -> Iterator[Metrics]:
    metrics = Metrics(MetricsSettings(listen, real_servers))
    metrics.start()
    try:
        yield metrics
    finally:
        metrics.stop()


def fetch(metrics: Metrics, accept: str = "text/plain") -> str:
    """Return what one scrape gets."""
    request = urllib.request.Request(
        f"http://{metrics.address}/metrics", headers={"Accept": accept}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def scrape(metrics: Metrics) -> Samples:
    """Return every sample by its name and labels."""
    return {
        sample.name + "".join(f" {k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in plain(fetch(metrics))
        for sample in family.samples
    }


def many_services(count: int) -> tuple[ServiceStatus, ...]:
    """Return so many virtual services of five real servers each."""
    listeners = (replace(WEB6, address=ip_address(2**120 + number)) for number in range(count))
    return tuple(
        replace(SERVICES[0], service=virtual_service(listener), servers=(WEB_SERVERS[0],) * 5)
        for listener in listeners
    )


def gitvs_names(samples: Samples) -> set[str]:
    return {name.split()[0] for name in samples if name.startswith("gitvs_")}


def fill(metrics: Metrics) -> None:
    """Let everything happen that is counted."""
    metrics.publish(lambda: CHECKED)
    metrics.count_pass(Outcome.APPLIED, {"load": 0.02, "apply": 0.3})
    metrics.count_changes({("real-server", "update"): 2})
    metrics.count_drift(2, 1)
    metrics.count_failure("source")
    metrics.count_transaction_found_open()
    metrics.count_hook_request(HookResult.ACCEPTED)


def test_the_last_status_is_what_is_shown(metrics: Metrics) -> None:
    metrics.publish(lambda: BARE)
    metrics.publish(lambda: FULL)
    found = scrape(metrics)
    expected = {
        f"gitvs_build_info version={__version__}": 1,
        "gitvs_director_info director=lb1": 1,
        "gitvs_status_timestamp_seconds": NOW.timestamp(),
        "gitvs_source_info source=git.example.org/lb main": 1,
        "gitvs_source_up": 0,
        "gitvs_source_answered_timestamp_seconds": EARLIER.timestamp(),
        "gitvs_source_consecutive_failures": 3,
        f"gitvs_source_commit_info commit={NEW.id}": 1,
        f"gitvs_desired_commit_info commit={NEW.id}": 1,
        f"gitvs_applied_commit_info commit={OLD.id}": 1,
        "gitvs_up_to_date": 0,
        "gitvs_applied_timestamp_seconds": EARLIER.timestamp(),
        "gitvs_last_pass_timestamp_seconds": NOW.timestamp(),
        "gitvs_last_pass_duration_seconds": 0.25,
        "gitvs_last_pass_result result=blocked": 1,
        "gitvs_last_pass_result result=applied": 0,
        "gitvs_last_pass_result result=failed": 0,
        "gitvs_gate_blocked gate=mass-removal": 1,
        "gitvs_gate_blocked gate=capacity-drop": 0,
        "gitvs_gate_blocked gate=conflict": 0,
        "gitvs_last_observation_timestamp_seconds": NOW.timestamp(),
        "gitvs_drift_objects": 2,
        "gitvs_unrepairable_objects": 1,
        "gitvs_drains_in_progress": 1,
        "gitvs_drain_deadline_timestamp_seconds": NOW.timestamp() + 30,
        "gitvs_drains_by_hand": 2,
        "gitvs_paused": 1,
        "gitvs_pinned": 1,
        "gitvs_standby": 1,
        "gitvs_operation_start_timestamp_seconds operation=drain": EARLIER.timestamp(),
        "gitvs_operation_start_timestamp_seconds operation=pause": EARLIER.timestamp(),
        "gitvs_operation_start_timestamp_seconds operation=pin": NOW.timestamp(),
        "gitvs_operation_expiry_timestamp_seconds operation=drain": NOW.timestamp(),
        "gitvs_operation_expiry_timestamp_seconds operation=pause": LATER.timestamp(),
        "gitvs_operation_expiry_timestamp_seconds operation=pin": LATER.timestamp(),
        "gitvs_quarantined_commits": 1,
        "gitvs_transaction_open": 1,
        "gitvs_foreign_objects": 1,
        "gitvs_vips": 1,
        "gitvs_virtual_services": 2,
        "gitvs_real_servers": 3,
        "gitvs_real_servers_left_out": 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    traffic = {
        n for n in gitvs_names(found) if n.startswith(("gitvs_virtual", "gitvs_real_server_"))
    }
    counted = {n for n in gitvs_names(found) if n.endswith("_total")}
    told = {name.split()[0] for name in expected}
    assert gitvs_names(found) - told - traffic - counted == set()


def test_each_virtual_service_shows_what_it_counted_and_its_servers_together(
    metrics: Metrics,
) -> None:
    metrics.publish(lambda: FULL)
    labels = " service=web virtual_service=tcp 203.0.113.10:80"
    assert of(scrape(metrics), "gitvs_virtual_service_", labels) == {
        "connections_total": 101,
        "incoming_packets_total": 202,
        "outgoing_packets_total": 303,
        "incoming_bytes_total": 404,
        "outgoing_bytes_total": 505,
        "active_connections": 9,
        "inactive_connections": 6,
        "weight": 10,
        "real_servers": 2,
        "active_real_servers": 1,
    }
    labels = " service=web virtual_service=tcp [2001:db8::10]:80"
    assert of(scrape(metrics), "gitvs_virtual_service_", labels)["active_real_servers"] == 1


def test_each_real_server_shows_what_it_counted_and_has(metrics: Metrics) -> None:
    metrics.publish(lambda: FULL)
    labels = " name=web1 real_server=10.0.0.1:8080 service=web virtual_service=tcp 203.0.113.10:80"
    assert of(scrape(metrics), "gitvs_real_server_", labels) == {
        "connections_total": 100,
        "incoming_packets_total": 200,
        "outgoing_packets_total": 300,
        "incoming_bytes_total": 400,
        "outgoing_bytes_total": 500,
        "active_connections": 7,
        "inactive_connections": 5,
        "weight": 10,
    }


def of(samples: Samples, prefix: str, labels: str) -> Samples:
    """Return the samples with a prefix and exactly these labels, without both."""
    return {
        name.removeprefix(prefix).removesuffix(labels): value
        for name, value in samples.items()
        if name.startswith(prefix) and name.endswith(labels)
    }


def test_real_servers_beyond_the_limit_are_only_counted() -> None:
    with served("127.0.0.1:0", 2) as metrics:
        metrics.publish(lambda: FULL)
        found = scrape(metrics)
        weights = [name for name in found if name.startswith("gitvs_real_server_weight")]
        assert len(weights) == 2
        assert found["gitvs_real_servers_left_out"] == 1
        assert found["gitvs_real_servers"] == 3
        assert (
            "gitvs_virtual_service_weight service=web virtual_service=tcp [2001:db8::10]:80"
            in found
        )


def test_what_is_not_known_is_left_out(metrics: Metrics) -> None:
    assert f"gitvs_build_info version={__version__}" in scrape(metrics)
    assert "gitvs_paused" not in scrape(metrics)
    metrics.publish(lambda: BARE)
    found = gitvs_names(scrape(metrics))
    assert "gitvs_paused" in found
    unknown = {
        "gitvs_source_up",
        "gitvs_source_answered_timestamp_seconds",
        "gitvs_source_commit_info",
        "gitvs_applied_commit_info",
        "gitvs_applied_timestamp_seconds",
        "gitvs_last_pass_timestamp_seconds",
        "gitvs_last_pass_result",
        "gitvs_last_observation_timestamp_seconds",
        "gitvs_drain_deadline_timestamp_seconds",
        "gitvs_operation_expiry_timestamp_seconds",
        "gitvs_last_success_timestamp_seconds",
        "gitvs_last_failure_timestamp_seconds",
    }
    assert found & unknown == set()


@pytest.mark.parametrize(
    ("status", "value"),
    [
        (BARE, 0),
        (replace(BARE, is_applied=True), 1),  # a folder of manifests
        (replace(BARE, is_applied=True, applied_commit=OLD), None),
        (replace(BARE, is_applied=True, applied_commit=OLD, desired_commit=OLD), 1),
        (replace(BARE, is_applied=True, applied_commit=OLD, desired_commit=NEW), 0),
        (replace(BARE, desired_commit=NEW), 0),
    ],
)
def test_a_director_is_up_to_date_if_the_desired_commit_is_applied(
    metrics: Metrics, status: AgentStatus, value: float | None
) -> None:
    metrics.publish(lambda: status)
    assert scrape(metrics).get("gitvs_up_to_date") == value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (SourceStatus("x"), None),
        (SourceStatus("x", failure_count=1), 0),
        (SourceStatus("x", last_answer_at=NOW), 1),
        (SourceStatus("x", last_answer_at=NOW, failure_count=2), 0),
    ],
)
def test_a_source_is_up_if_it_answered_when_last_asked(
    metrics: Metrics, source: SourceStatus, value: float | None
) -> None:
    metrics.publish(lambda: replace(BARE, source=source))
    assert scrape(metrics).get("gitvs_source_up") == value


def test_a_pass_that_could_do_nothing_failed(metrics: Metrics) -> None:
    metrics.publish(lambda: replace(BARE, last_pass=LastPass(None, NOW, 0.1, None, "start")))
    assert scrape(metrics)["gitvs_last_pass_result result=failed"] == 1


def test_what_happens_is_counted(metrics: Metrics) -> None:
    before = scrape(metrics)
    zero = {
        name: value for name, value in before.items() if name.startswith("gitvs_") and not value
    }
    assert {n.split()[0] for n in zero} == {
        "gitvs_passes_total",
        "gitvs_failures_total",
        "gitvs_drift_found_total",
        "gitvs_drift_repaired_total",
        "gitvs_transactions_found_open_total",
        "gitvs_hook_requests_total",
    }
    started = time.time()
    for _ in range(2):
        fill(metrics)
    metrics.count_pass("failed", {})
    metrics.count_pass("stuck", {"apply": 100.0})
    found = scrape(metrics)
    expected = {
        "gitvs_passes_total result=applied": 2,
        "gitvs_passes_total result=stuck": 1,
        "gitvs_passes_total result=failed": 1,
        "gitvs_passes_total result=converged": 0,
        "gitvs_pass_stage_duration_seconds_count stage=load": 2,
        "gitvs_pass_stage_duration_seconds_sum stage=load": 0.04,
        "gitvs_pass_stage_duration_seconds_bucket le=0.01 stage=load": 0,
        "gitvs_pass_stage_duration_seconds_bucket le=0.05 stage=load": 2,
        "gitvs_pass_stage_duration_seconds_bucket le=60.0 stage=apply": 2,
        "gitvs_pass_stage_duration_seconds_bucket le=+Inf stage=apply": 3,
        "gitvs_kernel_operations_total action=update kind=real-server": 4,
        "gitvs_drift_found_total": 4,
        "gitvs_drift_repaired_total": 2,
        "gitvs_failures_total kind=source": 2,
        "gitvs_failures_total kind=kernel": 0,
        "gitvs_transactions_found_open_total": 2,
        "gitvs_hook_requests_total result=accepted": 2,
        "gitvs_hook_requests_total result=wrong-signature": 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    for name in (
        "success_timestamp_seconds result=applied",
        "failure_timestamp_seconds kind=source",
    ):
        assert started <= found[f"gitvs_last_{name}"] <= time.time()
    assert not [name for name in found if name.startswith("gitvs_last_success") and "stuck" in name]
    assert not [name for name in found if "_created" in name]


def test_the_process_is_measured_too(metrics: Metrics) -> None:
    found = scrape(metrics)
    assert found["process_resident_memory_bytes"] > 2**20
    assert found["process_open_fds"] > 2


def test_the_conventions_of_prometheus_are_kept(metrics: Metrics) -> None:
    fill(metrics)
    assert promtool("check", "metrics", text=fetch(metrics)) == ""


def test_a_prometheus_that_asks_for_openmetrics_gets_the_same(metrics: Metrics) -> None:
    fill(metrics)
    text = fetch(metrics, "application/openmetrics-text; version=1.0.0")
    names = {s.name for family in openmetrics(text) for s in family.samples}
    assert {n for n in names if n.startswith("gitvs_")} == gitvs_names(scrape(metrics))


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
def test_only_the_given_address_is_listened_on(listen: str) -> None:
    with served(listen) as metrics:
        host, _, port = metrics.address.rpartition(":")
        assert host == listen.rpartition(":")[0]
        lines = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
        assert [line.split()[3] for line in lines.splitlines() if f":{port} " in line] == [
            metrics.address
        ]
        assert "gitvs_build_info" in fetch(metrics)


def test_metrics_are_switched_off_by_an_empty_address() -> None:
    with served("") as metrics:
        fill(metrics)
        assert metrics.address == ""


def test_an_address_that_is_taken_is_named_with_the_reason(metrics: Metrics) -> None:
    second = Metrics(MetricsSettings(metrics.address))
    with pytest.raises(CannotListen) as refusal:
        second.start()
    assert str(refusal.value) == (
        f"metrics.listen: cannot listen on {metrics.address}: Address already in use (EADDRINUSE);"
        ' choose another address or another port from 1024 on, or "" for none'
    )
    second.stop()


def test_after_a_stop_nobody_answers_and_the_address_is_free() -> None:
    with served("127.0.0.1:0") as metrics:
        address = metrics.address
    assert metrics.address == ""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) == errno.ECONNREFUSED
    with served(address) as metrics:
        assert metrics.address == address


def connected(metrics: Metrics, request: bytes = b"") -> socket.socket:
    """A client that sent something, and reads nothing."""
    host, _, port = metrics.address.rpartition(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    client.connect((host, int(port)))
    client.sendall(request)
    return client


def has_ended(client: socket.socket) -> bool:
    """Whether the server has closed a connection; wait until it has."""
    with suppress(ConnectionResetError):
        while client.recv(1 << 16):
            pass
    return True


@pytest.mark.parametrize("request_part", [b"", b"GET /metr", b"GET /metrics HTTP/1.0\r\nHost: a"])
def test_clients_that_say_nothing_or_half_a_request_keep_nobody_from_scraping(
    metrics: Metrics, request_part: bytes
) -> None:
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connected(metrics, request_part))
            for _ in range(3 * MAX_CONNECTIONS)
        ]
        for _ in range(3):
            assert "gitvs_build_info" in fetch(metrics)
        eventually(lambda: len(request_threads()) <= MAX_CONNECTIONS)
        for client in clients[:MAX_CONNECTIONS]:
            assert has_ended(client), "the oldest make room"


def test_a_request_has_one_deadline_however_it_drips(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.3)
    with connected(metrics, b"GET /metrics HTTP/1.0\r\n") as dripping:
        while not select.select([dripping], [], [], 0.05)[0]:
            dripping.sendall(b"X")
        assert has_ended(dripping)
    wait_for_no_requests()


def test_clients_that_do_not_read_their_answers_are_cut_off(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, large = threading.Semaphore(0), replace(FULL, services=many_services(2000))

    def get_status() -> AgentStatus:
        asked.release()
        return large

    metrics.publish(get_status)
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 1.0)
    with ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            stack.enter_context(connected(metrics, b"GET /metrics HTTP/1.0\r\n\r\n"))
        asked.acquire()
        wait_for_no_requests()
        monkeypatch.setattr(http_server, "REQUEST_SECONDS", 60.0)
        assert "gitvs_build_info" in fetch(metrics)


def test_more_requests_at_a_time_than_are_answered_are_turned_away(metrics: Metrics) -> None:
    asked, done = threading.Semaphore(0), threading.Event()

    def get_status() -> AgentStatus:
        asked.release()
        done.wait()
        return FULL

    metrics.publish(get_status)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connected(metrics, b"GET /metrics HTTP/1.0\r\n\r\n"))
            for _ in range(MAX_CONNECTIONS)
        ]
        for _ in range(MAX_CONNECTIONS):
            asked.acquire()
        with connected(metrics) as one_too_many:
            assert has_ended(one_too_many)
        done.set()
        for client in clients:
            assert client.recv(15) == b"HTTP/1.0 200 OK", "whoever asked in time is answered"
    wait_for_no_requests()
    assert "gitvs_build_info" in fetch(metrics)


def test_a_server_that_stops_leaves_no_connection_behind() -> None:
    with served("127.0.0.1:0") as metrics:
        client = connected(metrics)
        while not request_threads():
            time.sleep(0.01)
    with client:
        assert has_ended(client)
    wait_for_no_requests()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_whose_thread_died_is_started_again(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    listener = metrics._listener
    assert listener is not None
    listener._server.service_actions = sys.exit  # type: ignore[method-assign]
    eventually(lambda: not listener.is_alive())
    metrics.restart_if_dead()
    assert "gitvs_build_info" in fetch(metrics)
    metrics.restart_if_dead()
    assert [r.getMessage() for r in caplog.records] == [
        "metrics server ended unexpectedly, started again"
    ]


def request_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if "process_request" in t.name]


def wait_for_no_requests() -> None:
    while request_threads():
        time.sleep(0.01)


def test_a_client_that_goes_away_leaves_no_trace(
    metrics: Metrics, capfd: pytest.CaptureFixture[str]
) -> None:
    metrics.publish(lambda: replace(FULL, services=many_services(5000)))
    host, _, port = metrics.address.rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for_no_requests()
    assert capfd.readouterr() == ("", "")


def test_a_scrape_works_in_proportion_to_the_services_and_a_bounded_number_of_servers() -> None:
    """Prometheus gives up after ten seconds."""
    with served("", real_servers=50) as metrics:
        texts: list[str] = []
        works = [work_of(lambda n=n: texts.append(text_of(metrics, n))) for n in (200, 400, 600)]
        first, second, third = (work.total for work in works)
    assert third - second <= 1.1 * (second - first)
    assert texts[-1].count("gitvs_virtual_service_weight{") == 600
    assert texts[-1].count("gitvs_real_server_weight{") == 50


def text_of(metrics: Metrics, service_count: int) -> str:
    """Return what a scrape of so many services gets, in this thread."""
    status = replace(FULL, services=many_services(service_count))
    metrics.publish(lambda: status)
    return generate_latest(metrics._registry).decode()
