"""What the agent tells of its turns: the log, the metrics, and the status for everybody."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from gitvs import __version__
from gitvs.adapters.service.metrics import Metrics
from gitvs.agent.cycle import Turn
from gitvs.agent.logs import log_fields
from gitvs.core.errors import (
    GitvsError,
    KernelUnavailable,
    KernelUnreadable,
    Quarantined,
    SourceError,
    StoreDamaged,
    StoreError,
    UnknownDirector,
)
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit, Result
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import Key, LocalRoute, SyncDaemon, Vip, VirtualService
from gitvs.core.planning.operations import OperationKind
from gitvs.core.planning.plan import desired_digest
from gitvs.core.problems import InvalidManifests
from gitvs.core.status.agent_status import LastPass, SourceStatus, Status
from gitvs.core.status.services import services_of
from gitvs.ports import Applied
from gitvs.reconcile.one_pass import Pass
from gitvs.reconcile.transaction import Ports
from gitvs.report.plan.plan_view import drift_of

log = logging.getLogger(__name__)

_FAILURE_KINDS: tuple[tuple[type[GitvsError], str], ...] = (
    (InvalidManifests, "manifests"),
    (UnknownDirector, "manifests"),
    (Quarantined, "quarantine"),
    (SourceError, "source"),
    (StoreError, "store"),
    (KernelUnavailable, "kernel"),
    (KernelUnreadable, "kernel"),
)


_MOST_PROBLEMS = 20
_MOST_CHARACTERS = 1000


class Reporter:
    """Remembers what turns found, and tells. What it remembers of its own may be lost."""

    def __init__(self, ports: Ports, metrics: Metrics, source: SourceStatus) -> None:
        self.metrics = metrics
        self.source = source
        self._ports = ports
        self._started_at = ports.clock.now()
        self._last: LastPass | None = None
        self._observation: Observation | None = None
        self._observed_at: datetime | None = None
        self._wanted: Commit | None = None
        self._drift: tuple[Key, ...] = ()
        self._told_problems: set[str] = set()
        self._digest: tuple[Desired, str] | None = None
        self._detailed: Callable[[], Status]
        self._keep(Status("", __version__, ports.clock.now()), None)

    @property
    def status(self) -> Status:
        """The newest status; any thread may read it.

        What it says of single services is worked out when it is asked for: of thousands that
        takes longer than a pass.
        """
        return self._detailed()

    def tell_turn(self, turn: Turn, trigger: str, at: datetime, seconds: float) -> None:
        """Note, count and log how a turn ended."""
        done = turn.done
        self._wanted = None if turn.target is None else turn.target.commit
        survey = None if done is None else done.survey
        self._last = LastPass(
            None if done is None else done.result,
            at,
            seconds,
            self._wanted,
            trigger,
            tuple(in_brief(p) for p in turn.problems),
            () if survey is None else survey.proposal.gates,
            () if done is None or done.finished is None else done.finished.failures,
        )
        self._tell_problems(turn)
        if done is not None and done.result is Result.BLOCKED:
            self.metrics.count_failure("gate")
        for each in turn.passes:
            self._tell_pass(each, trigger, seconds, {"load": turn.load_seconds, **each.stages})

    def _tell_problems(self, turn: Turn) -> None:
        """Count what keeps the newest commit away, and log what is new of it."""
        problems = [p for p in turn.problems if str(p) != self.source.error]  # told already
        for problem in problems:
            self.metrics.count_failure(kind_of(problem))
        told = {in_brief(problem) for problem in problems}
        for text in sorted(told - self._told_problems):
            log.warning("not up to date reason=%s", text)
        self._told_problems = told

    def tell_failure(self, trigger: str, error: Exception, at: datetime, seconds: float) -> None:
        """Note, count and log that a turn could not be taken."""
        self._last = LastPass(None, at, seconds, self._wanted, trigger, (str(error),))
        self.metrics.count_pass("failed", {})
        self.metrics.count_failure(kind_of(error))
        if isinstance(error, GitvsError):
            log.warning("pass failed trigger=%r reason=%s", trigger, error)
        else:
            log.error("pass met a bug trigger=%r", trigger, exc_info=error)

    def tell_observation(self, observation: Observation) -> None:
        """Note a reading of the kernel."""
        self._observation = observation
        self._observed_at = self._ports.clock.now()

    def publish(self) -> None:
        """Make a new status for everybody to read."""
        try:
            reading = _reading_of(self._ports, self._observation)
            self._keep(_summary_of(self._ports, reading), reading)
        except StoreDamaged:
            raise
        except GitvsError as error:
            log.warning("no new status reason=%s", error)
            self._keep(self.summary, self._reading)
        self.metrics.publish(self._detailed)

    def _keep(self, summary: Status, reading: _Reading | None) -> None:
        """Have this told from now on, with what is known here."""
        summary = replace(
            summary,
            started_at=self._started_at,
            source=self.source,
            desired=self._wanted,
            last=self._last,
            observed_at=self._observed_at,
            drift=self._drift,
        )
        self.summary = summary
        """The newest status without what it says of single objects."""
        self._reading = reading
        self._detailed = cache(lambda: _detailed(summary, reading, self._digest_of))

    def _digest_of(self, desired: Desired) -> str:
        """Return the digest of a desired state, which takes long."""
        known = self._digest
        if known is None or known[0] is not desired:
            known = self._digest = desired, desired_digest(desired.director, desired.state)
        return known[1]

    def in_short(self) -> str:
        """The agent in one line, for `systemctl status`."""
        applied, last = self.summary.applied, self._last
        commit = "nothing applied yet"
        if self.summary.is_applied:
            what = "a folder" if applied is None else f"commit {applied.id[:12]}"
            commit = f"{what} in force"
        result = "" if last is None else f", last pass {last.result or 'failed'}"
        kinds = [o.kind for o in self.summary.operations.all if o.kind is not OperationKind.DRAIN]
        return f"{commit}{result}{''.join(f', {kind}' for kind in kinds)}"

    def _tell_pass(
        self, done: Pass, trigger: str, seconds: float, stages: Mapping[str, float]
    ) -> None:
        if done.survey is not None and done.survey.is_whole:
            self._observed_at = self._ports.clock.now()
        self._observation = done.observation or self._observation
        self._drift = _drift_of(done)
        repaired = len(self._drift) if done.result is Result.APPLIED else 0
        self.metrics.count_pass(str(done.result), stages)
        self.metrics.count_drift(len(self._drift), repaired)
        if done.survey is not None and done.finished is not None:
            changes = done.survey.proposal.plan.changes
            self.metrics.count_operations(Counter((str(c.kind), str(c.action)) for c in changes))
        self._log_pass(done, trigger, seconds)

    def _log_pass(self, done: Pass, trigger: str, seconds: float) -> None:
        """One line for a pass that did something; a quiet one is for those who debug."""
        proposal = None if done.survey is None else done.survey.proposal
        gates = () if proposal is None else proposal.gates
        blocking = ",".join(sorted({g.name for g in gates if not g.allowed})) or "none"
        with log_fields(commit="" if self._wanted is None else self._wanted.id):
            log.log(
                _LEVELS[done.result],
                "pass result=%s trigger=%r changes=%d drift=%d gates=%s seconds=%.3f",
                done.result,
                trigger,
                0 if proposal is None else len(proposal.plan.changes),
                len(self._drift),
                blocking,
                seconds,
            )


_LEVELS = {
    Result.CONVERGED: logging.DEBUG,
    Result.APPLIED: logging.INFO,
    Result.BLOCKED: logging.WARNING,
    Result.ROLLED_BACK: logging.ERROR,
    Result.STUCK: logging.CRITICAL,
}


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was read of a director, for what a status says of single objects."""

    observation: Observation | None
    ledger: Ledger
    applied: Applied | None
    boottime: float


