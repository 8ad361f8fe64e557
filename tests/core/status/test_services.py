"""What one reading of a director says of its virtual services."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from gitvs.core.model.desired import Desired, ManifestLocation
from gitvs.core.model.history import HistoryEntry, Outcome
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.observation import ConnectionCounts, Counters, Link, Observation
from gitvs.core.model.resources import Key, RealServer, Resource
from gitvs.core.model.state import State
from gitvs.core.planning.operations import NO_OPERATIONS, Operation, OperationKind, Operations
from gitvs.core.status.agent_status import LastPass, ServerStatus, ServiceStatus
from gitvs.core.status.services import last_pass_of, service_statuses
from tests.support.builders import endpoint, firewall_mark, real_server, virtual_service

SERVICE = virtual_service()
SERVER = real_server()


def desired(*resources: Resource, names: dict[Key, str] | None = None) -> Desired:
    sources = {SERVICE.key: ManifestLocation("web", "web.yaml", 7)}
    return Desired("lb1", "gitvs0", State(resources), locations=sources, server_names=names or {})


def looked(
    observation: Observation,
    *,
    ledger: Ledger = Ledger(frozenset({SERVICE.key})),
    applied: Desired | None = None,
    operations: Operations = NO_OPERATIONS,
) -> tuple[ServiceStatus, ...]:
    return service_statuses(observation, ledger, applied, operations, boottime_seconds=1000.0)


def only_server(observation: Observation, **known: object) -> ServerStatus:
    ((server,),) = (s.servers for s in looked(observation, **known))  # type: ignore[arg-type]  # as `looked` wants
    return server


def drained(subject: str, service: str = "") -> Operations:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    drain = Operation(OperationKind.DRAIN, "alice", "disk", at, subject=subject, service=service)
    return Operations((drain,))


def test_a_host_without_services_has_none_to_tell_of() -> None:
    assert looked(Observation(State())) == ()


def test_a_foreign_service_is_left_out_with_its_servers() -> None:
    theirs = virtual_service(endpoint("192.0.2.99"))
    state = State([SERVICE, SERVER, theirs, real_server(theirs.listener)])
    assert [s.service for s in looked(Observation(state))] == [SERVICE]


def test_services_and_servers_stand_in_natural_order() -> None:
    services = [
        virtual_service(firewall_mark()),
        virtual_service(endpoint("2001:db8::10")),
        virtual_service(endpoint("203.0.113.10", 443)),
        virtual_service(endpoint("203.0.113.9", 8080)),
        SERVICE,
    ]
    servers = [real_server(address=f"10.0.0.{n}") for n in (10, 9, 100)]
    owned = Ledger(frozenset(s.key for s in services))
    found = looked(Observation(State([*services, *servers])), ledger=owned)
    assert [s.service for s in found] == [services[n] for n in (3, 4, 2, 1, 0)]
    assert [str(s.server.address) for s in found[1].servers] == [
        "10.0.0.9",
        "10.0.0.10",
        "10.0.0.100",
    ]


def test_counts_stand_with_what_they_are_of() -> None:
    counters = {SERVICE.key: Counters(5, 4, 3, 2, 1), SERVER.key: Counters(1, 2, 3, 4, 5)}
    seen = Observation(
        State([SERVICE, SERVER]), {SERVER.key: ConnectionCounts(3, 4, 5)}, counters=counters
    )
    ((service,), server) = (looked(seen), only_server(seen))
    assert service.counters == Counters(5, 4, 3, 2, 1)
    assert server.connections == ConnectionCounts(3, 4, 5)
    assert server.counters == Counters(1, 2, 3, 4, 5)


def test_what_the_kernel_does_not_count_is_zero() -> None:
    server = only_server(Observation(State([SERVICE, SERVER])))
    assert (server.connections, server.counters) == (ConnectionCounts(), Counters())


def test_names_are_those_of_the_applied_manifests() -> None:
    applied = desired(SERVICE, SERVER, names={SERVER.key: "web1"})
    ((service,),) = (looked(Observation(State([SERVICE, SERVER])), applied=applied),)
    assert (service.name, service.servers[0].name) == ("web", "web1")


def test_a_service_that_left_the_manifests_has_no_name() -> None:
    (service,) = looked(Observation(State([SERVICE, SERVER])))
    assert (service.name, service.servers[0].name) == ("", "")


def test_a_draining_server_says_how_long_it_may_still() -> None:
    seen = Observation(State([SERVICE, replace(SERVER, weight=0)]))
    for deadline, left in ((1042.0, 42.0), (990.0, 0.0)):
        drains = {SERVER.key: Drain(SERVER.key, 60, deadline)}
        ledger = Ledger(frozenset({SERVICE.key}), drains)
        assert only_server(seen, ledger=ledger).remaining_drain_seconds == left


def test_weight_0_alone_is_no_drain() -> None:
    server = only_server(Observation(State([SERVICE, replace(SERVER, weight=0)])))
    assert server.remaining_drain_seconds is None
    assert not server.is_drained_by_operator


def test_a_server_that_an_operator_drained_says_so() -> None:
    seen = Observation(State([SERVICE, replace(SERVER, weight=0)]))
    applied = desired(SERVICE, SERVER, names={SERVER.key: "web1"})
    for subject in ("10.0.0.1", "10.0.0.1:8080", "web1"):
        operations = drained(subject)
        assert only_server(seen, applied=applied, operations=operations).is_drained_by_operator
    for operations in (drained("10.0.0.2"), drained("10.0.0.1", "other"), NO_OPERATIONS):
        assert not only_server(seen, applied=applied, operations=operations).is_drained_by_operator


def test_a_server_on_the_director_itself_is_local() -> None:
    here = Link("eth0", "", "", True, (ip_address("10.0.0.1"),))
    seen = Observation(State([SERVICE, SERVER]), links={"eth0": here})
    assert only_server(seen).is_local
    assert not only_server(Observation(State([SERVICE, SERVER]))).is_local
    assert only_server(Observation(State([SERVICE, loopback()]))).is_local


def test_where_no_agent_remembers_the_history_tells_of_the_last_pass() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    entry = HistoryEntry(7, at, at + timedelta(seconds=2), Outcome.ROLLED_BACK, None, {}, "EINVAL")
    last = last_pass_of(entry)
    assert (last.outcome, last.at, last.duration_seconds) == (entry.outcome, entry.finished_at, 2)
    assert last.failures == ("EINVAL",)
    assert last_pass_of(
        replace(entry, message="", finished_at=at - timedelta(hours=1))
    ) == LastPass(Outcome.ROLLED_BACK, at - timedelta(hours=1), 0, None, "")


def loopback() -> RealServer:
    return real_server(address="127.0.0.1")
