"""Whether the real servers of one virtual service are up.

Each check of each real server has a run of its own, and a server is up when all its checks are.
A check that is new or changed is on trial until one server of the virtual service passes it: a
wrong path must not take a service down. Until then its failures are shown and count nowhere, and
the checks that were there before go on counting.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from gitvs.core.health.check_states import CheckState, Standing
from gitvs.core.model.health import Check, CheckTimes, Failure, Run
from gitvs.core.model.resources import Key

TimedCheck = tuple[Check, CheckTimes]
"""A check with its times; two that differ in anything are two checks."""

FLAP_SECONDS = 600.0
"""How long a fall is remembered."""

MAX_FLAP_FACTOR = 16

_HARDEST_FIRST = {failure: rank for rank, failure in enumerate(Failure)}


@dataclass(frozen=True, slots=True)
class ServerVerdict:
    """What is known of one real server. `falls` are the moments at which it went down.

    Moments are seconds of CLOCK_BOOTTIME. `failure` is why it is down: the hardest reason.
    """

    checks: Mapping[TimedCheck, CheckState] = field(default_factory=dict)
    standing: Standing = Standing.UNKNOWN
    since_seconds: float = 0.0
    failure: Failure | None = None
    falls: tuple[float, ...] = ()

    def flap_factor(self, now_seconds: float) -> int:
        """Return by what its rise is multiplied: 2 for each fall after the first, up to 16."""
        recent = sum(1 for fall in self.falls if now_seconds - fall < FLAP_SECONDS)
        return int(min(2 ** max(recent - 1, 0), MAX_FLAP_FACTOR))


@dataclass(frozen=True, slots=True)
class ServiceVerdicts:
    """What is known of the real servers of one virtual service.

    `checks` are those of the manifests, `former` those before them, which count as long as one of
    `checks` is on trial.
    """

    checks: tuple[TimedCheck, ...] = ()
    on_trial: frozenset[TimedCheck] = frozenset()
    former: tuple[TimedCheck, ...] = ()
    servers: Mapping[Key, ServerVerdict] = field(default_factory=dict)

    @property
    def counting(self) -> tuple[TimedCheck, ...]:
        """The checks whose results count now."""
        proven = tuple(check for check in self.checks if check not in self.on_trial)
        return (*proven, *self.former)

    @property
    def is_unproven(self) -> bool:
        """Whether no check counts: all are on trial, and there were none before."""
        return not self.counting


NO_VERDICTS = ServiceVerdicts()

KnownChecks = Mapping[Key, Mapping[TimedCheck, CheckState]]
"""The states of checks that run already for other virtual services, by real server."""


def defined(
    verdicts: ServiceVerdicts,
    checks: tuple[TimedCheck, ...],
    servers: Collection[Key],
    known: KnownChecks | None = None,
) -> ServiceVerdicts:
    """Return the verdicts for the checks and real servers that the manifests have now.

    What did not change keeps its runs. A newcomer takes `known` states. A changed definition
    clears the falls.
    """
    is_changed = set(checks) != set(verdicts.checks)
    if is_changed:
        counting = verdicts.counting
        on_trial = frozenset(check for check in checks if check not in counting)
        former = tuple(check for check in counting if check not in checks) if on_trial else ()
        verdicts = replace(verdicts, checks=checks, on_trial=on_trial, former=former)
    wanted = {*verdicts.checks, *verdicts.former}
    kept: dict[Key, ServerVerdict] = {}
    for key in servers:
        server = verdicts.servers.get(key) or ServerVerdict((known or {}).get(key, {}))
        states = {check: server.checks.get(check) or CheckState() for check in wanted}
        kept[key] = replace(server, checks=states, falls=() if is_changed else server.falls)
    return _with_ended_trials(replace(verdicts, checks=checks, servers=kept))


def with_runs(
    verdicts: ServiceVerdicts, runs: Iterable[tuple[Key, TimedCheck, Run]]
) -> ServiceVerdicts:
    """Return the verdicts with newer runs; `settled` draws the conclusions.

    A run of a real server or check that is gone by now is left out.
    """
    servers = dict(verdicts.servers)
    for key, check, run in runs:
        server = servers.get(key)
        state = None if server is None else server.checks.get(check)
        if server is not None and state is not None:
            servers[key] = replace(server, checks={**server.checks, check: state.with_run(run)})
    return _with_ended_trials(replace(verdicts, servers=servers))


def with_new_process(verdicts: ServiceVerdicts) -> ServiceVerdicts:
    """Return the verdicts for a checker process that counts its runs from 0."""
    servers = {
        key: replace(server, checks={c: s.with_new_process() for c, s in server.checks.items()})
        for key, server in verdicts.servers.items()
    }
    return replace(verdicts, servers=servers)


def _with_ended_trials(verdicts: ServiceVerdicts) -> ServiceVerdicts:
    """End the trial of each check that some server has passed: its runs begin from the verdicts."""
    if not verdicts.on_trial:
        return verdicts
    passed = {
        check
        for server in verdicts.servers.values()
        for check, state in server.checks.items()
        if check in verdicts.on_trial and state.run.length and not state.has_failed
    }
    if not passed:
        return verdicts
    on_trial = verdicts.on_trial - passed
    gone = frozenset() if on_trial else frozenset(verdicts.former)
    servers = {
        key: replace(
            server,
            checks={
                check: state.begun(server.standing) if check in passed else state
                for check, state in server.checks.items()
                if check not in gone
            },
        )
        for key, server in verdicts.servers.items()
    }
    former = verdicts.former if on_trial else ()
    return replace(verdicts, on_trial=on_trial, former=former, servers=servers)


def settled(
    verdicts: ServiceVerdicts,
    rise: int,
    fall: int,
    now_seconds: float,
    penalised: Collection[Key] = (),
) -> ServiceVerdicts:
    """Return the verdicts that the runs lead to. Doing it twice changes nothing.

    The `penalised` servers come back later if they have fallen several times, all others after
    `rise` passes.
    """
    counting = verdicts.counting
    servers = {}
    for key, server in verdicts.servers.items():
        needed = rise * (server.flap_factor(now_seconds) if key in penalised else 1)
        states = {check: server.checks[check].settled(needed, fall) for check in counting}
        if all(server.checks[check] is state for check, state in states.items()):
            checks: Mapping[TimedCheck, CheckState] = server.checks
        else:
            checks = {**server.checks, **states}
        servers[key] = _concluded(replace(server, checks=checks), states.values(), now_seconds)
    return replace(verdicts, servers=servers)


def _concluded(
    server: ServerVerdict, counting: Collection[CheckState], now_seconds: float
) -> ServerVerdict:
    """Return a server with the standing of its checks: down if one is, up if all are."""
    standings = {state.standing for state in counting}
    if Standing.DOWN in standings:
        standing = Standing.DOWN
    elif standings == {Standing.UP}:
        standing = Standing.UP
    else:
        standing = Standing.UNKNOWN if standings else server.standing
    failures = [s.run.failure for s in counting if s.standing is Standing.DOWN and s.run.failure]
    failure = min(failures, key=_HARDEST_FIRST.__getitem__, default=server.failure)
    falls = server.falls
    if standing is Standing.DOWN and server.standing is Standing.UP:
        falls = (*(f for f in falls if now_seconds - f < FLAP_SECONDS), now_seconds)
    return replace(
        server,
        standing=standing,
        since_seconds=server.since_seconds if standing is server.standing else now_seconds,
        failure=failure if standing is Standing.DOWN else None,
        falls=falls,
    )
