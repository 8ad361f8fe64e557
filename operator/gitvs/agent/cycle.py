"""One turn: what the source and the operators say, made into one pass.

Whatever keeps the newest commit from being applied (no answer from the remote, invalid
manifests, a gate, a quarantine), the applied commit stays in force: drift is repaired, and
drains end. When a turn is taken is the business of `agent`, what a pass does that of
`reconcile`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from gitvs.adapters.files.directory_source import DirectorySource
from gitvs.adapters.git.remote import GitRemote
from gitvs.core.errors import GitvsError, Quarantined, SourceError, UnknownDirector
from gitvs.core.manifests.file_cache import read_small
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.render import Renderer
from gitvs.core.model.history import Commit, Result
from gitvs.core.model.resources import Key
from gitvs.core.planning.gates import allowed_gates, unknown_gates
from gitvs.core.planning.operations import Operation, Operations, ended_by, touched
from gitvs.core.problems import InvalidManifests, printable
from gitvs.ports import Applied, Snapshot
from gitvs.reconcile.one_pass import Options, Pass, out_of_date, reconcile
from gitvs.reconcile.transaction import Finished, Ports, in_short, recover

log = logging.getLogger(__name__)

TRIES = 3
"""How often a commit's transaction may be found open at start before it is quarantined."""

ChooseDirector = Callable[[Collection[str]], str]
"""Picks this host's director among those that have a document, or raises UnknownDirector."""

NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Turn:
    """How a turn ended. `target` is what the pass was for, or None if there was none.

    `problems` are what kept the newest commit from being applied, but for gates. `held` is the
    further pass for the applied commit where the newest one was blocked.
    """

    done: Pass | None
    target: Applied | None
    recovered: Finished | None = None
    problems: tuple[GitvsError, ...] = ()
    held: Pass | None = None
    load_seconds: float = 0.0
    """How long reading, validating and rendering took."""

    @property
    def passes(self) -> tuple[Pass, ...]:
        """Every pass of this turn, in order."""
        return tuple(p for p in (self.done, self.held) if p is not None)


class NothingFetched(SourceError):
    """No commit ever came from the remote."""


