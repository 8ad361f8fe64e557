"""The daemon: one worker that takes turns whenever something sets one off.

Passes happen in the thread that calls `Agent.run`, one at a time, and do no network I/O.
Triggers are merged: whatever came meanwhile makes one further turn. What a turn does is the
business of `turn`, what sets it off that of `triggers`, what operators may ask that of
`orders`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from gitvs.adapters.files.directory_source import DirectorySource
from gitvs.adapters.git.remote import GitRemote
from gitvs.adapters.process.writer_lock import writer_lock
from gitvs.adapters.service.metrics import Metrics
from gitvs.adapters.service.systemd import Notifier
from gitvs.agent.cycle import ChooseDirector, Pilot, Turn, recover_at_start
from gitvs.agent.fetch_results import Intake
from gitvs.agent.fetcher import Fetched, Fetcher
from gitvs.agent.logs import log_fields
from gitvs.agent.reporting import Reporter
from gitvs.agent.triggers import Triggers
from gitvs.agent.work_queue import Inbox
from gitvs.core.errors import (
    GitvsError,
    SettingsError,
    StoreDamaged,
)
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Result
from gitvs.core.model.state import State
from gitvs.core.planning.operations import Operation
from gitvs.core.planning.ownership import scope_of
from gitvs.core.settings import RemoteSettings, Settings
from gitvs.core.status.agent_status import SourceStatus, Status
from gitvs.reconcile.one_pass import Pass, out_of_date
from gitvs.reconcile.transaction import Ports

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""How long the worker waits at a time: it looks after clocks, deadlines and the watchdog."""

DRAIN_POLL_SECONDS = 5.0
"""How often draining real servers are looked at, for those that are idle before their deadline."""

QUICK = frozenset({"new commit", "folder changed", "drain due"})
"""Triggers that are about some services: the drift timer reads all of the kernel anyway."""

SHARE_OF_TIME = 20
"""Looking at drains takes a twentieth of the time at most, however long a reading takes."""

HEARTBEAT_SECONDS = 60.0
_SHORTEST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 60.0
_MOST_DOUBLINGS = 10


