"""The results of fetches, and the requests that wait for one. For the worker's thread.

Turns the result of a fetch into the newest accepted commit or a reported problem. One
`FetchResults` belongs to one version of the settings.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from gitvs.agent.cycle import CommitFollower
from gitvs.agent.cycle_result import CycleResult
from gitvs.agent.fetcher import FetchResult
from gitvs.agent.reporting import Reporter
from gitvs.agent.triggers import Triggers
from gitvs.agent.work_queue import Trigger, WorkQueue
from gitvs.core.errors import GitvsError, RewrittenBranch, SourceError
from gitvs.core.model.history import Commit
from gitvs.core.status.agent_status import SourceStatus
from gitvs.ports import Ports

log = logging.getLogger(__name__)


class FetchResults:
    """Handles what the fetcher reports."""

    def __init__(
        self,
        ports: Ports,
        follower: CommitFollower,
        triggers: Triggers,
        reporter: Reporter,
        work_queue: WorkQueue,
    ) -> None:
        self._ports = ports
        self._follower = follower
        self._triggers = triggers
        self._reporter = reporter
        self._work_queue = work_queue
        self._waiting_syncs: list[tuple[int, Future[CycleResult]]] = []
        self._has_source_answered = triggers.fetcher is None
        self.outdated_reason = ""
        """Why nothing may be applied before the source has answered; empty if it may."""

    @property
    def is_source_ready(self) -> bool:
        """Whether the source can be read: it has answered, and is not being written."""
        return self._has_source_answered and self._triggers.is_folder_at_rest()

    @property
    def source_problems(self) -> list[GitvsError]:
        """Why newer commits are missing, known before anything is read.

        The remote failed, or the folder is being written.
        """
        error = self._reporter.source_status.error or self._triggers.folder_problem
        found: list[GitvsError] = [SourceError(error)] if error else []
        if self.outdated_reason:
            found.append(
                SourceError(
                    f"nothing is done before the source answers: {self.outdated_reason}."
                    " To restore the applied state anyway: `gitvs rollback COMMIT`"
                )
            )
        return found

    def request_fetch(self) -> None:
        """Ask for a fetch, if there is a remote."""
        if self._triggers.fetcher is not None:
            self._triggers.fetcher.request_fetch()

    def handle(self, fetch_result: FetchResult) -> Trigger | None:
        """Accept a new head; return the trigger that follows from it, or None.

        Raises:
            StoreError: it could not be recorded; the next fetch brings it again.
        """
        if self._is_outdated(fetch_result):
            self._tell_accepted_head()
            self.request_fetch()
            return None
        try:
            return self._record(fetch_result)
        finally:
            poll_at = self._triggers.schedule_poll(self._reporter.source_status.failure_count)
            self._reporter.source_status = replace(
                self._reporter.source_status, next_fetch_at=poll_at
            )

    def _is_outdated(self, fetch_result: FetchResult) -> bool:
        """Whether another head was accepted since the fetch began, which it has to descend from.

        Its own head may come from a rewritten branch, and what it rejected as rewritten may have
        been accepted by an operator.
        """
        error, accepted_head = fetch_result.error, self._ports.store.accepted_head()
        if fetch_result.head is not None:
            is_newer = fetch_result.head.id != accepted_head
            return is_newer and fetch_result.accepted_head != accepted_head
        return isinstance(error, RewrittenBranch) and error.accepted != accepted_head

    def _record(self, fetch_result: FetchResult) -> Trigger | None:
        previous = self._reporter.source_status
        if fetch_result.head is None:
            failures = previous.failure_count + 1
            source_status = replace(previous, failure_count=failures, error=str(fetch_result.error))
            self._reporter.metrics.count_failure("source")
            log.warning("not fetched failures=%d reason=%s", failures, fetch_result.error)
        else:
            now = self._ports.clock.now()
            source_status = SourceStatus(
                previous.name, fetch_result.head, fetch_result.signed_by, now
            )
            self._accept_head(fetch_result.head)
            self.outdated_reason = ""
        self._reporter.source_status = source_status
        is_first, self._has_source_answered = not self._has_source_answered, True
        if source_status.head != previous.head:
            return Trigger.NEW_COMMIT
        if any(number <= fetch_result.request_number for number, _ in self._waiting_syncs):
            return Trigger.SYNC
        is_other = is_first or bool(source_status.error) != bool(previous.error)
        return Trigger.REMOTE if is_other else None

    def _accept_head(self, head: Commit) -> None:
        is_news = head.id != self._ports.store.accepted_head()
        if is_news:
            self._follower.accept_head(head)
        self._tell_accepted_head()
        if is_news:
            log.info("fetched commit=%s subject=%r", head.id, head.subject)

    def _tell_accepted_head(self) -> None:
        """Compare the next fetch with the recorded head, which another process may have changed."""
        if self._triggers.fetcher is not None:
            self._triggers.fetcher.accepted_head = self._ports.store.accepted_head()

    def accept_rewrite(self, commit_id: str) -> Commit:
        """Follow a branch that was rewritten; return its commit.

        Raises:
            SourceError: the commit is not on the branch, or is not trusted.
        """
        source = self._follower.source
        commit = source.check_rewritten_commit(commit_id)
        self._accept_head(commit)
        signed_by, now = source.verify_signature(commit.id), self._ports.clock.now()
        self._reporter.source_status = SourceStatus(source.name, commit, signed_by, now)
        return commit

    def add_waiting(self, futures: Sequence[Future[CycleResult]]) -> None:
        """Fetch now; these futures get the result of the cycle after it."""
        fetcher = self._triggers.fetcher
        for future in futures:
            self._waiting_syncs.append((0 if fetcher is None else fetcher.request_fetch(), future))
        if fetcher is None and futures:
            self._work_queue.add_trigger(Trigger.SYNC)

    def remove_waiting(self) -> list[Future[CycleResult]]:
        """Remove and return the futures that still wait, for the next `FetchResults`."""
        waiting, self._waiting_syncs = self._waiting_syncs, []
        return [future for _, future in waiting]

    def answer_waiting(self, cycle_result: CycleResult | None, fetch_number: int) -> None:
        """Answer the requests for fetches up to `fetch_number`; None if the cycle failed."""
        answered = [
            future
            for request_number, future in self._waiting_syncs
            if request_number <= fetch_number
        ]
        self._waiting_syncs = [entry for entry in self._waiting_syncs if entry[0] > fetch_number]
        for future in answered:
            if cycle_result is not None:
                future.set_result(cycle_result)
            else:
                last_pass = self._reporter.summary.last_pass
                reasons = last_pass.problems if last_pass is not None else ()
                future.set_exception(SourceError("; ".join(reasons) or "nothing could be done"))