@dataclass(slots=True)
class Pilot:
    """Decides what each turn is for, and takes it. For one thread."""

    ports: Ports
    source: GitRemote | DirectorySource
    choose: ChooseDirector
    _rendered: dict[str, Applied | GitvsError] = field(default_factory=dict)
    """What the newest commit says, or is wrong with it: that never changes, and takes time."""
    _last: Pass | None = None
    """The last pass, if it came to a good end; others may have written since."""
    _loader: Loader = field(default_factory=lambda: Loader(read_small))
    _renderer: Renderer = field(default_factory=Renderer)

    def prepare(self, commit_id: str) -> None:
        """Read, validate and render a commit that was fetched, in any thread, to have it ready.

        One that nobody may use is not even read; a turn that wants it says why.
        """
        assert isinstance(self.source, GitRemote), "only a remote has commits"
        with suppress(SourceError):
            self.source.verify(commit_id)
            self._what_it_says(commit_id)

    def accept(self, head: Commit) -> None:
        """Record a commit that was fetched: from now on only its descendants are accepted."""
        self.ports.store.accept_head(head.id)
        self.keep()

    def keep(self) -> None:
        """Keep the commits that matter in our copy, whatever becomes of the branch."""
        if isinstance(self.source, GitRemote):
            applied, pin = self.ports.store.applied(), self.ports.store.operations().pin
            wanted = (
                self.ports.store.accepted_head(),
                None if applied is None else applied.commit_id,
                None if pin is None else pin.subject,
            )
            self.source.keep(commit_id for commit_id in wanted if commit_id is not None)

    def take(
        self,
        *,
        allowed: frozenset[str] = NOBODY,
        ended: Iterable[Operation] = (),
        problems: Iterable[GitvsError] = (),
        is_source_ready: bool = True,
        despite_pause: bool = False,
        is_all_read: bool = True,
    ) -> Turn:
        """Bring this host to what it may have now.

        `allowed` are gates that a person lifts, `ended` the operations that were just taken
        back, `problems` what is known already to keep the newest commit away. A source that is
        not ready is being written: it has nothing to say yet. `despite_pause` is for what a
        person asks for while it is paused. Unless all of the kernel is to be read, the last
        pass is built upon where it can be.

        Raises:
            KernelUnavailable, KernelUnreadable, StoreError: nothing more was written.
        """
        last, self._last = self._last, None
        operations = self.ports.store.operations()
        if operations.pause is not None and not despite_pause:
            return self._pause(operations, ended)
        met = list(problems)
        if not is_source_ready:
            return Turn(self._hold(), self.ports.store.applied(), problems=tuple(met))
        began_at = self.ports.clock.boottime()
        try:
            target, said = self._wanted(operations)
        except GitvsError as error:
            if not (met and isinstance(error, NothingFetched)):
                met.append(error)
            return Turn(self._hold(), self.ports.store.applied(), problems=tuple(met))
        load_seconds = self.ports.clock.boottime() - began_at
        options = Options(allowed | said, is_all_read=is_all_read)
        done = reconcile(self.ports, target, options, last)
        held = None
        if done.result is Result.CONVERGED:
            self._last = done
        elif done.result is Result.APPLIED:
            self._last = replace(done, survey=None)  # what was there before is large
        if done.result is Result.ROLLED_BACK:
            self._quarantine(target, done)
        elif done.result is Result.BLOCKED:
            held = self._hold()
        elif done.result in (Result.APPLIED, Result.CONVERGED) and operations.pin is None:
            self._end_what_git_says(target, operations)
        return Turn(done, target, problems=tuple(met), held=held, load_seconds=load_seconds)

    def _wanted(self, operations: Operations) -> tuple[Applied, frozenset[str]]:
        """Return what is to be in force, and the gates that its commits lift.

        Raises:
            NothingFetched: there is nothing to go by.
            SourceError, Quarantined, InvalidManifests, UnknownDirector.
        """
        if isinstance(self.source, DirectorySource):
            return self._target(self.source.load()), NOBODY
        applied = self.ports.store.applied()
        in_force = None if applied is None else applied.commit_id
        pin = operations.pin
        commit_id = pin.subject if pin is not None else self.ports.store.accepted_head()
        if commit_id is None:
            raise NothingFetched("no commit was fetched yet, so there is nothing to go by")
        if commit_id != in_force and pin is None:
            self._refuse_quarantined(commit_id)
            self.source.verify(commit_id)
        if pin is not None and applied is not None and commit_id == in_force:
            return applied, NOBODY
        says = self._what_it_says(commit_id)
        if isinstance(says, GitvsError):
            raise says
        target = replace(says, at=self.ports.clock.now())
        if commit_id == in_force:
            return target, NOBODY
        said = allowed_gates(
            self.source.source(commit_id).messages(in_force), target.desired.director
        )
        for name in unknown_gates(said):
            log.warning("unknown gate commit=%s name=%s", commit_id, printable(name))
        return target, said

    def _what_it_says(self, commit_id: str) -> Applied | GitvsError:
        """Return what a commit says for this director, or why it says nothing."""
        assert isinstance(self.source, GitRemote)
        known = self._rendered.get(commit_id)
        if known is not None:
            return known
        try:
            with self.source.source(commit_id).opened() as snapshot:
                says: Applied | GitvsError = self._target(snapshot)
        except (InvalidManifests, UnknownDirector) as error:
            says = error
        except GitvsError as error:  # it may pass
            return error
        self._rendered = {commit_id: says}
        return says

    def _target(self, snapshot: Snapshot) -> Applied:
        for name in snapshot.skipped:
            log.warning("left out path=%s reason=link-or-submodule", printable(name))
        manifests = self._loader.load(snapshot.files)
        desired = self._renderer.render(manifests, self.choose(manifests.directors))
        return Applied(desired, snapshot.commit, self.ports.clock.now())

    def _hold(self) -> Pass | None:
        """Keep the applied commit in force, if there is one."""
        applied = self.ports.store.applied()
        if applied is None:
            return None
        return reconcile(self.ports, applied)

    def _pause(self, operations: Operations, ended: Iterable[Operation]) -> Turn:
        """Let drains end and operations be; nothing else changes."""
        applied = self.ports.store.applied()
        if applied is None:
            return Turn(None, None)
        if self._is_first_in_this_kernel():
            return Turn(self._hold(), applied)
        only: frozenset[Key] = touched(applied.desired, [*operations.all, *ended])
        return Turn(reconcile(self.ports, applied, Options(only=only)), applied)

    def _is_first_in_this_kernel(self) -> bool:
        """Whether nothing was done yet since the boot: a pause does not keep the kernel empty."""
        return not self.ports.store.ledger(self.ports.kernel.incarnation()).owned

    def _end_what_git_says(self, target: Applied, operations: Operations) -> None:
        """Forget the drains that Git has caught up with."""
        for operation in ended_by(target.desired, operations):
            self.ports.store.end_operation(operation)
            log.info("drain by hand ended server=%s reason=git-agrees", operation.subject)

    def _quarantine(self, target: Applied, done: Pass) -> None:
        """Keep a commit that was rolled back from being tried again and again.

        One that is in force already is not: its drift is to be repaired.
        """
        applied = self.ports.store.applied()
        if target.commit is None or (applied is not None and applied.commit == target.commit):
            return
        finished = done.finished
        incarnation = self.ports.kernel.incarnation()
        is_transient = finished is not None and finished.is_transient
        count = self.ports.store.count_found_open
        if is_transient and count(incarnation, target.commit.id) < TRIES:
            return
        reason = in_short(finished.failures if finished is not None else ())
        self.ports.store.quarantine(incarnation, target.commit.id, reason)
        log.error("quarantined commit=%s reason=%s", target.commit.id, reason)

    def _refuse_quarantined(self, commit_id: str) -> None:
        """Refuse a commit in quarantine.

        Raises:
            Quarantined: with the reason that was recorded.
        """
        for entry in self.ports.store.quarantined(self.ports.kernel.incarnation()):
            if entry.commit_id == commit_id:
                raise Quarantined(
                    f"commit {commit_id[:12]} is not tried again: {entry.reason}."
                    " Push a new commit, or say `gitvs sync --retry`"
                )