class Agent:
    """The daemon of one director. Whatever writes happens in the thread that calls `run`."""

    def __init__(
        self,
        ports: Ports,
        state_dir: Path,
        load: Callable[[], Settings],
        choose: Callable[[Settings], ChooseDirector],
        notifier: Notifier,
        lock: Callable[[], AbstractContextManager[None]] = writer_lock,
    ) -> None:
        """Prepare; nothing is written or sent yet. `load` reads the settings, now and on SIGHUP.

        Raises:
            SettingsError, SourceError: these settings cannot be used.
        """
        self.ports = ports
        self.inbox = Inbox()
        self.settings = load()
        self._state_dir = state_dir
        self._load = load
        self._choose = choose
        self._notifier = notifier
        self.pilot, self._triggers = self._prepared(self.settings)
        metrics = Metrics(self.settings.metrics)
        self._reporter = Reporter(ports, metrics, SourceStatus(self._source_name()))
        self.intake = Intake(ports, self.pilot, self._triggers, self._reporter, self.inbox)
        self._make_lock = lock
        self._lock: ExitStack | None = None
        self._is_stopping = False
        self._failures = 0
        self._drains_at: float | None = None
        self._alive_at = float("-inf")
        self._ended: list[Operation] = []

    @property
    def status(self) -> Status:
        """The newest status; any thread may read it."""
        return self._reporter.status

    @property
    def summary(self) -> Status:
        """The newest status without what it says of single objects; any thread may read it."""
        return self._reporter.summary

    # Its life

    def run(self) -> None:
        """Work until `stop` is called.

        Raises:
            StoreDamaged, SettingsError, SourceError: it cannot go on.
        """
        with ExitStack() as stack:
            self._reporter.metrics.start()
            stack.callback(lambda: self._reporter.metrics.stop())
            stack.callback(self._let_go)
            self._triggers.start(self.ports.store.accepted_head())
            stack.callback(lambda: self._triggers.stop())
            self._begin()
            while not self._is_stopping:
                self._notifier.alive()
                self._work(*self.inbox.take(self._patience()))
            self._notifier.stopping()
            self._leave_sign_of_life()
        log.info("stopped")

    def stop(self) -> None:
        """Have `run` return after the pass that is under way. Safe in signal handlers."""
        self._is_stopping = True
        self.inbox.wake()

    def reload(self) -> None:
        """Read the settings anew, and fetch. Safe in signal handlers."""
        self.inbox.put("reload")

    def _begin(self) -> None:
        """Recover what was left open, take the first turn, and say that we are ready."""
        log.info("started state_dir=%s source=%s", self._state_dir, self._source_name())
        self._attempt("start", self._recover)
        if isinstance(self.pilot.source, GitRemote):
            longest = timedelta(seconds=self.settings.max_downtime_seconds)
            self.intake.out_of_date = out_of_date(self.ports, longest)
        self._turn({"start"})
        self._notifier.ready(self._reporter.in_short())
        self.intake.ask()

    def _recover(self) -> None:
        with self._writing():
            recovered = recover_at_start(self.ports)
        if recovered is not None:
            self._reporter.metrics.count_found_open()
            log.warning("recovered id=%d result=%s", recovered.id, recovered.result)

    def _work(self, triggers: frozenset[str], jobs: Iterable[Callable[[], None]]) -> None:
        """Do what has come in."""
        self._triggers.mind_clock()
        self._leave_sign_of_life()
        for job in jobs:
            self._notifier.alive()
            job()
        if "reload" in triggers:
            self._reload()
        wanted = {*triggers, *self._due()}
        if wanted and not self._is_stopping:
            self._turn(wanted)

    def _patience(self) -> float:
        """How long to wait for something to do."""
        watchdog = self._notifier.watchdog_seconds
        patience = PATIENCE_SECONDS if watchdog is None else min(PATIENCE_SECONDS, watchdog / 4)
        if self._drains_at is not None:
            patience = min(patience, self._drains_at - self.ports.clock.boottime())
        return max(patience, 0.0)

    def _due(self) -> set[str]:
        """What time itself sets off: drains to look at, and operations that are over."""
        due = set()
        if self._drains_at is not None and self.ports.clock.boottime() >= self._drains_at:
            due.add("drain due")
        now = self.ports.clock.now()
        if any(o.is_expired(now) for o in self.summary.operations.all):
            due.add("operation expired")
        return due

    def _leave_sign_of_life(self) -> None:
        """Record that we live, now and then, for `gitvs restore`."""
        now = self.ports.clock.boottime()
        is_due = now - self._alive_at >= HEARTBEAT_SECONDS or self._is_stopping
        if not is_due or self.intake.out_of_date:
            return
        self._alive_at = now
        try:
            self.ports.store.record_alive()
        except StoreDamaged:
            raise
        except GitvsError as error:
            log.warning("no sign of life recorded reason=%s", error)

    # Settings

    def _prepared(self, settings: Settings) -> tuple[Pilot, Triggers]:
        """Return what settings make of us."""
        source = settings.source
        remote = GitRemote(self._state_dir, source) if isinstance(source, RemoteSettings) else None
        folder = source if isinstance(source, Path) else Path()
        pilot = Pilot(self.ports, remote or DirectorySource(folder), self._choose(settings))
        fetcher = None if remote is None else Fetcher(remote, pilot.prepare, self._on_fetched)
        return pilot, Triggers(settings, fetcher, self.inbox)

    def _reload(self) -> None:
        """Read the settings anew; settings that cannot be used change nothing."""
        self._notifier.reloading()
        try:
            settings = self._load()
            pilot, triggers = self._prepared(settings)
            triggers.start(self.ports.store.accepted_head())
        except GitvsError as error:
            log.error("settings not reloaded reason=%s", error)
        else:
            self._triggers.stop()
            if settings.metrics != self.settings.metrics:
                self._exchange_metrics(settings)
            self.settings, self.pilot, self._triggers = settings, pilot, triggers
            self._reporter.source = SourceStatus(self._source_name())
            waiting, was_out_of_date = self.intake.leave(), self.intake.out_of_date
            self.intake = Intake(self.ports, pilot, triggers, self._reporter, self.inbox)
            self.intake.out_of_date = was_out_of_date if triggers.fetcher is not None else ""
            self.intake.wait(waiting)
            self.intake.ask()
            log.info("settings reloaded source=%s", self._source_name())
        self._notifier.ready(self._reporter.in_short())

    def _exchange_metrics(self, settings: Settings) -> None:
        self._reporter.metrics.stop()
        self._reporter.metrics = Metrics(settings.metrics)
        try:
            self._reporter.metrics.start()
        except SettingsError as error:
            log.error("no metrics reason=%s", error)

    def _source_name(self) -> str:
        source = self.pilot.source
        return source.name if isinstance(source, GitRemote) else str(self.settings.source)

    # Turns

    def _on_fetched(self, fetched: Fetched) -> None:
        """Called in the thread that fetches."""
        self.inbox.post(lambda: self._attempt("fetched", lambda: self._take_in(fetched)))

    def _take_in(self, fetched: Fetched) -> None:
        if fetched.remote is not self.pilot.source:
            return  # it was under way when other settings came
        if trigger := self.intake.take_in(fetched):
            self._turn({trigger}, answers=fetched.number)
        else:
            self.publish()

    def sync(self) -> Future[Turn]:
        """Fetch now; the future tells of the turn after it. For the worker's thread."""
        future: Future[Turn] = Future()
        self.intake.wait([future])
        return future

    def take_turn(
        self,
        trigger: str,
        allowed: frozenset[str] = frozenset(),
        ended: Iterable[Operation] = (),
        despite_pause: bool = False,
        is_all_read: bool = True,
    ) -> Turn:
        """Take a turn now; arguments as of `Pilot.take`. For the worker's thread.

        Raises:
            GitvsError: the pass could not be made; it is tried again soon.
        """
        started = time.monotonic()
        now = self.ports.clock.now()
        self._ended += [*ended, *self._end_expired(now)]  # until a pass has seen to them
        if despite_pause:
            self.intake.out_of_date = ""  # a person has said what is to be in force
        if self.intake.out_of_date:
            turn = Turn(None, None, problems=tuple(self.intake.problems))
        else:
            turn = self._taken(allowed, despite_pause, is_all_read)
        self._ended = []
        seconds = time.monotonic() - started
        self._failures = 0
        self._reporter.tell_turn(turn, trigger, now, seconds)
        if turn.target is not None:
            self._triggers.watch_interface(turn.target.desired.interface)
        if any(p.result is Result.STUCK or _is_transient(p) for p in turn.passes):
            self.inbox.put("retry", _LONGEST_RETRY_SECONDS / 4)
        self._plan_drains(seconds)
        self._reporter.publish()
        return turn

    def _taken(self, allowed: frozenset[str], despite_pause: bool, is_all_read: bool) -> Turn:
        try:
            with self._writing():
                return self.pilot.take(
                    allowed=allowed,
                    ended=self._ended,
                    problems=self.intake.problems,
                    is_source_ready=self.intake.is_ready or despite_pause,
                    despite_pause=despite_pause,
                    is_all_read=is_all_read,
                )
        except GitvsError:
            self.inbox.put("retry", _retry_seconds(self._failures + 1))
            raise

    def _turn(self, triggers: Collection[str], answers: int = 0) -> None:
        """Take a turn, and try again soon where that was impossible.

        It `answers` those who asked for a fetch up to this number.
        """
        trigger, is_all_read = ", ".join(sorted(triggers)), not QUICK.issuperset(triggers)
        outcome: list[Turn] = []
        with log_fields(run=f"{time.time_ns() // 1_000_000:x}", director=self.summary.director):
            self._attempt(
                trigger, lambda: outcome.append(self.take_turn(trigger, is_all_read=is_all_read))
            )
        if answers or (self._triggers.fetcher is None and "sync" in triggers):
            self.intake.answer(outcome[0] if outcome else None, answers)
        self._reporter.publish()
        self._notifier.status(self._reporter.in_short())

    def _attempt(self, trigger: str, work: Callable[[], object]) -> None:
        """Do something that may fail for a while; note that, and try again soon.

        Raises:
            StoreDamaged: nothing may go on.
        """
        started, at = time.monotonic(), self.ports.clock.now()
        try:
            work()
        except StoreDamaged:
            raise
        except Exception as error:  # noqa: BLE001  # a bug in one pass must not end the repairs
            self._failures += 1
            self._reporter.tell_failure(trigger, error, at, time.monotonic() - started)
            delay = _retry_seconds(self._failures)
            self.inbox.put("retry", delay)
            if self._drains_at is not None:
                self._drains_at = self.ports.clock.boottime() + delay

    def _end_expired(self, now: datetime) -> list[Operation]:
        expired = [o for o in self.ports.store.operations().all if o.is_expired(now)]
        for operation in expired:
            self.ports.store.end_operation(operation)
            log.info("operation expired kind=%s subject=%s", operation.kind, operation.subject)
        return expired

    def _plan_drains(self, seconds: float) -> None:
        """Note when draining servers are to be looked at again."""
        drains = self.ports.store.ledger(self.ports.kernel.incarnation()).drains
        if not drains:
            self._drains_at = None
            return
        now = self.ports.clock.boottime()
        regular = now + max(DRAIN_POLL_SECONDS, SHARE_OF_TIME * seconds)
        deadline = min(d.deadline_seconds for d in drains.values())
        self._drains_at = min(regular, max(deadline, now + 1.0))

    def look(self) -> None:
        """Read the kernel for whoever asks for the status. For the worker's thread."""
        applied = self.ports.store.applied()
        desired = Desired("", "gitvs0", State()) if applied is None else applied.desired
        ledger = self.ports.store.ledger(self.ports.kernel.incarnation())
        self._reporter.tell_observation(self.ports.kernel.observe(scope_of(ledger, desired)))
        self.publish()

    def publish(self) -> None:
        """Make a new status of what the store says now. For the worker's thread."""
        self._reporter.publish()

    # The right to write

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Be the only writer meanwhile, and afterwards too, unless a pause lets others write.

        Raises:
            LockHeld: another gitvs is, and which one.
        """
        if self._lock is None:
            with ExitStack() as stack:
                stack.enter_context(self._make_lock())
                self._lock = stack.pop_all()
        try:
            yield
        finally:
            if self.ports.store.operations().pause is not None:
                self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _retry_seconds(failures: int) -> float:
    """Return how long to wait after so many failures in a row."""
    doublings = min(failures, _MOST_DOUBLINGS)
    return min(_SHORTEST_RETRY_SECONDS * 2.0**doublings, _LONGEST_RETRY_SECONDS)


def _is_transient(done: Pass) -> bool:
    """Whether a pass failed for a reason that may pass by itself."""
    return done.finished is not None and done.finished.is_transient