def status_of(ports: Ports, observation: Observation | None) -> Status:
    """Return what store and kernel tell of a director, whether or not an agent runs."""
    reading = _reading_of(ports, observation)
    summary = _summary_of(ports, reading)
    return _detailed(summary, reading, lambda d: desired_digest(d.director, d.state))


def _reading_of(ports: Ports, observation: Observation | None) -> _Reading:
    ledger = ports.store.ledger(ports.kernel.incarnation())
    return _Reading(observation, ledger, ports.store.applied(), ports.clock.boottime())


def _summary_of(ports: Ports, reading: _Reading) -> Status:
    """Return a status without what it says of single objects."""
    incarnation = ports.kernel.incarnation()
    applied = reading.applied
    operations = ports.store.operations()
    is_standby = applied is not None and applied.desired.is_standby
    now = ports.clock.now()
    return Status(
        "" if applied is None else applied.desired.director,
        __version__,
        now,
        applied=None if applied is None else applied.commit,
        applied_at=None if applied is None else applied.at,
        is_applied=applied is not None,
        observed_at=None if reading.observation is None else now,
        operations=operations,
        quarantined=tuple(ports.store.quarantined(incarnation)),
        is_transaction_open=ports.store.open_transaction(incarnation) is not None,
        is_standby=operations.standby is not None or is_standby,
    )


def _detailed(
    summary: Status, reading: _Reading | None, digest_of: Callable[[Desired], str]
) -> Status:
    """Return a status with what it says of single objects."""
    if reading is None:
        return summary
    ledger, observation = reading.ledger, reading.observation
    desired = None if reading.applied is None else reading.applied.desired
    if desired is not None:
        summary = replace(summary, desired_digest=digest_of(desired))
    if observation is None:
        return summary
    state = observation.state
    listed = [r for r in state.values() if isinstance(r, VirtualService | SyncDaemon | Vip)]
    routes = state.of(LocalRoute)
    owned = [r for r in listed if r.key in ledger.owned]
    return replace(
        summary,
        services=services_of(observation, ledger, desired, summary.operations, reading.boottime),
        vips=tuple(str(r.key) for r in (*owned, *routes) if isinstance(r, Vip | LocalRoute)),
        foreign=(
            *(str(r.key) for r in listed if r.key not in ledger.owned),
            *sorted(observation.unnamed),
        ),
    )


def _drift_of(done: Pass) -> tuple[Key, ...]:
    """Return what a pass found changed behind gitvs's back."""
    survey = done.survey
    if survey is None or survey.applied is None:
        return ()
    return tuple(sorted(drift_of(survey.proposal, survey.applied.desired, survey.ledger)))


def in_brief(problem: GitvsError) -> str:
    """Return what a problem says, short enough to be kept and sent."""
    if not isinstance(problem, InvalidManifests):
        return str(problem)[:_MOST_CHARACTERS]
    lines = [str(p)[:_MOST_CHARACTERS] for p in problem.problems[:_MOST_PROBLEMS]]
    more = len(problem.problems) - len(lines)
    return "\n".join([*lines, *([f"and {more} more; `gitvs validate` has all"] if more else [])])


def kind_of(error: Exception) -> str:
    """Return the kind of a failure, as metrics name it."""
    if not isinstance(error, GitvsError):
        return "bug"
    return next((name for kind, name in _FAILURE_KINDS if isinstance(error, kind)), "other")
