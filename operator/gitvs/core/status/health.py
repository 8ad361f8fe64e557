"""What is known of the health of a director's real servers, for the status and the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from gitvs.core.health.check_states import CheckState, Standing
from gitvs.core.health.judgement import Limits, Quorum, Reason
from gitvs.core.health.messages import Heartbeat
from gitvs.core.health.tracked_service import TrackedService
from gitvs.core.health.verdicts import ServerVerdict, TimedCheck
from gitvs.core.model.health import Failure
from gitvs.core.model.resources import Key, RealServer


@dataclass(frozen=True, slots=True)
class CheckStatus:
    """One check of one real server. `in_a_row` counts the newest equal results."""

    words: str
    standing: Standing
    is_on_trial: bool
    in_a_row: int
    failure: Failure | None
    text: str
    latency_seconds: float


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """One checked real server. `reason` is None if nobody asks: its weight is 0 anyhow.

    `failure` and `text` say why it is down. `age_seconds` is how long it has been so.
    """

    server: RealServer
    standing: Standing
    reason: Reason | None
    serves: bool
    age_seconds: float
    failure: Failure | None
    text: str
    checks: tuple[CheckStatus, ...]


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """One virtual service with checks. `up_percent` is of the counted weight; None without any."""

    servers: tuple[ServerHealth, ...]
    limits: Limits
    is_quorum_lost: bool
    up_percent: float | None
    on_trial: tuple[str, ...]
    """The checks that nobody has passed yet: their failures count nowhere."""

    def count(self, *reasons: Reason) -> int:
        """Return how many real servers serve, or do not, for one of these reasons."""
        return sum(server.reason in reasons for server in self.servers)

    @property
    def is_troubled(self) -> bool:
        """Whether somebody should look at it."""
        return self.is_quorum_lost or self.count(*TROUBLE_REASONS) > 0 or bool(self.on_trial)


TROUBLE_REASONS = (Reason.DOWN, Reason.KEPT, Reason.FROZEN, Reason.LAST)


@dataclass(frozen=True, slots=True)
class CheckerStatus:
    """The process that runs the checks."""

    silence_seconds: float
    restart_count: int
    heartbeat: Heartbeat

    @property
    def is_answering(self) -> bool:
        return self.silence_seconds < MAX_SILENCE_SECONDS


MAX_SILENCE_SECONDS = 15.0
"""After how long without a sign of life the process is said not to answer."""


@dataclass(frozen=True)
class HealthStatus:
    """The health of a director at one moment, which is a time of CLOCK_BOOTTIME in seconds.

    `checker` is None if no process has to run. `is_frozen`: nearly everything fails at once, so
    this host's own network is the likely cause, and nothing is taken out.
    """

    tracked: Mapping[Key, TrackedService] = field(default_factory=dict)
    boottime_seconds: float = 0.0
    is_frozen: bool = False
    checker: CheckerStatus | None = None
    change_counts: Mapping[tuple[Key, Standing], int] = field(default_factory=dict)
    """How often real servers of a virtual service came to a standing, since the agent started."""

    @cached_property
    def services(self) -> Mapping[Key, ServiceHealth]:
        """By the keys of virtual services; computed on demand, since there may be thousands."""
        now = self.boottime_seconds
        return {key: service_health(tracked, now) for key, tracked in self.tracked.items()}


NO_HEALTH_STATUS = HealthStatus()


def service_health(tracked: TrackedService, now_seconds: float) -> ServiceHealth:
    """Return what is known of one virtual service."""
    judgement, verdicts = tracked.judgement, tracked.verdicts
    servers = []
    for key, server in sorted(tracked.facts.servers.items()):
        verdict = verdicts.servers[key]
        servers.append(
            ServerHealth(
                server,
                verdict.standing,
                judgement.reasons.get(key),
                key in judgement.serving,
                max(0.0, now_seconds - verdict.since_seconds),
                verdict.failure,
                _failure_text(verdict, verdicts.counting),
                tuple(
                    _check_status(check, verdict.checks[check], check in verdicts.on_trial)
                    for check in (*verdicts.checks, *verdicts.former)
                ),
            )
        )
    return ServiceHealth(
        tuple(servers),
        tracked.limits,
        judgement.quorum is not Quorum.HELD,
        _up_percent(servers, tracked.facts.weights),
        tuple(check.words for check, _ in verdicts.checks if (check, _) in verdicts.on_trial),
    )


def _up_percent(servers: Sequence[ServerHealth], weights: Mapping[Key, int]) -> float | None:
    by_standing: Counter[bool] = Counter()
    for server in servers:
        if server.reason is not None:
            by_standing[server.standing is Standing.UP] += weights.get(server.server.key, 0)
    total = by_standing.total()
    return 100 * by_standing[True] / total if total else None


def _failure_text(verdict: ServerVerdict, counting: Sequence[TimedCheck]) -> str:
    """Return what the failed check said that the real server is down for."""
    states = [verdict.checks[check] for check in counting]
    failed = [s.run for s in states if s.standing is Standing.DOWN and s.run.failure]
    return next((run.text for run in failed if run.failure is verdict.failure), "")


def _check_status(check: TimedCheck, state: CheckState, is_on_trial: bool) -> CheckStatus:
    run = state.run
    return CheckStatus(
        check[0].words,
        state.standing,
        is_on_trial,
        run.length,
        run.failure,
        run.text,
        run.latency_seconds,
    )
