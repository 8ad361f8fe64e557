"""What the agent knows of real servers: it has them checked, and says who serves.

For the worker's thread.

A pass asks who would serve in its target, and says when that is in force; until then what is
checked stays as it was.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gitvs.adapters.process.checker_process import CheckerProcess
from gitvs.core.health.check_states import Standing
from gitvs.core.health.judgement import Quorum
from gitvs.core.health.messages import ProbeSet
from gitvs.core.health.records import health_from_record, health_record, is_recent
from gitvs.core.health.serving import Serving
from gitvs.core.health.tracked_service import TrackedService
from gitvs.core.health.tracker import HealthTracker
from gitvs.core.model.desired import Desired
from gitvs.core.model.resources import Key, service_key_in
from gitvs.core.model.state import State
from gitvs.core.planning.operations import with_operations
from gitvs.core.status.health import CheckerStatus, HealthStatus
from gitvs.ports import Applied, Ports
from gitvs.reconcile.one_pass import recorded_at

log = logging.getLogger(__name__)

_MAX_LINES = 50
"""How many changes are logged one by one when many come at once."""


@dataclass(frozen=True, slots=True)
class PreparedHealth:
    """Who serves in the target of a pass, and what that was concluded from."""

    desired: Desired
    operated: Desired
    applied: State | None
    serving: Serving
    is_paused: bool
    """Whether that stays as it was, since an operator has paused health."""


class HealthKeeper:
    """Health, as far as it is known; without `checker`, as it was recorded."""

    def __init__(self, ports: Ports, checker: CheckerProcess | None = None) -> None:
        self.checker = checker
        self._ports = ports
        record = ports.store.health()
        applied = ports.store.applied()
        remembered = {}
        if record is not None and applied is not None:
            now, health = recorded_at(ports), applied.desired.health
            if checker is not None or is_recent(record, now):
                remembered = health_from_record(record, now, health)
            elif health:
                log.warning("health unknown reason='no checks run, and the results are too old'")
        self.tracker = HealthTracker(remembered)
        self._sent_generation = 0
        self._is_due = False
        """Whether the last pass did not put everything into force that is known by now."""
        self._recorded: object = record
        self._status = HealthStatus()
        self._change_counts: Counter[tuple[Key, Standing]] = Counter()

    def prepare(self, target: Applied) -> PreparedHealth:
        """Return who serves in the target of a pass."""
        desired, moment = target.desired, self._ports.moment()
        operations = self._ports.store.operations().in_force(moment)
        operated = with_operations(desired, operations)
        applied = self._ports.store.applied()
        state = None if applied is None else applied.desired.state
        is_paused = operations.is_health_paused and bool(self.tracker.services)
        if is_paused:
            return PreparedHealth(desired, operated, state, self.tracker.serving(), is_paused)
        serving = self.tracker.serving_with(desired, operated, state, moment.boottime_seconds)
        return PreparedHealth(desired, operated, state, serving, is_paused)

    def in_force(self, prepared: PreparedHealth) -> None:
        """Check from now on what a pass has put into force."""
        if prepared.is_paused:
            return
        now = self._ports.clock.boottime()
        self.tracker.define(prepared.desired, prepared.operated, prepared.applied, now)
        for key, standing in list(self._change_counts):
            if key not in self.tracker.services:
                del self._change_counts[key, standing]
        self._conclude()
        self.tracker.in_force(prepared.serving)
        self._is_due = bool(self.tracker.serving().changed)

    def take_news(self) -> bool:
        """Take the reports of the checker process; return whether a pass has something to do."""
        self._is_due = False
        if self.checker is not None:
            for report in self.checker.take():
                if report is None:
                    self.tracker.restart_runs()
                else:
                    self.tracker.take_report(report, self._ports.clock.boottime())
            self.tracker.set_stale(self.checker.heartbeat.stale)
        if self._is_paused():
            return False
        self._conclude()
        return bool(self.tracker.serving().changed)

    def _is_paused(self) -> bool:
        """Whether an operator wants nothing to be concluded; results are counted meanwhile."""
        operations = self._ports.store.operations().in_force(self._ports.moment())
        return operations.is_health_paused

    def seconds_left(self) -> float:
        """Return when to look again though nothing was reported; infinite if never."""
        if self._is_due:
            return 0.0
        if self._is_paused():
            return float("inf")
        return self.tracker.next_look_seconds - self._ports.clock.boottime()

    def status(self) -> HealthStatus:
        """Return what is known, as of the newest conclusions; any thread may ask."""
        checker = self.checker
        silence_seconds = None if checker is None else checker.silence_seconds()
        answering = None
        if checker is not None and silence_seconds is not None:
            answering = CheckerStatus(silence_seconds, checker.restarts, checker.heartbeat)
        now = self._ports.clock.boottime()
        return replace(self._status, checker=answering, boottime_seconds=now)

    def stop(self) -> None:
        """End the checker process."""
        if self.checker is not None:
            self.checker.stop()

    def _conclude(self) -> None:
        """Judge what is new, log and record it, and send the probes that are wanted now."""
        before, now = dict(self.tracker.services), self._ports.clock.boottime()
        changed = self.tracker.judge(now)
        services = self.tracker.services
        self._change_counts.update(_changed_standings(before, services, changed))
        self._status = HealthStatus(
            dict(services),
            now,
            is_frozen=self.tracker.own_failure.is_frozen(now),
            change_counts=dict(self._change_counts),
        )
        changes = [
            text
            for key in sorted(changed)
            for text in _changes(before[key], self.tracker.services[key])
        ]
        for level, text in changes[:_MAX_LINES]:
            log.log(level, "%s", text)
        if len(changes) > _MAX_LINES:
            log.warning("health: %d more changes at the same time", len(changes) - _MAX_LINES)
        self._record()
        generation = self.tracker.probes.generation
        if self.checker is not None and generation != self._sent_generation:
            self._sent_generation = generation
            self.checker.send(ProbeSet(generation, self.tracker.wanted_probes()))

    def _record(self) -> None:
        """Record what a restart must know, if it is something else than before."""
        record = health_record(self.tracker.troubled, recorded_at(self._ports))
        content = {name: record[name] for name in ("checks", "troubled")}
        if content != self._recorded and (self._recorded is not None or self.tracker.services):
            self._ports.store.record_health(record)
            self._recorded = content


def _changed_standings(
    before: Mapping[Key, TrackedService], after: Mapping[Key, TrackedService], keys: Iterable[Key]
) -> Iterator[tuple[Key, Standing]]:
    """Yield the new standing of each real server that has another one."""
    for key in keys:
        former = before[key].verdicts.servers
        for server, verdict in after[key].verdicts.servers.items():
            if server in former and former[server].standing is not verdict.standing:
                yield key, verdict.standing


def _changes(before: TrackedService, after: TrackedService) -> Iterator[tuple[int, str]]:
    """Yield what is to be logged: servers that went down or came back, and the quorum."""
    for key, verdict in after.verdicts.servers.items():
        former = before.verdicts.servers.get(key)
        if former is None or former.standing is verdict.standing:
            continue
        serves = "serves" if key in after.judgement.serving else "does not serve"
        if verdict.standing is Standing.DOWN:
            yield logging.WARNING, f"down server={key!r} reason={verdict.failure} {serves}"
        elif former.standing is Standing.DOWN:
            yield logging.INFO, f"{verdict.standing} again server={key!r} {serves}"
    if before.judgement.quorum is not after.judgement.quorum:
        quorum = "held" if after.judgement.quorum is Quorum.HELD else "lost"
        yield logging.WARNING, f"quorum {quorum} service={service_name(after)!r}"


def service_name(tracked: TrackedService) -> str:
    """Return the key of a virtual service, for people."""
    return next((str(s.listener.key) for s in tracked.facts.servers.values()), "")


def changed_keys(serving: Serving) -> frozenset[Key]:
    """Return the keys that a pass may change for health, also during a pause."""
    return serving.changed.union(map(service_key_in, serving.changed))
