"""Reports the agent's cycles: the log, the metrics and the status.

`reconcile.director_status` computes the status from store and kernel.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache

from gitvs import __version__
from gitvs.adapters.service.log_fields import log_fields
from gitvs.adapters.service.metrics_server import Metrics
from gitvs.agent.cycle_result import CycleResult
from gitvs.agent.judge import NotYetJudged
from gitvs.agent.work_queue import Trigger
from gitvs.core.errors import (
    CannotListen,
    GitvsError,
    KernelUnavailable,
    KernelUnreadable,
    MetBug,
    Quarantined,
    SourceError,
    StoreDamaged,
    StoreError,
    UnknownDirector,
    UnusableManifests,
)
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit, HistoryEntry, Outcome
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import Key
from gitvs.core.model.state import State
from gitvs.core.planning.operations import OperationKind
from gitvs.core.planning.ownership import scope_of
from gitvs.core.planning.plan import desired_digest
from gitvs.core.planning.repairs import Unrepairable
from gitvs.core.problems import InvalidManifests, Problem
from gitvs.core.settings import MetricsSettings
from gitvs.core.status.agent_status import AgentStatus, HookStatus, LastPass, SourceStatus
from gitvs.core.status.health import HealthStatus
from gitvs.core.status.services import last_change_in
from gitvs.ports import Ports
from gitvs.reconcile.director_status import (
    StatusInputs,
    load_status_inputs,
    load_summary,
    with_details,
)
from gitvs.reconcile.one_pass import PassResult
from gitvs.report.plan.plan_view import drift_of

log = logging.getLogger(__name__)

_FAILURE_KINDS: tuple[tuple[type[GitvsError], str], ...] = (
    (MetBug, "bug"),
    (InvalidManifests, "manifests"),
    (UnusableManifests, "manifests"),
    (UnknownDirector, "manifests"),
    (Quarantined, "quarantine"),
    (SourceError, "source"),
    (StoreError, "store"),
    (KernelUnavailable, "kernel"),
    (KernelUnreadable, "kernel"),
)


HEARTBEAT_SECONDS = 60.0
_MAX_PROBLEMS = 20
_MAX_WARNINGS = 100
_MAX_CHARACTERS = 1000
_ENTRIES_OF_A_CYCLE = 20
"""More than one cycle ever writes into the history."""


class Reporter:
    """Remembers the results of cycles and reports them. A restart may lose what it remembers."""

    def __init__(
        self,
        ports: Ports,
        metrics: Metrics,
        source_status: SourceStatus,
        get_health: Callable[[], HealthStatus],
    ) -> None:
        """Prepare; `get_health` may be called by any thread."""
        self.metrics = metrics
        self.source_status = source_status
        self._ports = ports
        self._get_health = get_health
        self._started_at = ports.clock.now()
        self._last_pass: LastPass | None = None
        self._last_change: HistoryEntry | None = None
        self._is_history_read = False
        self._observation: Observation | None = None
        self._observed_at: datetime | None = None
        self._heartbeat_boottime = float("-inf")
        self._hook_status: HookStatus | None = None
        self._target_commit: Commit | None = None
        self._drift: tuple[Key, ...] = ()
        self._unrepairable: tuple[Unrepairable, ...] = ()
        self._reported_problems: set[str] = set()
        self._warnings: tuple[Problem, ...] = ()
        self._digest_cache: tuple[Desired, str] | None = None
        self._compute_status: Callable[[], AgentStatus]
        self._set_status(AgentStatus("", __version__, ports.clock.now()), None)

    @property
    def status(self) -> AgentStatus:
        """The newest status; any thread may read it.

        Details of single services are computed on request: for thousands of services that takes
        longer than a pass.
        """
        return replace(self._compute_status(), health=self._get_health())

    def report_cycle(
        self, cycle_result: CycleResult, trigger: str, started_at: datetime, seconds: float
    ) -> None:
        """Record, count and log how a cycle ended."""
        pass_result = cycle_result.pass_result
        self._report_warnings(cycle_result)
        self._target_commit = None if cycle_result.target is None else cycle_result.target.commit
        planned = None if pass_result is None else pass_result.planned
        self._last_pass = LastPass(
            None if pass_result is None else pass_result.outcome,
            started_at,
            seconds,
            self._target_commit,
            trigger,
            tuple(short_problem_text(p) for p in cycle_result.problems),
            () if planned is None else planned.proposal.gates,
            ()
            if pass_result is None or pass_result.transaction is None
            else pass_result.transaction.failures,
        )
        self._note_last_change(cycle_result)
        self._report_problems(cycle_result)
        is_blocked = pass_result is not None and pass_result.outcome is Outcome.BLOCKED
        if is_blocked and not cycle_result.is_repeated:
            self.metrics.count_failure("gate")
        for each_result in cycle_result.pass_results[cycle_result.is_repeated :]:
            self._report_pass(
                each_result,
                trigger,
                seconds,
                {"load": cycle_result.load_seconds, **each_result.stage_seconds},
            )

    def report_health_pass(self, pass_result: PassResult, seconds: float) -> None:
        """Record, count and log a pass for health; the newest pass of a commit stays known."""
        self._report_pass(pass_result, Trigger.HEALTH, seconds, pass_result.stage_seconds)

    def _report_warnings(self, cycle_result: CycleResult) -> None:
        """Keep the warnings of the newest judged manifests, and log those that are new.

        Those of a commit stay until the next one: as recorded it has none.
        """
        target = cycle_result.target
        invalid = [p for p in cycle_result.problems if isinstance(p, InvalidManifests)]
        warnings = [warning for problem in invalid for warning in problem.warnings]
        if not invalid and target is not None:
            warnings += target.warnings
            if not warnings and target.commit is not None and target.commit == self._target_commit:
                return
        known, self._warnings = self._warnings, tuple(warnings[:_MAX_WARNINGS])
        for warning in self._warnings:
            if warning not in known:
                log.warning("probably not meant %s", warning)

    def _note_last_change(self, cycle_result: CycleResult) -> None:
        """Read the whole history once, and its newest entries after each transaction."""
        if not self._is_history_read:
            self._last_change = last_change_in(self._ports.store.history())
            self._is_history_read = True
        elif any(r.transaction is not None for r in cycle_result.pass_results):
            newest = self._ports.store.history(limit=_ENTRIES_OF_A_CYCLE)
            self._last_change = last_change_in(newest) or self._last_change

    def _report_problems(self, cycle_result: CycleResult) -> None:
        """Count why the newest commit is not applied, and log the reasons that are new."""
        # The source's own error was reported already.
        problems = [
            p
            for p in cycle_result.problems
            if str(p) != self.source_status.error and not isinstance(p, NotYetJudged)
        ]
        for problem in problems:
            self.metrics.count_failure(failure_kind(problem))
        reported = {short_problem_text(problem) for problem in problems}
        for text in sorted(reported - self._reported_problems):
            log.warning("not up to date reason=%s", text)
        self._reported_problems = reported

    def report_failure(
        self, trigger: str, error: Exception, started_at: datetime, seconds: float
    ) -> None:
        """Record, count and log that a cycle failed."""
        self._last_pass = LastPass(
            None, started_at, seconds, self._target_commit, trigger, (str(error),)
        )
        self.metrics.count_pass("failed", {})
        self.metrics.count_failure(failure_kind(error))
        if isinstance(error, GitvsError):
            log.warning("pass failed trigger=%r reason=%s", trigger, error)
        else:
            log.error("pass failed because of a bug in gitvs trigger=%r", trigger, exc_info=error)

    def record_heartbeat(self, *, is_last: bool) -> None:
        """Record that the agent is alive, unless it did lately; the last time always."""
        now = self._ports.clock.boottime()
        if now - self._heartbeat_boottime < HEARTBEAT_SECONDS and not is_last:
            return
        self._heartbeat_boottime = now
        try:
            self._ports.store.record_alive()
        except StoreDamaged:
            raise
        except GitvsError as error:
            log.warning("no sign of life recorded reason=%s", error)

    def observe_kernel(self) -> None:
        """Read the kernel for the next status."""
        applied = self._ports.store.applied()
        desired = Desired("", "gitvs0", State()) if applied is None else applied.desired
        ledger = self._ports.store.ledger(self._ports.kernel.incarnation())
        self._observation = self._ports.kernel.observe(scope_of(ledger, desired, applied=desired))
        self._observed_at = self._ports.clock.now()

    def replace_metrics(self, settings: MetricsSettings) -> None:
        """Serve metrics with new settings; counters continue if nothing changed."""
        if settings == self.metrics.settings:
            return
        self.metrics.stop()
        self.metrics = Metrics(settings)
        try:
            self.metrics.start()
        except CannotListen as error:
            log.error("no metrics reason=%s", error)

    def publish(
        self, judging_since: datetime | None = None, hook: HookStatus | None = None
    ) -> None:
        """Publish a new status, which any thread may read.

        `judging_since` is when judging the newest commit began, if that is under way.
        """
        self._hook_status = hook
        self.source_status = replace(self.source_status, judging_since=judging_since)
        try:
            inputs = load_status_inputs(self._ports, self._observation)
            self._set_status(load_summary(self._ports, inputs), inputs)
        except StoreDamaged:
            raise
        except GitvsError as error:
            log.warning("no new status reason=%s", error)
            self._set_status(self.summary, self._inputs)
        self.metrics.publish(lambda: self.status)

    def _set_status(self, summary: AgentStatus, inputs: StatusInputs | None) -> None:
        """Make this the newest status, completed with what the reporter remembers."""
        summary = replace(
            summary,
            started_at=self._started_at,
            source=self.source_status,
            hook=self._hook_status,
            desired_commit=self._target_commit,
            last_pass=self._last_pass,
            last_change=self._last_change,
            observed_at=self._observed_at,
            drifted_keys=self._drift,
            warnings=self._warnings,
            unrepairable=self._unrepairable,
        )
        self.summary = summary
        """The newest status without details of single objects."""
        self._inputs = inputs
        self._compute_status = cache(lambda: with_details(summary, inputs, self._digest_of))

    def _digest_of(self, desired: Desired) -> str:
        """Return the digest of a desired state; cached, because it is slow."""
        cached = self._digest_cache
        if cached is None or cached[0] is not desired:
            cached = self._digest_cache = desired, desired_digest(desired)
        return cached[1]

    def status_line(self) -> str:
        """The agent in one line, for `systemctl status`."""
        applied, last_pass = self.summary.applied_commit, self._last_pass
        commit = "nothing applied yet"
        if self.summary.is_applied:
            what = "a folder" if applied is None else f"commit {applied.id[:12]}"
            commit = f"{what} in force"
        last_pass_text = "" if last_pass is None else f", last pass {last_pass.outcome or 'failed'}"
        kinds = [o.kind for o in self.summary.operations.all if o.kind is not OperationKind.DRAIN]
        return f"{commit}{last_pass_text}{''.join(f', {kind}' for kind in kinds)}"

    def _report_pass(
        self,
        pass_result: PassResult,
        trigger: str,
        seconds: float,
        stage_seconds: Mapping[str, float],
    ) -> None:
        if pass_result.planned is not None and pass_result.planned.is_full_reading:
            self._observed_at = self._ports.clock.now()
        self._observation = pass_result.observation or self._observation
        self._drift = _drift_keys(pass_result)
        known_keys = {u.key for u in self._unrepairable}
        self._report_unrepairable(pass_result)
        failed_keys = {u.key for u in self._unrepairable}
        is_repaired = pass_result.outcome is Outcome.APPLIED
        repaired = len(set(self._drift) - failed_keys) if is_repaired else 0
        self.metrics.count_pass(str(pass_result.outcome), stage_seconds)
        self.metrics.count_drift(len(set(self._drift) - (known_keys & failed_keys)), repaired)
        if pass_result.planned is not None and pass_result.transaction is not None:
            changes = [
                c for c in pass_result.planned.proposal.plan.changes if c.key not in failed_keys
            ]
            self.metrics.count_changes(Counter((str(c.kind), str(c.action)) for c in changes))
        self._log_pass(pass_result, trigger, seconds)

    def _report_unrepairable(self, pass_result: PassResult) -> None:
        """Log once what cannot be repaired, and once when it can be repaired again."""
        repairs = pass_result.repairs
        were_undone = repairs is not None and repairs.outcome is not Outcome.APPLIED
        planned = pass_result.planned
        is_blocked = pass_result.outcome is Outcome.BLOCKED
        if planned is None or planned.is_paused or is_blocked or were_undone:
            return  # nothing is known of it
        known_keys = {u.key for u in self._unrepairable}
        self._unrepairable = pass_result.unrepairable
        for unrepairable in self._unrepairable:
            if unrepairable.key not in known_keys:
                log.error("not repaired key=%s reason=%s", unrepairable.key, unrepairable.reason)
        for key in sorted(known_keys - {u.key for u in self._unrepairable}):
            log.info("no longer unrepairable key=%s", key)

    def _log_pass(self, pass_result: PassResult, trigger: str, seconds: float) -> None:
        """Log one line for a pass; at DEBUG level if there was nothing to do."""
        proposal = None if pass_result.planned is None else pass_result.planned.proposal
        gates = () if proposal is None else proposal.gates
        blocking = ",".join(sorted({g.name for g in gates if not g.is_allowed})) or "none"
        with log_fields(commit="" if self._target_commit is None else self._target_commit.id):
            has_changed = pass_result.transaction is not None
            is_quiet = pass_result.outcome is Outcome.APPLIED and not has_changed
            log.log(
                logging.DEBUG if is_quiet else _LOG_LEVELS[pass_result.outcome],
                "pass result=%s trigger=%r changes=%d drift=%d gates=%s seconds=%.3f",
                pass_result.outcome,
                trigger,
                0 if proposal is None else len(proposal.plan.changes),
                len(self._drift),
                blocking,
                seconds,
            )


_LOG_LEVELS = {
    Outcome.CONVERGED: logging.DEBUG,
    Outcome.APPLIED: logging.INFO,
    Outcome.BLOCKED: logging.WARNING,
    Outcome.ROLLED_BACK: logging.ERROR,
    Outcome.STUCK: logging.CRITICAL,
}


def _drift_keys(pass_result: PassResult) -> tuple[Key, ...]:
    """Return the keys of the objects that something other than gitvs has changed."""
    planned = pass_result.planned
    if planned is None or planned.applied is None:
        return ()
    return tuple(sorted(drift_of(planned.proposal, planned.applied.desired, planned.ledger)))


def short_problem_text(problem: GitvsError) -> str:
    """Return the text of a problem, short enough to be stored and sent."""
    if not isinstance(problem, InvalidManifests):
        return str(problem)[:_MAX_CHARACTERS]
    lines = [str(p)[:_MAX_CHARACTERS] for p in problem.problems[:_MAX_PROBLEMS]]
    more = len(problem.problems) - len(lines)
    return "\n".join([*lines, *([f"and {more} more; `gitvs validate` has all"] if more else [])])


def failure_kind(error: Exception) -> str:
    """Return the kind of a failure, as metrics name it."""
    if not isinstance(error, GitvsError):
        return "bug"
    return next((name for kind, name in _FAILURE_KINDS if isinstance(error, kind)), "other")
