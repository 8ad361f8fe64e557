"""The health of all real servers of one director, kept up to date with little work.

What changes is looked at, and nothing else: a commit touches the virtual services that it
changes, a result those whose checks it belongs to. For one thread; no clock and no input of its
own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gitvs.core.health.check_states import CheckState, Standing
from gitvs.core.health.judgement import Judgement
from gitvs.core.health.messages import Report, WantedProbe, probe_id
from gitvs.core.health.own_failure import OwnFailure
from gitvs.core.health.serving import OutBy, Serving
from gitvs.core.health.tracked_service import ServiceFacts, TrackedService
from gitvs.core.health.verdicts import (
    MAX_FLAP_FACTOR,
    KnownChecks,
    ServiceVerdicts,
    TimedCheck,
    defined,
    with_new_process,
    with_runs,
)
from gitvs.core.model.desired import Desired
from gitvs.core.model.grouped import Grouped, changed_groups
from gitvs.core.model.health import Health, Probe, ProbeId, Run
from gitvs.core.model.resources import Key, RealServer, VirtualService
from gitvs.core.model.state import State

DEFAULT_DRAIN_SECONDS = 60.0

Subscriber = tuple[Key, Key, TimedCheck]
"""A virtual service, one of its real servers, and a check that is made of it."""


@dataclass(frozen=True, slots=True)
class _Defined:
    """What the tracked services were last defined by."""

    health: Grouped[Health]
    git: State
    operated: State


class HealthTracker:
    """Verdicts and judgements of the virtual services that have checks."""

    def __init__(self, services: Mapping[Key, TrackedService] | None = None) -> None:
        self.services: dict[Key, TrackedService] = dict(services or {})
        self.own_failure = OwnFailure()
        self.generation = 0
        """The number of the present set of probes."""
        self._defined = _Defined(Grouped({}), State(), State())
        self._subscribers: dict[ProbeId, dict[Subscriber, None]] = {}
        self._probes: dict[ProbeId, Probe] = {}
        self._marks: dict[ProbeId, int] = {}
        self._touched: set[Key] = set()
        self._out: dict[Key, OutBy] = {}
        self._changed: set[Key] = set()
        self._address_failing_since: dict[str, float] = {}

    # What is checked

    def define(self, desired: Desired, operated: Desired, applied: State | None) -> None:
        """Track the virtual services of desired state that have checks.

        `operated` is the same with operations on top, `applied` what is in force: a server that
        serves already goes on serving until its checks say otherwise.
        """
        health = Grouped.of(desired.health)
        before = self._defined
        changed = {
            *changed_groups(before.health, health),
            *changed_groups(before.git, desired.state),
            *changed_groups(before.operated, operated.state),
        }
        self._defined = _Defined(health, desired.state, operated.state)
        for key in changed:
            wanted = health.get(key)
            if wanted is None:
                self._drop(key)
            else:
                facts = _facts(key, wanted, desired, operated)
                self._define_service(key, facts, applied)

    def _define_service(self, key: Key, facts: ServiceFacts, applied: State | None) -> None:
        former = self.services.get(key)
        checks = tuple((check, facts.health.times) for check in facts.health.checks)
        known = self._known_checks(facts, checks)
        verdicts = ServiceVerdicts() if former is None else former.verdicts
        verdicts = defined(verdicts, checks, facts.servers, known)
        judgement = Judgement() if former is None else former.judgement
        memory = {
            server: is_in
            for server in facts.servers
            if (is_in := _was_in(server, key, judgement, former, applied)) is not None
        }
        tracked = TrackedService(facts) if former is None else replace(former, facts=facts)
        tracked = replace(
            tracked,
            verdicts=verdicts,
            judgement=replace(judgement, memory=memory),
            stale=tracked.stale.intersection(facts.servers),
        )
        self._put(key, tracked)
        self._touched.add(key)

    def _known_checks(self, facts: ServiceFacts, checks: Iterable[TimedCheck]) -> KnownChecks:
        """Return the states of checks that run already, for other virtual services or under
        other names."""
        known: dict[Key, dict[TimedCheck, CheckState]] = {}
        for check in checks:
            for server in facts.servers.values():
                for other, other_server, other_check in self._subscribers.get(
                    probe_id(_probe(check, server)), ()
                ):
                    state = self.services[other].verdicts.servers[other_server].checks[other_check]
                    if other_check not in self.services[other].verdicts.on_trial:
                        known.setdefault(server.key, {})[check] = replace(state, uncounted=0)
        return known

    def _drop(self, key: Key) -> None:
        tracked = self.services.pop(key, None)
        if tracked is not None:
            self._unsubscribe(key, tracked)
            self._note_out(key, tracked.out, {})
            self._touched.discard(key)

    def _put(self, key: Key, tracked: TrackedService) -> None:
        """Replace a service, and the probes that it needs."""
        former = self.services.get(key)
        self.services[key] = tracked
        if former is not None and _same_probes(former, tracked):
            return
        if former is not None:
            self._unsubscribe(key, former)
        for subscriber, probe in _subscriptions(key, tracked):
            identity = probe_id(probe)
            self._probes[identity] = probe
            self._subscribers.setdefault(identity, {})[subscriber] = None
        self.generation += 1

    def _unsubscribe(self, key: Key, tracked: TrackedService) -> None:
        for subscriber, probe in _subscriptions(key, tracked):
            identity = probe_id(probe)
            subscribers = self._subscribers.get(identity, {})
            subscribers.pop(subscriber, None)
            if not subscribers:
                self._subscribers.pop(identity, None)
                self._probes.pop(identity, None)
                self._marks.pop(identity, None)
        self.generation += 1

    def wanted_probes(self) -> dict[ProbeId, WantedProbe]:
        """Return the probes to run, and of which lengths of their runs to report."""
        return {
            identity: WantedProbe(
                probe, *self._lengths(identity), mark=self._marks.get(identity, 0)
            )
            for identity, probe in self._probes.items()
        }

    def _lengths(self, identity: ProbeId) -> tuple[frozenset[int], frozenset[int]]:
        """Return of which numbers of passes and of failures in a row to hear."""
        passes, failures = {1}, {1}
        for key, _, _ in self._subscribers[identity]:
            health = self.services[key].facts.health
            passes.update(range(1, health.rise + 1), _penalised_rises(health.rise))
            failures.update(range(1, health.fall + 1))
        return frozenset(passes), frozenset(failures)

    # Results

    def take_report(self, report: Report, now_seconds: float) -> None:
        """Count the runs of a report of the checker process."""
        by_service: dict[Key, list[tuple[Key, TimedCheck, Run]]] = {}
        for identity, run in report.runs.items():
            for key, server, check in self._subscribers.get(identity, ()):
                by_service.setdefault(key, []).append((server, check, run))
            self._note_address(identity, run, now_seconds)
        for key, runs in by_service.items():
            self._count(key, runs)

    def _count(self, key: Key, runs: list[tuple[Key, TimedCheck, Run]]) -> None:
        tracked = self.services[key]
        verdicts = with_runs(tracked.verdicts, runs)
        ended = tracked.verdicts.on_trial - verdicts.on_trial
        self._put(key, replace(tracked, verdicts=verdicts))
        self._touched.add(key)
        for server in tracked.facts.servers.values() if ended else ():
            for check in ended:  # what comes now counts from 1: all of it has to be reported
                identity = probe_id(_probe(check, server))
                self._marks[identity] = self._marks.get(identity, 0) + 1
        self.generation += bool(ended)

    def restart_runs(self) -> None:
        """Continue with a checker process that counts its runs from 0."""
        for key, tracked in self.services.items():
            self.services[key] = replace(tracked, verdicts=with_new_process(tracked.verdicts))

    def set_stale(self, identities: Collection[ProbeId]) -> None:
        """Record which probes bring no results; what is known of their servers stays."""
        stale: dict[Key, set[Key]] = {}
        for identity in identities:
            for key, server, _ in self._subscribers.get(identity, ()):
                stale.setdefault(key, set()).add(server)
        for key, tracked in self.services.items():
            now_stale = frozenset(stale.get(key, ()))
            if now_stale != tracked.stale:
                self.services[key] = replace(tracked, stale=now_stale)
                self._touched.add(key)

    def _note_address(self, identity: ProbeId, run: Run, now_seconds: float) -> None:
        probe = self._probes.get(identity)
        if probe is None:
            return
        address = str(probe.address)
        if run.failure is None or run.failure.is_soft:
            self._address_failing_since.pop(address, None)
        else:
            self._address_failing_since.setdefault(address, now_seconds)

    # Conclusions

    def judge(self, now_seconds: float) -> frozenset[Key]:
        """Judge what has changed or is due; return the virtual services that something else is
        said of."""
        self._look_for_own_failure(now_seconds)
        is_frozen = self.own_failure.is_frozen(now_seconds)
        due = {k for k, s in self.services.items() if s.next_look_seconds <= now_seconds}
        changed = set()
        for key in self._touched | due:
            before = self.services[key]
            after = before.judged(now_seconds, is_frozen)
            if after.verdicts != before.verdicts or after.judgement != before.judgement:
                changed.add(key)
            self.services[key] = after
            self._note_out(key, before.out, after.out)
        self._touched.clear()
        return frozenset(changed)

    def _look_for_own_failure(self, now_seconds: float) -> None:
        addresses = {str(probe.address) for probe in self._probes.values()}
        failing = {a: t for a, t in self._address_failing_since.items() if a in addresses}
        self._address_failing_since = failing
        before = self.own_failure
        fall_seconds = max(
            (_fall_seconds(s.facts.health) for s in self.services.values()), default=0
        )
        self.own_failure = before.observed(failing, addresses, fall_seconds, now_seconds)
        was_frozen, is_frozen = (
            before.began_seconds is not None,
            self.own_failure.is_frozen(now_seconds),
        )
        if is_frozen and not was_frozen:
            self._put_back(now_seconds - fall_seconds)
            self._touched.update(self.services)
        elif (
            before.began_seconds is not None
            and not is_frozen
            and before.ends_seconds <= now_seconds
        ):
            self._touched.update(self.services)

    def _put_back(self, since_seconds: float) -> None:
        """Have the servers in again that fell since a moment."""
        for key, tracked in self.services.items():
            memory = {
                server: is_in or _fell_since(tracked, server, since_seconds)
                for server, is_in in tracked.judgement.memory.items()
            }
            judgement = replace(tracked.judgement, memory=memory)
            self.services[key] = replace(tracked, judgement=judgement)

    def _note_out(self, key: Key, before: Mapping[Key, OutBy], after: Mapping[Key, OutBy]) -> None:
        for server in before.keys() | after.keys():
            if before.get(server) is not after.get(server):
                self._changed.add(server)
            if server in after:
                self._out[server] = after[server]
            else:
                self._out.pop(server, None)

    def serving(self) -> Serving:
        """Return who does not serve, and what is new of it since `in_force` was called."""
        return Serving(dict(self._out), frozenset(self._changed))

    def in_force(self, serving: Serving) -> None:
        """Record that a pass has put this into force."""
        self._changed.difference_update(
            key for key in serving.changed if serving.out.get(key) is self._out.get(key)
        )

    @property
    def next_look_seconds(self) -> float:
        """When time alone may change something; infinite if it cannot."""
        looks = (s.next_look_seconds for s in self.services.values())
        return min(self.own_failure.ends_seconds, min(looks, default=float("inf")))


def _facts(key: Key, health: Health, desired: Desired, operated: Desired) -> ServiceFacts:
    group = desired.state.groups.get(key, {})
    service = group.get(key)
    servers = {k: r for k, r in group.items() if isinstance(r, RealServer)}
    operated_group = operated.state.groups.get(key, {})
    weights = {k: r.weight for k in servers if isinstance(r := operated_group.get(k), RealServer)}
    return ServiceFacts(
        health,
        service.scheduler if isinstance(service, VirtualService) else None,
        desired.drain_seconds.get(key, DEFAULT_DRAIN_SECONDS),
        servers,
        weights,
    )


def _was_in(
    server: Key,
    service: Key,
    judgement: Judgement,
    former: TrackedService | None,
    applied: State | None,
) -> bool | None:
    """Return whether a server was in before; None for a newcomer of a live virtual service."""
    known = judgement.memory.get(server)
    if known is not None or (former is not None and server in former.facts.servers):
        return known
    if applied is None or service not in applied:
        return True
    before = applied.get(server)
    return True if isinstance(before, RealServer) and before.weight else None


def _probe(check: TimedCheck, server: RealServer) -> Probe:
    kind, times = check
    return Probe(kind, server.address, server.port if kind.port is None else kind.port, times)


def _subscriptions(key: Key, tracked: TrackedService) -> Iterator[tuple[Subscriber, Probe]]:
    verdicts = tracked.verdicts
    for check in (*verdicts.checks, *verdicts.former):
        for server in tracked.facts.servers.values():
            yield (key, server.key, check), _probe(check, server)


def _same_probes(one: TrackedService, other: TrackedService) -> bool:
    return (
        one.verdicts.checks == other.verdicts.checks
        and one.verdicts.former == other.verdicts.former
        and one.facts.servers.keys() == other.facts.servers.keys()
        and (one.facts.health.rise, one.facts.health.fall)
        == (other.facts.health.rise, other.facts.health.fall)
    )


def _penalised_rises(rise: int) -> set[int]:
    """Return after how many passes a server that has fallen several times comes back."""
    lengths, factor = set(), 1
    while factor <= MAX_FLAP_FACTOR:
        lengths.add(rise * factor)
        factor *= 2
    return lengths


def _fall_seconds(health: Health) -> float:
    """Return how long a server takes to fall that stops answering."""
    times = health.times
    return (
        times.interval_seconds
        + (health.fall - 1) * max(times.retry_seconds, times.timeout_seconds)
        + times.timeout_seconds
    )


def _fell_since(tracked: TrackedService, server: Key, since_seconds: float) -> bool:
    verdict = tracked.verdicts.servers[server]
    return verdict.standing is Standing.DOWN and verdict.since_seconds >= since_seconds
