"""The fetch thread: the only part of the agent that uses the network.

It reports a new head, or why there is none; `fetch_results` handles the report. Passes go on
during a fetch, however long it takes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gitvs.core.errors import GitvsError, MetBug, UntrustedCommit
from gitvs.core.model.history import Commit
from gitvs.ports import FollowedSource

log = logging.getLogger(__name__)

MIN_PUSH_INTERVAL_SECONDS = 2.0
"""Shortest time from the beginning of a fetch to that of the next one for an announced push."""


@dataclass(frozen=True, slots=True)
class FetchResult:
    """The result of a fetch: a head or an error. It answers all requests up to `request_number`.

    `accepted_head` is the newest accepted commit when it began: a head descends from that.
    """

    request_number: int
    remote: FollowedSource
    head: Commit | None = None
    signed_by: str = ""
    error: GitvsError | None = None
    accepted_head: str | None = None


class Fetcher:
    """Fetches on request; requests during a fetch are merged into one more fetch.

    Pushes that are announced wait, if necessary, until `MIN_PUSH_INTERVAL_SECONDS` have passed
    since the last fetch began. A fetch serves all pushes that were announced before it.
    """

    def __init__(self, remote: FollowedSource, report: Callable[[FetchResult], None]) -> None:
        """`report` gets the result of each fetch."""
        self.remote = remote
        self.accepted_head: str | None = None
        """The newest accepted commit; the worker keeps it up to date."""
        self._report = report
        self._changed = threading.Condition()
        self._last_request = 0
        self._is_push_announced = False
        self._last_begin_monotonic = float("-inf")
        self._is_maintenance_due = False
        self._is_stopping = False
        self._verified_head = ("", "")
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; if an earlier one died, its requests are served again."""
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def request_fetch(self) -> int:
        """Ask for a fetch; return the number of this request."""
        with self._changed:
            self._last_request += 1
            self._changed.notify()
            return self._last_request

    def announce_push(self) -> None:
        """Ask for a fetch after a push, soon. Any thread may call it, as often as it likes."""
        with self._changed:
            self._is_push_announced = True
            self._changed.notify()

    def request_maintenance(self) -> None:
        """Ask for maintenance of the local copy after the next fetch."""
        self._is_maintenance_due = True

    def stop(self) -> None:
        """Stop fetching. A fetch that is under way runs to its end."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def _run(self) -> None:
        last_served = 0
        while True:
            with self._changed:
                while self._last_request == last_served and not self._is_stopping:
                    seconds = self._seconds_to_push()
                    if seconds is not None and seconds <= 0:
                        break
                    self._changed.wait(seconds)
                if self._is_stopping:
                    return
                last_served, self._is_push_announced = self._last_request, False
                self._last_begin_monotonic = time.monotonic()
            self._report(self._fetch(last_served))
            self._maintain()

    def _seconds_to_push(self) -> float | None:
        """Return how long an announced push has to wait; None: none is announced."""
        if not self._is_push_announced:
            return None
        return self._last_begin_monotonic + MIN_PUSH_INTERVAL_SECONDS - time.monotonic()

    def _fetch(self, request_number: int) -> FetchResult:
        accepted_head = self.accepted_head
        try:
            head = self.remote.fetch(accepted_head)
            assert head is not None, "a remote has commits"
            signer = self._signer(head)
            return FetchResult(
                request_number, self.remote, head, signer, accepted_head=accepted_head
            )
        except GitvsError as error:
            return FetchResult(request_number, self.remote, error=error)
        except Exception as error:  # a bug here must not end the fetching for ever
            log.exception("fetch met a bug")
            bug = MetBug("nothing was fetched", error)
            return FetchResult(request_number, self.remote, error=bug)

    def _signer(self, head: Commit) -> str:
        """Return who signed an accepted head; empty if the signature is no longer trusted."""
        if self._verified_head[0] != head.id:
            try:
                self._verified_head = (head.id, self.remote.verify_signature(head.id))
            except UntrustedCommit:
                self._verified_head = (head.id, "")
        return self._verified_head[1]

    def _maintain(self) -> None:
        if not self._is_maintenance_due:
            return
        self._is_maintenance_due = False
        try:
            self.remote.maintain()
        except GitvsError as error:
            log.warning("maintenance failed reason=%s", error)
        except Exception:  # a bug here must not end the fetching for ever
            log.exception("maintenance met a bug")
