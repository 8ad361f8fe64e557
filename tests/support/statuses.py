"""Statuses for tests: an ordinary one, one with something of everything, and their commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gitvs.core.model.health import Health, OnFailure
from gitvs.core.model.history import Commit, HistoryEntry, Outcome, Quarantine
from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resources import (
    Key,
    Persistence,
    Protocol,
    RealServer,
    Scheduler,
    VirtualService,
)
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.operations import Operation, OperationKind, Operations
from gitvs.core.planning.repairs import Unrepairable
from gitvs.core.problems import Problem
from gitvs.core.status.agent_status import (
    AgentStatus,
    HookStatus,
    LastPass,
    ServerStatus,
    ServiceStatus,
    SourceStatus,
)
from tests.support.builders import endpoint, firewall_mark, real_server, virtual_service
from tests.support.health.rounds import TCP, Rounds, desired_with, numbered
from tests.support.health.statuses import health_after

VIP6, VLAN = Key("2001:db8::10/128 dev gitvs0"), Key("net.ipv4.conf.vlan5.rp_filter")
NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
DIGEST = "sha256:" + "d" * 64


def earlier(**times: float) -> datetime:
    """Return a moment before now."""
    return NOW - timedelta(**times)


def later(**times: float) -> datetime:
    """Return a moment after now."""
    return NOW + timedelta(**times)


def commit(letter: str = "a", subject: str = "Add web3", minutes: float = 3) -> Commit:
    """Return a commit by Ada."""
    return Commit(letter * 40, "Ada Lovelace <ada@example.org>", subject, earlier(minutes=minutes))


A, B = commit(), commit("b", "Weigh web1 down", 1)


def said(
    kind: OperationKind, why: str = "", until: datetime | None = None, subject: str = ""
) -> Operation:
    """Return what alice said ten minutes ago."""
    return Operation(kind, "alice", why, earlier(minutes=10), until, subject)


def served(server: RealServer, name: str = "", active: int = 0, **known: object) -> ServerStatus:
    """Return a real server with this many active connections, and one inactive for each."""
    status = ServerStatus(
        server,
        name,
        ConnectionCounts(active, active),
        Counters(active, 0, 0, 0, 0, active // 10, active * 150, active * 4200),
    )
    return replace(status, **known)  # type: ignore[arg-type]  # as ServerStatus wants


def service_with(
    service: VirtualService | None = None, servers: Sequence[ServerStatus] = (), name: str = "web"
) -> ServiceStatus:
    """Return a virtual service; by default port 80 of 203.0.113.10 with one real server."""
    found = service or virtual_service()
    return ServiceStatus(
        found,
        name,
        Counters(9, 8, 7, 6, 5, 4, 870, 1234),
        tuple(servers or [served(real_server(), "web1", 3)]),
    )


def in_sync(**known: object) -> AgentStatus:
    """Return the status of a director on which all is well, but for what is given."""
    source = SourceStatus(
        "https://git.example.org/lb.git main",
        A,
        "",
        earlier(seconds=12),
        next_fetch_at=later(seconds=18),
    )
    status = AgentStatus(
        "lb1",
        "0.3.0",
        NOW,
        earlier(days=4),
        source,
        desired_commit=A,
        applied_commit=A,
        applied_at=earlier(minutes=2),
        is_applied=True,
        desired_digest=DIGEST,
        last_pass=LastPass(Outcome.CONVERGED, earlier(seconds=12), 0.0421, A, "poll timer"),
        observed_at=earlier(seconds=2),
        vips=("203.0.113.10/32 dev gitvs0",),
        services=(service_with(),),
    )
    return replace(status, **known)  # type: ignore[arg-type]  # as Status wants


def unknown() -> AgentStatus:
    """Return the status of a director on which nothing was ever done, and no agent runs."""
    return AgentStatus("", "0.3.0", NOW)


def everything() -> AgentStatus:
    """Return a status with something of everything in it."""
    gate = Gate("mass-removal", "9 of 10 VIPs (90 %)", "30 %", "9 of 10 VIPs would leave", False)
    last = LastPass(
        Outcome.BLOCKED,
        earlier(seconds=5),
        1.5,
        B,
        "new commit",
        ("a problem",),
        (gate,),
        ("gone",),
    )
    source = replace(
        in_sync().source,
        head=B,
        signed_by="ada@example.org",
        failure_count=3,
        error="no route to host",
    )
    operations = Operations(
        (
            said(OperationKind.PIN, "502s", later(hours=2), B.id),
            said(OperationKind.DRAIN, "disk errors", subject="web2"),
            said(OperationKind.STANDBY),
        )
    )
    return in_sync(
        source=source,
        desired_commit=B,
        last_pass=last,
        last_change=HistoryEntry(
            512,
            earlier(minutes=2, seconds=1),
            earlier(minutes=2),
            Outcome.APPLIED,
            A,
            {"create": 3, "drain": 1},
            "",
        ),
        drifted_keys=(Key("tcp 203.0.113.10:80"),),
        unrepairable=(
            Unrepairable(VIP6, f"{VIP6}: IPv6 is disabled", earlier(minutes=3), later(seconds=40)),
            Unrepairable(VLAN, f"sysctl {VLAN} does not exist here", earlier(hours=1)),
        ),
        warnings=(
            Problem(f"commit {B.id[:12]}", 3, 1, "", "unknown-gate", '"mass-removals" is no gate'),
        ),
        is_standby=True,
        operations=operations,
        quarantined=(Quarantine("c" * 40, "refused: EINVAL", earlier(hours=5)),),
        services=services(),
        health=health_after(one_dead()),
        hook=HookStatus("127.0.0.1:9713", earlier(minutes=6)),
    )


def one_dead() -> Rounds:
    """Return four checked real servers, of which the last refuses and is removed."""
    rounds = Rounds(desired_with(numbered(4), Health((TCP,), on_failure=OnFailure.REMOVE)))
    rounds.round()
    rounds.round(["10.0.0.4"], count=3)
    return rounds


def services() -> tuple[ServiceStatus, ...]:
    """Return services of every sort."""
    web = virtual_service(persistence=Persistence(300, 24))
    dns = virtual_service(endpoint("2001:db8::53", 53, Protocol.UDP), Scheduler.MH, one_packet=True)
    marked = virtual_service(firewall_mark(77), Scheduler.WRR)
    return (
        service_with(
            web,
            [
                served(real_server(weight=10, upper_threshold=1000), "web1", 120),
                served(
                    real_server(address="10.0.0.2", weight=0),
                    "web2",
                    7,
                    is_drained_by_operator=True,
                ),
                served(
                    real_server(address="10.0.0.3", weight=0), "", 2, remaining_drain_seconds=42.25
                ),
            ],
        ),
        service_with(
            dns, [served(real_server(dns.listener, "::1", 53), "dns1", 1, is_local=True)], "dns"
        ),
        ServiceStatus(marked),
    )
