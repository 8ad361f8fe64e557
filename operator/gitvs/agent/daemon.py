"""The daemon: one worker that runs a cycle whenever a trigger asks for one.

Passes happen in the thread that calls `Agent.run`, one at a time, and do no network I/O.
Triggers that arrive during a cycle are merged into one further cycle. `cycle` implements a
cycle, `triggers` starts cycles, and `actions` carries out what operators ask for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from gitvs.adapters.process.checker_process import CheckerProcess
from gitvs.adapters.process.writer_lock import writer_lock
from gitvs.adapters.service.log_fields import log_fields
from gitvs.adapters.service.metrics_server import Metrics
from gitvs.adapters.service.push_hook import PushHook
from gitvs.adapters.service.systemd import Notifier
from gitvs.agent.cycle import CommitFollower, followed_source
from gitvs.agent.cycle_result import CycleResult
from gitvs.agent.fetch_results import FetchResults
from gitvs.agent.fetcher import Fetcher, FetchResult
from gitvs.agent.health.keeper import HealthKeeper
from gitvs.agent.judge import ChooseDirector, Judge
from gitvs.agent.reporting import Reporter
from gitvs.agent.timed_work import TimedWork
from gitvs.agent.triggers import Triggers
from gitvs.agent.work_queue import Trigger, WorkQueue
from gitvs.agent.write_lock import MakeLock, WriteLock
from gitvs.core.errors import GitvsError, StoreDamaged
from gitvs.core.model.history import Outcome
from gitvs.core.settings import Settings
from gitvs.core.status.agent_status import AgentStatus, SourceStatus
from gitvs.ports import Ports
from gitvs.reconcile.quarantine import recover_at_start
from gitvs.reconcile.restore import outdated_reason

log = logging.getLogger(__name__)

HEALTH_DELAY_SECONDS = 0.2
"""How long results of health checks are collected: a thousand servers that fall are one pass."""

MAX_WAIT_SECONDS = 5.0
"""The worker's longest wait: then it checks clocks, deadlines and the watchdog."""

PARTIAL_READING_TRIGGERS = frozenset(
    {Trigger.NEW_COMMIT, Trigger.FOLDER_CHANGED, Trigger.DRAIN_DUE}
)
"""Triggers about a few services; the drift timer later reads the whole kernel."""

READING_TRIGGERS = frozenset({Trigger.FOLDER_CHANGED, Trigger.SYNC, Trigger.RELOAD})
"""Triggers that wait until the folder of manifests has been read again."""


