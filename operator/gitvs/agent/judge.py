"""The judge: reads, checks and renders commits, or a folder, in a thread of its own.

The worker never judges. It continues with the applied commit until a judgement is there.
If judging raises, hangs or needs too much memory, only that commit is affected. A newer commit
ends the judging of an older one at the checkpoints of `core.manifests`. Every fourth commit is
judged to the end, so that some are applied even if commits arrive faster than they are judged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice

from gitvs.adapters.process.deadline import Deadline
from gitvs.core.allowances import Allowance, parse_allowances
from gitvs.core.checkpoint import Checkpoint, TookTooLong, checked
from gitvs.core.errors import (
    GitvsError,
    MetBug,
    SourceError,
    UnknownDirector,
    UnusableManifests,
    forked_earlier_text,
)
from gitvs.core.manifests.file_cache import validate_file_compactly
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.render import Renderer
from gitvs.core.model.desired import Desired
from gitvs.core.planning.gates import FoundLifts, find_lifts, unknown_gate_warnings
from gitvs.core.problems import InvalidManifests, printable
from gitvs.ports import Applied, FollowedSource, Snapshot
from gitvs.report.text.counts import count_text

log = logging.getLogger(__name__)

MAX_SKIPPED_LOGGED = 20

MAX_MESSAGES_FOR_WARNINGS = 1000
"""How many messages are read if no gate asks for them."""

TEMPORARY_ERRORS = (OSError, MemoryError)
"""Errors from a lack of disk, descriptors, processes or memory; the next try may succeed."""

MAX_DROPPED_IN_A_ROW = 3
"""After this many judgings in a row were dropped for newer commits, the next one is finished."""

ChooseDirector = Callable[[Collection[str]], str]
"""Picks this host's director among those that have a document, or raises UnknownDirector."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged: a commit, after the commit `base_id`; without a commit, the folder.

    A trusted commit is one that an operator chose; its signature is not checked again. `reading`
    counts how often the folder was read.
    """

    commit_id: str | None = None
    base_id: str | None = None
    is_trusted: bool = False
    reading: int = 0
    base: Desired | None = field(default=None, hash=False, repr=False)
    """The desired state that is applied, to find the commits that lift gates of the step."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a subject means for this director, or why it means nothing.

    `found_lifts` are the commits since the base whose messages lift gates. If it is not final,
    the same subject may be judged otherwise the next time.
    """

    rendered: Applied | GitvsError
    found_lifts: FoundLifts = field(default_factory=FoundLifts)
    is_final: bool = True
    seconds: float = 0.0

    def is_same(self, other: Judgement) -> bool:
        """Whether this judgement has the same consequences as the other."""
        mine, its = self.rendered, other.rendered
        if isinstance(mine, GitvsError) or isinstance(its, GitvsError):
            # A temporary error may name another temporary file each time.
            is_temporary = not (self.is_final or other.is_final)
            return type(mine) is type(its) and (is_temporary or str(mine) == str(its))
        return (mine.desired, mine.commit) == (its.desired, its.commit) and (
            self.found_lifts == other.found_lifts
        )


class NotYetJudged(GitvsError):
    """A commit that is being read and checked; until then, the applied state stays in force."""

    def __init__(self, commit_id: str | None) -> None:
        what = "the folder" if commit_id is None else f"commit {commit_id[:12]}"
        super().__init__(f"{what} is not yet judged. Until then, the applied state stays in force")


class _Superseded(Exception):
    """The judging was dropped: a newer commit is waiting, or the agent stops."""


def as_problem(what: str, error: Exception) -> GitvsError:
    """Return an error as a problem; an unexpected one is logged, with its traceback, as a bug."""
    if isinstance(error, GitvsError):
        return error
    log.error("met a bug what=%r", what, exc_info=error)
    return MetBug(what, error)


class Judge:
    """Judges the newest subject that was asked for; keeps the newest judgement.

    Until `start` is called, it judges in the thread that asks.
    """

    def __init__(self, source: FollowedSource, choose_director: ChooseDirector) -> None:
        self.source = source
        self._choose_director = choose_director
        self._loader = Loader(validate_file_compactly)
        self._renderer = Renderer()
        self._rendered: tuple[str, Applied | GitvsError] | None = None
        """The newest commit as rendered, or its error: it never changes, and takes long."""
        self._allowances: dict[str, tuple[Allowance, ...]] = {}
        """The gates lifted by the messages of commits newer than the applied one."""
        self._lifting_commits: dict[str, Applied | GitvsError] = {}
        """The commits whose lines lifted gates last, as rendered."""
        self._latest: tuple[Subject, Judgement] | None = None
        self._changed = threading.Condition()
        self._wanted: Subject | None = None
        self._current: Subject | None = None
        self._dropped_in_a_row = 0
        self._was_kept_up = False
        """Whether the last judging was not dropped although a newer commit was waiting."""
        self._started_at: datetime | None = None
        self._is_stopping = False
        self._report: Callable[[bool], None] | None = None
        self._thread: threading.Thread | None = None

    def apart(self) -> Judge:
        """Return another judge, for the thread that asks; the two share nothing that changes.

        For what an operator waits for, such as which older commit differs.
        """
        return Judge(self.source, self._choose_director)

    def start(self, report: Callable[[bool], None]) -> None:
        """Start the thread; `report` is called after each judgement, with True if it is new."""
        self._report = report
        self._thread = threading.Thread(target=self._run, name="judge", daemon=True)
        self._thread.start()

    def restart_if_dead(self) -> None:
        """Start the thread again if it has ended by itself; it judges its last commit again."""
        if self._thread is None or self._thread.is_alive() or self._is_stopping:
            return
        log.error("judge ended unexpectedly, started again")
        self._wanted, self._current = self._wanted or self._current, None
        assert self._report is not None, "it was started"
        self.start(self._report)

    def stop(self) -> None:
        """End the thread; what is being judged is dropped at its next checkpoint."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def request(self, subject: Subject) -> None:
        """Ask for a judgement; what is being judged is dropped if it is something else.

        It ends first if `MAX_DROPPED_IN_A_ROW` were dropped before it.
        """
        if self._report is None:
            self._latest = subject, self._judge(subject, Deadline())
            return
        with self._changed:
            if subject != self._current or self._wanted is not None:
                self._wanted = subject
                self._started_at = datetime.now(UTC)
                self._changed.notify()

    def forget_failure(self) -> None:
        """Have what failed judged again, because an operator asks for it."""
        rendered, latest = self._rendered, self._latest
        if rendered is not None and isinstance(rendered[1], GitvsError):
            self._rendered = None
        if latest is not None and isinstance(latest[1].rendered, GitvsError):
            self._latest = None

    def judgement_of(self, subject: Subject) -> Judgement | None:
        """Return the judgement of a subject; of a folder, that of its newest reading."""
        latest = self._latest
        if latest is None or replace(latest[0], reading=0) != replace(subject, reading=0):
            return None
        return latest[1]

    def is_judged(self, subject: Subject) -> bool:
        """Whether exactly this is judged."""
        latest = self._latest
        return latest is not None and latest[0] == subject

    def judged_instead_of(self, subject: Subject) -> Subject | None:
        """Return what was judged last, if newer commits had kept several from being judged.

        It differs from the subject in its commit alone, and could be applied; else None.
        """
        if self._latest is None or not self._was_kept_up or self.judgement_of(subject) is not None:
            return None
        found, judgement = self._latest
        is_usable = isinstance(judgement.rendered, Applied) and found.commit_id != found.base_id
        is_alike = found == replace(subject, commit_id=found.commit_id)
        return found if is_usable and is_alike else None

    def rendered(self, commit_id: str) -> Applied | GitvsError | None:
        """Return a commit as rendered, or its error; None if it was not judged lately."""
        rendered = self._rendered
        return rendered[1] if rendered is not None and rendered[0] == commit_id else None

    @property
    def judging_since(self) -> datetime | None:
        """When the judging that is under way began."""
        return self._started_at

    def _run(self) -> None:
        """Judge what is asked for until `stop` is called."""
        while True:
            with self._changed:
                while self._wanted is None and not self._is_stopping:
                    self._changed.wait()
                if self._is_stopping:
                    return
                self._current, self._wanted = self._wanted, None
                subject = self._current
            assert subject is not None
            deadline = Deadline()
            try:
                judgement: Judgement | None = self._judge(subject, partial(self._check, deadline))
            except _Superseded:
                judgement = None
                log.info("judging dropped commit=%s", subject.commit_id)
            is_last_chance = self._dropped_in_a_row >= MAX_DROPPED_IN_A_ROW
            self._dropped_in_a_row = self._dropped_in_a_row + 1 if judgement is None else 0
            with self._changed:
                self._current = None
                if self._wanted is None:
                    self._started_at = None
                earlier = self.judgement_of(subject)
                if judgement is not None:
                    self._latest = subject, judgement
                    self._was_kept_up = is_last_chance and self._wanted is not None
            if judgement is not None and self._report is not None:
                self._report(earlier is None or not judgement.is_same(earlier))

    def _check(self, deadline: Deadline) -> None:
        may_be_dropped = self._dropped_in_a_row < MAX_DROPPED_IN_A_ROW
        if self._is_stopping or (self._wanted is not None and may_be_dropped):
            raise _Superseded
        deadline()

    def _judge(self, subject: Subject, checkpoint: Checkpoint) -> Judgement:
        started_monotonic = time.monotonic()
        try:
            judgement = self._judge_subject(subject, checkpoint)
        except _Superseded:
            raise
        except TookTooLong as error:
            judgement = Judgement(UnusableManifests(f"{_name_of(subject)}: {error}"))
        except GitvsError as error:
            judgement = Judgement(error, is_final=False)
        except TEMPORARY_ERRORS as error:
            reason = str(error) or type(error).__name__
            problem = SourceError(
                f"{_name_of(subject)} was not read: {reason}; the next cycle tries it again"
            )
            judgement = Judgement(problem, is_final=False)
        except Exception as error:  # noqa: BLE001  # a bug that a commit meets is its problem
            judgement = Judgement(as_problem(f"{_name_of(subject)} was not read", error))
        return replace(judgement, seconds=time.monotonic() - started_monotonic)

    def _judge_subject(self, subject: Subject, checkpoint: Checkpoint) -> Judgement:
        commit_id = subject.commit_id
        if commit_id is None:
            with self.source.manifests_of(None).open_snapshot() as snapshot:
                return Judgement(self._render(snapshot, checkpoint))
        if not subject.is_trusted and commit_id != subject.base_id:
            self.source.verify_signature(commit_id)
        rendered = self.rendered(commit_id)
        if rendered is None:
            rendered = self._render_commit(commit_id, checkpoint)
            self._rendered = commit_id, rendered
        if isinstance(rendered, GitvsError) or commit_id == subject.base_id or subject.base is None:
            return Judgement(rendered)
        found_lifts = self._find_lifts(subject, rendered, subject.base, checkpoint)
        unknown_gates = unknown_gate_warnings(self._allowances.items())
        rendered = replace(rendered, warnings=(*rendered.warnings, *unknown_gates))
        return Judgement(rendered, found_lifts, is_final=not found_lifts.uncounted)

    def _render_commit(self, commit_id: str, checkpoint: Checkpoint) -> Applied | GitvsError:
        """Return a commit as rendered, or its error.

        Raises:
            GitvsError, OSError, MemoryError: what may be otherwise the next time.
        """
        with self.source.manifests_of(commit_id).open_snapshot() as snapshot:
            try:
                return self._render(snapshot, checkpoint)
            except (InvalidManifests, UnknownDirector, UnusableManifests) as error:
                return error
            except (_Superseded, GitvsError, *TEMPORARY_ERRORS):
                raise
            except Exception as error:  # noqa: BLE001  # a bug that a commit meets is its problem
                return as_problem(f"{_name_of(Subject(commit_id))} was not read", error)

    def _render(self, snapshot: Snapshot, checkpoint: Checkpoint) -> Applied:
        for name in snapshot.skipped[:MAX_SKIPPED_LOGGED]:
            log.warning("left out path=%s reason=link-or-submodule", printable(name))
        if len(snapshot.skipped) > MAX_SKIPPED_LOGGED:
            log.warning("left out more count=%d", len(snapshot.skipped) - MAX_SKIPPED_LOGGED)
        manifests = self._loader.load(snapshot.files, checkpoint)
        director = self._choose_director(manifests.director_names)
        try:
            desired = self._renderer.render(manifests, director, checkpoint)
        except TookTooLong as error:
            raise UnusableManifests(f"rendering director {director}: {error}") from error
        return Applied(desired, snapshot.commit, datetime.now(UTC), manifests.warnings)

    def _find_lifts(
        self, subject: Subject, head: Applied, base: Desired, checkpoint: Checkpoint
    ) -> FoundLifts:
        """Return the commits since the base whose messages lift the gates of this step.

        Only a commit counts that could have been applied itself: one that descends from the
        base, is signed and is valid.
        """
        known_allowances, self._allowances = self._allowances, {}
        known_states, self._lifting_commits = self._lifting_commits, {}

        def desired_at(commit_id: str) -> Desired | str:
            base_id, is_head = subject.base_id, commit_id == head.commit_id
            if not (base_id is None or is_head or self.source.is_ancestor(base_id, commit_id)):
                return forked_earlier_text(base_id)
            try:
                self.source.verify_signature(commit_id)
            except SourceError as error:
                return str(error)
            found = head if commit_id == head.commit_id else known_states.get(commit_id)
            try:
                found = found or self._render_commit(commit_id, checkpoint)
            except (GitvsError, *TEMPORARY_ERRORS) as error:
                return str(error) or type(error).__name__
            if isinstance(found, Applied | InvalidManifests | UnknownDirector):
                self._lifting_commits[commit_id] = found  # others may be temporary
            if isinstance(found, InvalidManifests):
                return f"it is invalid ({count_text(len(found.problems), 'problem')})"
            return str(found) if isinstance(found, GitvsError) else found.desired

        allowances = self._allowances_since(subject, known_allowances, checkpoint)
        found_lifts = find_lifts(base, head.desired, (), allowances, desired_at)
        with suppress(SourceError):  # only a warning is missing then
            # Lines that no gate asks for are read too, since a preview warns of them as well.
            deque(islice(allowances, MAX_MESSAGES_FOR_WARNINGS), maxlen=0)
        return found_lifts

    def _allowances_since(
        self, subject: Subject, known: Mapping[str, tuple[Allowance, ...]], checkpoint: Checkpoint
    ) -> Iterator[tuple[str, tuple[Allowance, ...]]]:
        """Yield what the commits since the base allow, the newest first; a message is read once."""
        manifests = self.source.manifests_of(subject.commit_id)
        for commit_id, message in checked(
            manifests.commit_messages(subject.base_id, known), checkpoint
        ):
            found = known.get(commit_id)
            if found is None:
                found = tuple(parse_allowances(message))
            self._allowances[commit_id] = found
            yield commit_id, found


def _name_of(subject: Subject) -> str:
    return "the folder" if subject.commit_id is None else f"commit {subject.commit_id[:12]}"