def recover_at_start(ports: Ports) -> Finished | None:
    """Recover what was left open, and count that against the commit it was for."""
    incarnation = ports.kernel.incarnation()
    left = ports.store.open_transaction(incarnation)
    if left is None:
        return None
    commit, applied = left.target.commit, ports.store.applied()
    is_in_force = applied is not None and applied.commit == commit
    if commit is None or is_in_force:
        return recover(ports)
    if ports.store.count_found_open(incarnation, commit.id) >= TRIES:
        reason = f"its transaction was found open at start {TRIES} times"
        ports.store.quarantine(incarnation, commit.id, reason)
    return recover(ports)


def take_turn(
    ports: Ports,
    source: GitRemote | DirectorySource,
    choose: ChooseDirector,
    longest_downtime: timedelta = timedelta.max,
) -> Turn:
    """Recover, fetch, and bring this host to the newest commit that it may have.

    Raises:
        KernelUnavailable, KernelUnreadable, StoreError: nothing more was written.
    """
    recovered = recover_at_start(ports)
    pilot = Pilot(ports, source, choose)
    problems: list[GitvsError] = []
    if isinstance(source, GitRemote):
        try:
            pilot.accept(source.fetch(ports.store.accepted_head()))
        except SourceError as error:
            problems.append(error)
            if reason := out_of_date(ports, longest_downtime):
                problems.append(SourceError(f"nothing is done before the source answers: {reason}"))
                return Turn(None, None, recovered, tuple(problems))
    ports.store.record_alive()
    return replace(pilot.take(problems=problems), recovered=recovered)
