"""One virtual service with checks: its verdicts, its judgement, and who does not serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gitvs.core.health.check_states import Standing
from gitvs.core.health.judgement import (
    NO_JUDGEMENT,
    JudgedServer,
    Limits,
    Quorum,
    Reason,
    ServiceJudgement,
    judge,
)
from gitvs.core.health.serving import OutBy
from gitvs.core.health.verdicts import (
    FLAP_SECONDS,
    NO_VERDICTS,
    ServerVerdict,
    ServiceVerdicts,
    settled,
)
from gitvs.core.model.health import Failure, Health, OnFailure
from gitvs.core.model.resources import Key, RealServer, Scheduler


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What Git and operators say of a virtual service with checks.

    `servers` are those of Git. `weights` are what they have with operations on top: 0 for one
    that is drained or removed by hand.
    """

    health: Health
    scheduler: object
    drain_seconds: float
    servers: Mapping[Key, RealServer]
    weights: Mapping[Key, int]


@dataclass(frozen=True, slots=True)
class TrackedService:
    """Moments are seconds of CLOCK_BOOTTIME. `stale` are servers whose checks bring no results.

    `leaving` are servers that Git no longer has: they go on serving in place of newcomers that
    have not passed yet, until `leaving_until_seconds`.
    """

    facts: ServiceFacts
    verdicts: ServiceVerdicts = NO_VERDICTS
    judgement: ServiceJudgement = NO_JUDGEMENT
    stale: frozenset[Key] = frozenset()
    leaving: tuple[Key, ...] = ()
    leaving_until_seconds: float = 0.0
    out: Mapping[Key, OutBy] = field(default_factory=dict)
    held: frozenset[Key] = frozenset()
    """Those of `leaving` that still serve."""
    next_look_seconds: float = float("inf")
    """When it has to be judged again, even if no result comes."""

    @property
    def limits(self) -> Limits:
        health = self.facts.health
        return Limits(health.keep_percent, health.lose_percent, health.gain_percent)

    def judged(self, now_seconds: float, is_frozen: bool = False) -> TrackedService:
        """Return it with the conclusions of its runs. Doing it twice changes nothing."""
        health, verdicts = self.facts.health, self._without_common_falls()
        verdicts = settled(verdicts, health.rise, health.fall, now_seconds, verdicts.servers)
        servers = [self._judged_server(key, verdicts) for key in self.facts.servers]
        judgement = judge(servers, self.limits, self.judgement, is_frozen)
        out = self._out(verdicts, judgement, now_seconds)
        held = self._held(judgement, now_seconds)
        judged = replace(self, verdicts=verdicts, judgement=judgement, out=out, held=held)
        return replace(judged, next_look_seconds=judged._next_look(now_seconds))

    def _without_common_falls(self) -> ServiceVerdicts:
        """Forget the falls of servers that are down together with most others.

        Their cause is a common one. A server that falls again and again comes back later; but
        not if it is missed.
        """
        verdicts = self.verdicts
        counted = [verdicts.servers[key] for key, weight in self.facts.weights.items() if weight]
        up_count = sum(server.standing is Standing.UP for server in counted)
        is_missed = up_count < self.limits.floor(len(counted))
        if not (is_missed or self.judgement.quorum is not Quorum.HELD):
            return verdicts
        servers = {
            key: replace(server, falls=())
            if server.standing is Standing.DOWN and server.falls
            else server
            for key, server in verdicts.servers.items()
        }
        return replace(verdicts, servers=servers)

    def _judged_server(self, key: Key, verdicts: ServiceVerdicts) -> JudgedServer:
        server, verdict = self.facts.servers[key], verdicts.servers[key]
        weight = self.facts.weights.get(key, 0)
        return JudgedServer(
            key,
            server.address,
            weight,
            weight > 0,
            verdict.standing,
            verdict.failure,
            self.judgement.memory.get(key),
            verdicts.is_unproven or key in self.stale,
        )

    def _out(
        self, verdicts: ServiceVerdicts, judgement: ServiceJudgement, now_seconds: float
    ) -> dict[Key, OutBy]:
        """Return how each counted server that does not serve is kept from serving."""
        is_removing = self.facts.health.on_failure is OnFailure.REMOVE
        return {
            key: OutBy.REMOVAL
            if is_removing or self._reset_seconds(verdicts.servers[key]) <= now_seconds
            else OutBy.WEIGHT
            for key in judgement.reasons
            if key not in judgement.serving
        }

    def _held(self, judgement: ServiceJudgement, now_seconds: float) -> frozenset[Key]:
        """Return the leaving servers that still serve: one for each newcomer that waits.

        Otherwise the servers that stay would get the load of all.
        """
        if now_seconds >= self.leaving_until_seconds:
            return frozenset()
        waiting = sum(reason is Reason.WAITING for reason in judgement.reasons.values())
        return frozenset(self.leaving[:waiting])

    def _reset_seconds(self, verdict: ServerVerdict) -> float:
        """Return when a dead server is removed, so that its connections end with a reset.

        At weight 0 they would hang. Under `sh` a removal moves the clients of other servers.
        """
        is_dead = verdict.failure is not None and not verdict.failure.is_soft
        if not is_dead or self.facts.scheduler is Scheduler.SH:
            return float("inf")
        return verdict.since_seconds + self.facts.drain_seconds

    def _next_look(self, now_seconds: float) -> float:
        """Return when time alone may change the judgement."""
        moments = [float("inf")]
        if self.held:
            moments.append(self.leaving_until_seconds)
        for key, out_by in self.out.items():
            verdict = self.verdicts.servers[key]
            if out_by is OutBy.WEIGHT:
                moments.append(self._reset_seconds(verdict))
            moments += (fall + FLAP_SECONDS for fall in verdict.falls)
        return min(moment for moment in moments if moment > now_seconds)

    def reason_of(self, key: Key) -> Reason | None:
        """Return why a server serves or does not; None if it is not counted."""
        return self.judgement.reasons.get(key)

    def failure_of(self, key: Key) -> Failure | None:
        """Return why a server is down; None if it is not."""
        return self.verdicts.servers[key].failure
