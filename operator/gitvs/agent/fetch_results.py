"""What the source has said so far, and who waits for its next word. For the worker's thread.

A fetch that ended becomes the newest accepted commit here, or a problem that is told. One
intake belongs to one reading of the settings.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from gitvs.adapters.git.remote import GitRemote
from gitvs.agent.cycle import Pilot, Turn
from gitvs.agent.fetcher import Fetched
from gitvs.agent.reporting import Reporter
from gitvs.agent.triggers import Triggers
from gitvs.agent.work_queue import Inbox
from gitvs.core.errors import GitvsError, RewrittenBranch, SourceError
from gitvs.core.model.history import Commit
from gitvs.core.status.agent_status import SourceStatus
from gitvs.reconcile.transaction import Ports

log = logging.getLogger(__name__)


class Intake:
    """Takes in what the fetch job brings."""

    def __init__(
        self, ports: Ports, pilot: Pilot, triggers: Triggers, reporter: Reporter, inbox: Inbox
    ) -> None:
        self._ports = ports
        self._pilot = pilot
        self._triggers = triggers
        self._reporter = reporter
        self._inbox = inbox
        self._waiting: list[tuple[int, Future[Turn]]] = []
        self._has_heard = triggers.fetcher is None
        self.out_of_date = ""
        """Why nothing may be done before the source has answered; empty where it may."""

    @property
    def is_ready(self) -> bool:
        """Whether the source has something to say: it was heard, and is not being written."""
        return self._has_heard and self._triggers.is_at_rest()

    @property
    def problems(self) -> list[GitvsError]:
        """What keeps newer commits away before anything is read: a remote without an answer."""
        error = self._reporter.source.error
        found: list[GitvsError] = [SourceError(error)] if error else []
        if self.out_of_date:
            found.append(
                SourceError(
                    f"nothing is done before the source answers: {self.out_of_date}. To bring back"
                    " what was applied all the same: `gitvs rollback COMMIT`"
                )
            )
        return found

    def ask(self) -> None:
        """Have the remote fetched from, if there is one."""
        if self._triggers.fetcher is not None:
            self._triggers.fetcher.ask()

    def take_in(self, fetched: Fetched) -> str:
        """Make a new head the accepted one; return what that sets off, or nothing.

        Raises:
            StoreError: it could not be recorded; the next fetch brings it again.
        """
        if self._was_accepted_meanwhile(fetched):
            self.ask()
            return ""
        try:
            return self._note(fetched)
        finally:
            at = self._triggers.poll_later(self._reporter.source.failures)
            self._reporter.source = replace(self._reporter.source, next_at=at)

    def _was_accepted_meanwhile(self, fetched: Fetched) -> bool:
        """Whether a branch was refused as rewritten, and a person has said otherwise since."""
        error = fetched.error
        return isinstance(error, RewrittenBranch) and (
            error.accepted != self._ports.store.accepted_head()
        )

    def _note(self, fetched: Fetched) -> str:
        former = self._reporter.source
        if fetched.head is None:
            failures = former.failures + 1
            source = replace(former, failures=failures, error=str(fetched.error))
            self._reporter.metrics.count_failure("source")
            log.warning("not fetched failures=%d reason=%s", failures, fetched.error)
        else:
            now = self._ports.clock.now()
            source = SourceStatus(former.name, fetched.head, fetched.signed_by, now)
            self._accept(fetched.head)
            self.out_of_date = ""
        self._reporter.source = source
        is_first, self._has_heard = not self._has_heard, True
        if source.head != former.head:
            return "new commit"
        if any(number <= fetched.number for number, _ in self._waiting):
            return "sync"
        return "remote" if is_first or bool(source.error) != bool(former.error) else ""

    def _accept(self, head: Commit) -> None:
        if head.id == self._ports.store.accepted_head():
            return
        self._pilot.accept(head)
        if self._triggers.fetcher is not None:
            self._triggers.fetcher.accepted = head.id
        log.info("fetched commit=%s subject=%r", head.id, head.subject)

    def accept_rewrite(self, commit_id: str) -> Commit:
        """Follow a branch that was rewritten; return its commit.

        Raises:
            SourceError: it is not on the branch, or not to be trusted.
        """
        source = self._pilot.source
        if not isinstance(source, GitRemote):
            raise SourceError("the manifests come from a folder, which has no history")
        commit = source.accept_rewrite(commit_id)
        self._accept(commit)
        signed_by, now = source.verify(commit.id), self._ports.clock.now()
        self._reporter.source = SourceStatus(source.name, commit, signed_by, now)
        return commit

    def wait(self, futures: Sequence[Future[Turn]]) -> None:
        """Fetch now, and have these told of the turn after it."""
        fetcher = self._triggers.fetcher
        for future in futures:
            self._waiting.append((0 if fetcher is None else fetcher.ask(), future))
        if fetcher is None and futures:
            self._inbox.put("sync")

    def leave(self) -> list[Future[Turn]]:
        """Return those who still wait, for another intake to see to."""
        waiting, self._waiting = self._waiting, []
        return [future for _, future in waiting]

    def answer(self, turn: Turn | None, number: int) -> None:
        """Tell those who asked for a fetch up to this number what came of it."""
        answered = [future for asked, future in self._waiting if asked <= number]
        self._waiting = [entry for entry in self._waiting if entry[0] > number]
        for future in answered:
            if turn is not None:
                future.set_result(turn)
            else:
                last = self._reporter.summary.last
                reasons = last.problems if last is not None else ()
                future.set_exception(SourceError("; ".join(reasons) or "nothing could be done"))