class Agent:
    """The daemon of one director. All writes happen in the thread that calls `run`."""

    def __init__(
        self,
        ports: Ports,
        state_dir: Path,
        load_settings: Callable[[], Settings],
        make_chooser: Callable[[Settings], ChooseDirector],
        notifier: Notifier,
        make_lock: MakeLock = writer_lock,
        make_checker: Callable[[Callable[[], None]], CheckerProcess] = CheckerProcess,
    ) -> None:
        """Prepare; nothing is written or sent yet.

        `load_settings` reads the settings, now and on SIGHUP.

        Raises:
            SettingsError, SourceError: these settings cannot be used.
        """
        self._write_lock = WriteLock(ports.store, make_lock)
        self.ports = ports = replace(ports, ensure_writer=self._write_lock.ensure)
        self.work_queue = WorkQueue()
        add = self.work_queue.add_trigger
        checker = make_checker(lambda: add(Trigger.HEALTH, HEALTH_DELAY_SECONDS))
        self.health = HealthKeeper(ports, checker)
        self.settings = load_settings()
        self._state_dir = state_dir
        self._load_settings, self._make_chooser = load_settings, make_chooser
        self._notifier = notifier
        self.follower, self._triggers = self._make_follower(self.settings)
        source_status = SourceStatus(self.follower.source.name)
        metrics = Metrics(self.settings.metrics)
        self._reporter = Reporter(ports, metrics, source_status, self.health.status)
        self.fetch_results = FetchResults(
            ports, self.follower, self._triggers, self._reporter, self.work_queue
        )
        self._hook = PushHook(
            lambda: self._triggers.announce_push(),
            lambda result: self._reporter.metrics.count_hook_request(result),
        )
        self._is_stopping = False
        self._timed_work = TimedWork(ports, self.work_queue)
        self._jobs_until_judged: list[Callable[[], None]] = []

    @property
    def status(self) -> AgentStatus:
        """The newest status; any thread may read it."""
        return self._reporter.status

    @property
    def summary(self) -> AgentStatus:
        """The newest status without details of single objects; any thread may read it."""
        return self._reporter.summary

    # Life cycle

    def run(self) -> None:
        """Work until `stop` is called.

        Raises:
            StoreDamaged, CannotListen, SourceError: the agent cannot continue.
        """
        with ExitStack() as stack:
            self._reporter.metrics.start()
            stack.callback(lambda: self._reporter.metrics.stop())
            self._hook.serve(self.settings.hook)
            stack.callback(self._hook.stop)
            stack.callback(self._write_lock.release)
            stack.callback(self.health.stop)
            self._triggers.start(self.ports.store.accepted_head())
            stack.callback(lambda: self._triggers.stop())
            self._start_judge()
            stack.callback(lambda: self.follower.judge.stop())
            self._start()
            while not self._is_stopping:
                self._notifier.report_alive()
                self._process(*self.work_queue.wait_for_work(self._wait_seconds()))
            self._notifier.report_stopping()
            self._record_heartbeat()
        log.info("stopped")

    def stop(self) -> None:
        """Make `run` return after the current pass. Safe in signal handlers."""
        self._is_stopping = True
        self.work_queue.wake()

    def reload(self) -> None:
        """Reload the settings, and fetch. Safe in signal handlers."""
        self.work_queue.add_trigger(Trigger.RELOAD)

    def _start(self) -> None:
        """Recover an open transaction, run the first cycle, and report that the agent is ready."""
        log.info("started state_dir=%s source=%s", self._state_dir, self.follower.source.name)
        self._attempt(Trigger.START, self._recover)
        if self.follower.source.has_commits:
            max_downtime = timedelta(seconds=self.settings.max_downtime_seconds)
            self.fetch_results.outdated_reason = outdated_reason(self.ports, max_downtime)
        self._attempt_cycle({Trigger.START})
        self._notifier.report_ready(self._reporter.status_line())
        self.fetch_results.request_fetch()

    def _recover(self) -> None:
        with self._write_lock.held():
            recovered = recover_at_start(self.ports)
        if recovered is not None:
            self._reporter.metrics.count_transaction_found_open()
            log.warning("recovered id=%d result=%s", recovered.id, recovered.outcome)
        self.ports.store.keep_history(self.settings.kept_transactions, self.settings.kept_plans)

    def _process(self, triggers: frozenset[str], jobs: Iterable[Callable[[], None]]) -> None:
        """Run the jobs, then a cycle if a trigger is due."""
        self._triggers.check()
        self._reporter.metrics.restart_if_dead()
        self._hook.check()
        self.follower.judge.restart_if_dead()
        self._record_heartbeat()
        for job in jobs:
            self._notifier.report_alive()
            job()
        if Trigger.RELOAD in triggers:
            self._notifier.report_reloading()
            self._attempt(Trigger.RELOAD, self._reload)
            self._notifier.report_ready(self._reporter.status_line())
        all_triggers = {*triggers, *self._timed_work.due(self.summary.operations.all)}
        if self._is_stopping:
            return
        if Trigger.HEALTH in all_triggers or self.health.seconds_left() <= 0:
            all_triggers.discard(Trigger.HEALTH)
            self._attempt(Trigger.HEALTH, self._follow_health)
        if not all_triggers:
            return
        if self.fetch_results.is_source_ready and not all_triggers <= {Trigger.DRAIN_DUE}:
            self.follower.read_folder_again()
        if self._triggers.fetcher is None and all_triggers <= READING_TRIGGERS:
            self.when_judged(lambda: self._attempt_cycle(all_triggers))
        else:
            self._attempt_cycle(all_triggers)

    def _wait_seconds(self) -> float:
        """Return how long to wait for work."""
        watchdog_seconds = self._notifier.watchdog_seconds
        alive_seconds = float("inf") if watchdog_seconds is None else watchdog_seconds / 4
        due_seconds = min(self._timed_work.seconds_left(), self.health.seconds_left())
        return max(0.0, min(MAX_WAIT_SECONDS, alive_seconds, due_seconds))

    def _record_heartbeat(self) -> None:
        """Record from time to time that the agent is alive, for `gitvs restore`."""
        if not self.fetch_results.outdated_reason:
            self._reporter.record_heartbeat(is_last=self._is_stopping)

    # Settings

    def _make_follower(self, settings: Settings) -> tuple[CommitFollower, Triggers]:
        """Return the follower and the triggers for these settings."""
        source = followed_source(self._state_dir, settings)
        judge = Judge(source, self._make_chooser(settings))
        follower = CommitFollower(self.ports, judge, self.health)
        fetcher = Fetcher(source, self._on_fetch_result) if source.has_commits else None
        return follower, Triggers(settings, fetcher, self.work_queue)

    def _reload(self) -> None:
        """Reload the settings; settings that cannot be used change nothing."""
        try:
            settings = self._load_settings()
            follower, triggers = self._make_follower(settings)
            self.ports.store.keep_history(settings.kept_transactions, settings.kept_plans)
            triggers.start(self.ports.store.accepted_head())
        except GitvsError as error:
            log.error("settings not reloaded reason=%s", error)
        else:
            self._triggers.stop()
            self.follower.judge.stop()
            self._reporter.replace_metrics(settings.metrics)
            self.settings, self.follower, self._triggers = settings, follower, triggers
            self._reporter.source_status = SourceStatus(self.follower.source.name)
            waiting = self.fetch_results.remove_waiting()
            outdated_reason = self.fetch_results.outdated_reason
            self.fetch_results = FetchResults(
                self.ports, follower, triggers, self._reporter, self.work_queue
            )
            self.fetch_results.outdated_reason = (
                outdated_reason if triggers.fetcher is not None else ""
            )
            self._start_judge()
            self.fetch_results.add_waiting(waiting)
            self.fetch_results.request_fetch()
            self._hook.serve(settings.hook)
            self._run_jobs_if_judged()
            log.info("settings reloaded source=%s", self.follower.source.name)

    # Cycles

    def _on_fetch_result(self, fetch_result: FetchResult) -> None:
        """Called in the thread that fetches."""
        self.work_queue.add_job(
            lambda: self._attempt("fetched", lambda: self._handle_fetch_result(fetch_result))
        )

    def _handle_fetch_result(self, fetch_result: FetchResult) -> None:
        if fetch_result.remote is not self.follower.source:
            return  # this fetch began before the settings were reloaded
        if trigger := self.fetch_results.handle(fetch_result):
            number = fetch_result.request_number
            self.when_judged(lambda: self._attempt_cycle({trigger}, fetch_number=number))
        self.publish()

    # Judging

    def _start_judge(self) -> None:
        follower, add_job = self.follower, self.work_queue.add_job
        follower.judge.start(lambda is_news: add_job(lambda: self._on_judged(follower, is_news)))

    def _on_judged(self, follower: CommitFollower, is_news: bool) -> None:
        if follower is not self.follower:
            return  # the settings were reloaded since it began
        has_jobs = bool(self._jobs_until_judged)
        self._attempt(Trigger.JUDGED, self._run_jobs_if_judged)
        if is_news and not has_jobs:
            self._attempt_cycle({Trigger.JUDGED})
        self.publish()

    def when_judged(self, job: Callable[[], None]) -> None:
        """Run a job once the commit to follow is judged, which may be now. For the worker."""
        self._jobs_until_judged.append(job)
        self._run_jobs_if_judged()

    def _run_jobs_if_judged(self) -> None:
        if self.follower.is_judged() or self.follower.older_judged() is not None:
            jobs, self._jobs_until_judged = self._jobs_until_judged, []
            for job in jobs:
                job()

    def sync(self) -> Future[CycleResult]:
        """Fetch now; the future gets the result of the cycle after it. For the worker's thread."""
        future: Future[CycleResult] = Future()
        self.fetch_results.add_waiting([future])
        return future

    def run_cycle(
        self,
        trigger: str,
        allowed_gates: frozenset[str] = frozenset(),
        ignores_pause: bool = False,
        is_full_reading: bool = True,
    ) -> CycleResult:
        """Run a cycle now; arguments as in `CommitFollower.run_cycle`. For the worker's thread.

        Raises:
            GitvsError: the cycle failed; it is tried again soon.
        """
        started_monotonic = time.monotonic()
        now = self.ports.clock.now()
        self._end_expired()
        if ignores_pause:
            self.fetch_results.outdated_reason = ""  # an operator chose the target
        if self.fetch_results.outdated_reason:
            cycle_result = CycleResult(
                None, None, problems=tuple(self.fetch_results.source_problems)
            )
        else:
            cycle_result = self._run_locked_cycle(allowed_gates, ignores_pause, is_full_reading)
        seconds = time.monotonic() - started_monotonic
        self._reporter.report_cycle(cycle_result, trigger, now, seconds)
        if cycle_result.target is not None:
            self._triggers.watch_interface(cycle_result.target.desired.interface)
        self._timed_work.cycle_ended(cycle_result, seconds, self.follower.seconds_to_next_repair())
        self.publish()
        return cycle_result

    def _run_locked_cycle(
        self, allowed_gates: frozenset[str], ignores_pause: bool, is_full_reading: bool
    ) -> CycleResult:
        try:
            with self._write_lock.held():
                cycle_result = self.follower.run_cycle(
                    allowed_gates=allowed_gates,
                    problems=self.fetch_results.source_problems,
                    is_source_ready=self.fetch_results.is_source_ready or ignores_pause,
                    ignores_pause=ignores_pause,
                    is_full_reading=is_full_reading,
                )
                self.follower.forget_ended_operations(cycle_result)
                return cycle_result
        except GitvsError:
            self._timed_work.retry()
            raise

    def _attempt_cycle(self, triggers: Collection[str], fetch_number: int = 0) -> None:
        """Run a cycle, and try again soon if it fails.

        The result answers the requests for fetches up to `fetch_number`.
        """
        trigger, is_full_reading = (
            ", ".join(sorted(triggers)),
            not PARTIAL_READING_TRIGGERS.issuperset(triggers),
        )
        cycle_results: list[CycleResult] = []
        with log_fields(run=f"{time.time_ns() // 1_000_000:x}", director=self.summary.director):
            self._attempt(
                trigger,
                lambda: cycle_results.append(
                    self.run_cycle(trigger, is_full_reading=is_full_reading)
                ),
            )
        if not cycle_results:
            self.publish()  # a cycle that ended has done it; the answers need its reasons
        if fetch_number or (self._triggers.fetcher is None and Trigger.SYNC in triggers):
            self.fetch_results.answer_waiting(
                cycle_results[0] if cycle_results else None, fetch_number
            )
        self._notifier.report_status(self._reporter.status_line())
        if self.follower.judge.judging_since is None:
            self._attempt("pins", self.follower.keep_commits)

    def _attempt(self, trigger: str, work: Callable[[], object]) -> None:
        """Do work that may fail; report a failure, and try again soon.

        Raises:
            StoreDamaged: the agent must stop.
        """
        started_monotonic, started_at = time.monotonic(), self.ports.clock.now()
        try:
            work()
        except StoreDamaged:
            raise
        except Exception as error:  # noqa: BLE001  # a bug in one pass must not end the repairs
            self._reporter.report_failure(
                trigger, error, started_at, time.monotonic() - started_monotonic
            )
            self._timed_work.cycle_failed()

    def _end_expired(self) -> None:
        moment = self.ports.moment()
        for operation in self.ports.store.operations().all:
            if operation.is_expired(moment):
                self.ports.store.end_operation(operation)
                log.info("operation expired kind=%s subject=%s", operation.kind, operation.subject)

    def _follow_health(self) -> None:
        """Put into force what the health checks say, if it is something else than before."""
        if self.health.take_news() and not self.fetch_results.outdated_reason:
            started_monotonic = time.monotonic()
            with self._write_lock.held():
                pass_result = self.follower.run_health_pass()
            if pass_result is not None:
                seconds = time.monotonic() - started_monotonic
                self._reporter.report_health_pass(pass_result, seconds)
                if pass_result.outcome not in (Outcome.APPLIED, Outcome.CONVERGED):
                    self._timed_work.retry()
        self.publish()

    def observe(self) -> None:
        """Read the kernel for a status request. For the worker's thread."""
        self._reporter.observe_kernel()
        self.publish()

    def publish(self) -> None:
        """Publish a new status from the store. For the worker's thread."""
        self._reporter.publish(self.follower.judge.judging_since, self._hook.status)
