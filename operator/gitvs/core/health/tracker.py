"""The health of all real servers of one director, kept up to date with little work.

What changes is looked at, and nothing else: a commit touches the virtual services that it
changes, a result those whose checks it belongs to. For one thread; no clock and no input of its
own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from gitvs.core.health.check_states import CheckState, Standing
from gitvs.core.health.messages import Report, WantedProbe, probe_id
from gitvs.core.health.own_failure import OwnFailure
from gitvs.core.health.probes import Probes, probe_of
from gitvs.core.health.records import is_sound
from gitvs.core.health.serving import OutBy, Serving
from gitvs.core.health.tracked_service import ServiceFacts, TrackedService
from gitvs.core.health.verdicts import (
    KnownChecks,
    TimedCheck,
    defined,
    with_new_process,
    with_runs,
)
from gitvs.core.model.desired import Desired
from gitvs.core.model.grouped import Grouped, changed_groups
from gitvs.core.model.health import Health, ProbeId, Run
from gitvs.core.model.resources import Key, RealServer, VirtualService
from gitvs.core.model.state import State

DEFAULT_DRAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Defined:
    """What the tracked services were last defined by."""

    health: Grouped[Health]
    git: State
    operated: State


class HealthTracker:
    """Verdicts and judgements of the virtual services that have checks."""

    def __init__(self, remembered: Mapping[Key, TrackedService] | None = None) -> None:
        """`remembered` is what an earlier process knew of virtual services."""
        self.services: dict[Key, TrackedService] = {}
        self._remembered = dict(remembered or {})
        self.own_failure = OwnFailure()
        self.probes = Probes()
        self._defined = _Defined(Grouped({}), State(), State())
        self._touched: set[Key] = set()
        self._out: dict[Key, OutBy] = {}
        self._held: set[Key] = set()
        self._changed: set[Key] = set()
        self._address_failing_since: dict[str, float] = {}
        self._fall_seconds: Counter[float] = Counter()
        """In how many virtual services real servers take so long to fall."""
        self.troubled: dict[Key, TrackedService] = {}
        """The virtual services of which a restart must know more than that they were there."""

    # What is checked

    def define(
        self, desired: Desired, operated: Desired, applied: State | None, now_seconds: float
    ) -> None:
        """Track the virtual services of desired state that have checks.

        `operated` is the same with operations on top, `applied` what was in force before: a server
        that serves already goes on serving until its checks say otherwise.
        """
        for key in self._changed_services(desired, operated):
            tracked = self._defined_service(key, desired, operated, applied, now_seconds)
            if tracked is None:
                self._drop(key)
            else:
                self._put(key, tracked)
                self._touched.add(key)
        health = Grouped.of(desired.health)
        self._defined = _Defined(health, desired.state, operated.state)

    def serving_with(
        self, desired: Desired, operated: Desired, applied: State | None, now_seconds: float
    ) -> Serving:
        """Return who would not serve if this were defined; arguments as of `define`."""
        out, held, changed = dict(self._out), set(self._held), set(self._changed)
        for key in self._changed_services(desired, operated):
            before = self.services.get(key)
            after = self._defined_service(key, desired, operated, applied, now_seconds)
            after = (
                None if after is None else after.judged(now_seconds, self._is_frozen(now_seconds))
            )
            _note(out, held, changed, before, after)
        return Serving(out, frozenset(changed), frozenset(held))

    def _changed_services(self, desired: Desired, operated: Desired) -> set[Key]:
        """Return the virtual services that are other ones since the last definition."""
        before = self._defined
        return {
            *changed_groups(before.health, Grouped.of(desired.health)),
            *changed_groups(before.git, desired.state),
            *changed_groups(before.operated, operated.state),
        }

    def _defined_service(
        self,
        key: Key,
        desired: Desired,
        operated: Desired,
        applied: State | None,
        now_seconds: float,
    ) -> TrackedService | None:
        """Return a virtual service as these define it; None if it has no checks."""
        health = desired.health.get(key)
        if health is None:
            return None
        facts = _facts(key, health, desired, operated)
        former = self.services.get(key) or self._remembered.get(key)
        checks = tuple((check, health.times) for check in health.checks)
        known = self._known_checks(facts, checks)
        base = TrackedService(facts) if former is None else replace(former, facts=facts)
        memory = {
            server: is_in
            for server in facts.servers
            if (is_in := _was_in(server, key, former, applied)) is not None
        }
        leaving = _leaving(key, facts, former, applied)
        is_new = set(leaving) != set(base.leaving)
        return replace(
            base,
            verdicts=defined(base.verdicts, checks, facts.servers, known),
            judgement=replace(base.judgement, memory=memory),
            stale=base.stale.intersection(facts.servers),
            leaving=leaving,
            leaving_until_seconds=now_seconds + facts.drain_seconds
            if is_new
            else base.leaving_until_seconds,
        )

    def _known_checks(self, facts: ServiceFacts, checks: Iterable[TimedCheck]) -> KnownChecks:
        """Return the states of checks that run already, for other virtual services or under
        other names."""
        known: dict[Key, dict[TimedCheck, CheckState]] = {}
        for check in checks:
            for server in facts.servers.values():
                for other, other_server, other_check in self.probes.subscribers(
                    probe_id(probe_of(check, server))
                ):
                    state = self.services[other].verdicts.servers[other_server].checks[other_check]
                    if other_check not in self.services[other].verdicts.on_trial:
                        known.setdefault(server.key, {})[check] = replace(state, uncounted=0)
        return known

    def _drop(self, key: Key) -> None:
        self._remembered.pop(key, None)
        tracked = self.services.pop(key, None)
        if tracked is not None:
            self.troubled.pop(key, None)
            self._note_fall_seconds(tracked, None)
            self.probes.replace(key, tracked, None)
            _note(self._out, self._held, self._changed, tracked, None)
            self._touched.discard(key)

    def _put(self, key: Key, tracked: TrackedService) -> None:
        before = self.services.get(key)
        self.probes.replace(key, before, tracked)
        self._note_fall_seconds(before, tracked)
        self.services[key] = tracked
        self._remembered.pop(key, None)

    def _note_fall_seconds(
        self, before: TrackedService | None, after: TrackedService | None
    ) -> None:
        for tracked, count in ((after, 1), (before, -1)):
            if tracked is not None:
                seconds = _fall_seconds(tracked.facts.health)
                self._fall_seconds[seconds] += count
                if not self._fall_seconds[seconds]:
                    del self._fall_seconds[seconds]

    def wanted_probes(self) -> dict[ProbeId, WantedProbe]:
        """Return the probes to run, and of which lengths of their runs to report."""
        return self.probes.wanted(lambda key: self.services[key].facts.health)

    # Results

    def take_report(self, report: Report, now_seconds: float) -> None:
        """Count the runs of a report of the checker process."""
        by_service: dict[Key, list[tuple[Key, TimedCheck, Run]]] = {}
        for identity, run in report.runs.items():
            for key, server, check in self.probes.subscribers(identity):
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
        if ended:  # what comes now counts from 1, so all of it has to be reported
            self.probes.recount(tracked.facts.servers.values(), ended)

    def restart_runs(self) -> None:
        """Continue with a checker process that counts its runs from 0."""
        for key, tracked in self.services.items():
            self.services[key] = replace(tracked, verdicts=with_new_process(tracked.verdicts))

    def set_stale(self, identities: Collection[ProbeId]) -> None:
        """Record which probes bring no results; what is known of their servers stays."""
        stale: dict[Key, set[Key]] = {}
        for identity in identities:
            for key, server, _ in self.probes.subscribers(identity):
                stale.setdefault(key, set()).add(server)
        for key, tracked in self.services.items():
            now_stale = frozenset(stale.get(key, ()))
            if now_stale != tracked.stale:
                self.services[key] = replace(tracked, stale=now_stale)
                self._touched.add(key)

    def _note_address(self, identity: ProbeId, run: Run, now_seconds: float) -> None:
        address = self.probes.address(identity)
        if address is None:
            return
        if run.failure is None or run.failure.is_soft:
            self._address_failing_since.pop(address, None)
        else:
            self._address_failing_since.setdefault(address, now_seconds)

    # Conclusions

    def judge(self, now_seconds: float) -> frozenset[Key]:
        """Judge what has changed or is due; return the virtual services with other conclusions."""
        self._look_for_own_failure(now_seconds)
        is_frozen = self._is_frozen(now_seconds)
        due = {k for k, s in self.services.items() if s.next_look_seconds <= now_seconds}
        changed = set()
        for key in self._touched | due:
            before = self.services[key]
            after = before.judged(now_seconds, is_frozen)
            if after.verdicts != before.verdicts or after.judgement != before.judgement:
                changed.add(key)
            self.services[key] = after
            if is_sound(after):
                self.troubled.pop(key, None)
            else:
                self.troubled[key] = after
            _note(self._out, self._held, self._changed, before, after)
        self._touched.clear()
        return frozenset(changed)

    def _is_frozen(self, now_seconds: float) -> bool:
        return self.own_failure.is_frozen(now_seconds)

    def _look_for_own_failure(self, now_seconds: float) -> None:
        addresses = self.probes.addresses
        failing = {a: t for a, t in self._address_failing_since.items() if a in addresses}
        self._address_failing_since = failing
        before = self.own_failure
        fall_seconds = max(self._fall_seconds, default=0.0)
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

    def serving(self) -> Serving:
        """Return who does not serve, and what is new of it since `in_force` was called."""
        return Serving(dict(self._out), frozenset(self._changed), frozenset(self._held))

    def in_force(self, serving: Serving) -> None:
        """Record that a pass has put this into force."""
        self._changed.difference_update(
            key
            for key in serving.changed
            if serving.out.get(key) is self._out.get(key)
            and (key in serving.held) is (key in self._held)
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


def _note(
    out: dict[Key, OutBy],
    held: set[Key],
    changed: set[Key],
    before: TrackedService | None,
    after: TrackedService | None,
) -> None:
    """Update which servers do not serve, which are held, and which changed."""
    old_out = {} if before is None else before.out
    new_out = {} if after is None else after.out
    for key in old_out.keys() | new_out.keys():
        if old_out.get(key) is not new_out.get(key):
            changed.add(key)
        if key in new_out:
            out[key] = new_out[key]
        else:
            out.pop(key, None)
    old_held: Collection[Key] = () if before is None else before.held
    new_held: Collection[Key] = () if after is None else after.held
    changed.update({*old_held} ^ {*new_held})
    held.difference_update(old_held)
    held.update(new_held)


def _was_in(
    server: Key, service: Key, former: TrackedService | None, applied: State | None
) -> bool | None:
    """Return whether a server was in before; None for a newcomer of a live virtual service."""
    if former is not None:
        known = former.judgement.memory.get(server)
        was_there = server in former.facts.servers or server in former.verdicts.servers
        if known is not None or was_there:
            return known
    if applied is None or service not in applied:
        return True
    before = applied.get(server)
    return True if isinstance(before, RealServer) and before.weight else None


def _leaving(
    key: Key, facts: ServiceFacts, former: TrackedService | None, applied: State | None
) -> tuple[Key, ...]:
    """Return the servers that serve and that Git no longer has."""
    if former is None:
        group = {} if applied is None else applied.groups.get(key, {})
        before = [k for k, r in group.items() if isinstance(r, RealServer) and r.weight]
    else:
        before = [*former.leaving, *former.judgement.serving]
    return tuple(k for k in dict.fromkeys(sorted(before)) if k not in facts.servers)


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
