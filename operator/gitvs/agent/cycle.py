"""One cycle: chooses the commit for this host from source and operations, and runs the passes.

If the newest commit cannot be applied (no answer from the remote, invalid manifests, a gate, a
quarantine), the applied commit stays in force: drift is repaired, and drains end. `daemon`
decides when a cycle runs; `reconcile` implements a pass.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from gitvs.adapters.files.followed_folder import FollowedFolder
from gitvs.adapters.git.remote import GitRemote
from gitvs.agent.cycle_result import BlockingBasis, CycleResult, is_blocked_as_before, leaves_drift
from gitvs.agent.health.keeper import HealthKeeper, changed_keys
from gitvs.agent.judge import (
    Judge,
    Judgement,
    NotYetJudged,
    Subject,
    as_problem,
)
from gitvs.core.errors import (
    GitvsError,
    SourceError,
    StoreError,
    UncountedLines,
)
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit, Outcome
from gitvs.core.model.resources import Key
from gitvs.core.planning.gates import FoundLifts
from gitvs.core.planning.operations import Operations, affected_keys, obsolete_drains
from gitvs.core.planning.ownership import scope_of
from gitvs.core.settings import RemoteSettings, Settings
from gitvs.ports import Applied, FollowedSource, Ports
from gitvs.reconcile.one_pass import PassOptions, PassResult, reconcile
from gitvs.reconcile.quarantine import (
    FailedFolder,
    find_quarantine,
    quarantine,
    refuse_quarantined,
    refuse_quarantined_state,
)
from gitvs.reconcile.repair_memory import RepairMemory

log = logging.getLogger(__name__)


class NothingFetched(SourceError):
    """No commit was fetched from the remote yet."""


@dataclass(slots=True)
class CommitFollower:
    """Chooses the target of each cycle, and runs the cycle. For the worker's thread."""

    ports: Ports
    judge: Judge
    health: HealthKeeper
    _last_pass: PassResult | None = None
    """The last pass, if it succeeded; other processes may have written since."""
    _repair_memory: RepairMemory = field(default_factory=RepairMemory)
    """What could not be repaired."""
    _failed_folder: FailedFolder = field(default_factory=FailedFolder)
    _blocked: tuple[BlockingBasis, PassResult] | None = None
    """The last pass, if it was blocked, and what that depends on."""
    _compared: tuple[Desired, Desired, bool] | None = None
    """The last two desired states that were compared, and whether they are equal."""
    _reading: int = 0
    """How often the folder of manifests was read."""

    @property
    def source(self) -> FollowedSource:
        return self.judge.source

    def subject(self) -> Subject | None:
        """Return the commit to judge, which is the one to follow; None before the first fetch."""
        if not self.source.has_commits:
            return Subject(reading=self._reading)
        applied, pin = self.ports.store.applied(), self.ports.store.operations().pin
        commit_id = pin.subject if pin is not None else self.ports.store.accepted_head()
        if commit_id is None:
            return None
        if applied is None:
            return Subject(commit_id, is_trusted=pin is not None)
        return Subject(
            commit_id, applied.commit_id, is_trusted=pin is not None, base=applied.desired
        )

    def is_judged(self) -> bool:
        """Whether the commit to follow is judged; if not, ask for it."""
        subject = self.subject()
        if subject is None:
            return True
        if not self._has_judged(subject):
            self.judge.request(subject)
        return self._has_judged(subject)

    def _has_judged(self, subject: Subject) -> bool:
        commit_id = subject.commit_id
        if commit_id is not None and commit_id == subject.base_id:
            return (
                subject.is_trusted
                or self.judge.rendered(commit_id) is not None
                or self.judge.is_judged(subject)
            )
        return self.judge.is_judged(subject)

    def older_judged(self) -> Subject | None:
        """Return a commit on the way to the newest one that is judged, while that is not."""
        subject = self.subject()
        if subject is None or subject.is_trusted or subject.commit_id == subject.base_id:
            return None
        older = self.judge.judged_instead_of(subject)
        if older is None:
            return None
        if find_quarantine(self.ports, str(subject.commit_id)) is not None:
            return None
        is_on_the_way = self.source.is_ancestor(str(older.commit_id), str(subject.commit_id))
        return older if is_on_the_way else None

    def read_folder_again(self) -> None:
        """Have the folder read and judged again, if the manifests come from one."""
        if not self.source.has_commits:
            self._reading += 1
            self.judge.request(Subject(reading=self._reading))

    def accept_head(self, head: Commit) -> None:
        """Record a commit that was fetched: from now on only its descendants are accepted."""
        self.ports.store.accept_head(head.id)

    def keep_commits(self) -> None:
        """Keep the commits that matter in the local copy, even if the branch is rewritten.

        Call it after a cycle: what was just fetched is not deleted for two weeks.
        """
        applied, pin = self.ports.store.applied(), self.ports.store.operations().pin
        commit_ids = (
            self.ports.store.accepted_head(),
            None if applied is None else applied.commit_id,
            None if pin is None else pin.subject,
        )
        self.source.keep_commits(commit_id for commit_id in commit_ids if commit_id is not None)

    def seconds_to_next_repair(self) -> float | None:
        """Return the time until something that could not be repaired is due; None if nothing is."""
        return self._repair_memory.seconds_to_next_try(self.ports.clock.boottime())

    def retry_repairs(self) -> None:
        """Have the next pass try everything that failed."""
        self._repair_memory.retry_now()
        self._failed_folder.clear()

    def run_cycle(
        self,
        *,
        allowed_gates: frozenset[str] = frozenset(),
        problems: Iterable[GitvsError] = (),
        is_source_ready: bool = True,
        ignores_pause: bool = False,
        is_full_reading: bool = True,
    ) -> CycleResult:
        """Bring this host to the state that it may have now.

        `allowed_gates` are gates that an operator lifts, `problems` the known reasons why the
        newest commit cannot be applied. If `is_source_ready` is false, the source has not
        answered or is being written, and is not read. `ignores_pause` is for what an operator
        asks for during a pause. If `is_full_reading` is false, the pass reuses the last one where
        possible.

        Raises:
            KernelUnavailable, KernelUnreadable, StoreError: nothing more was written.
        """
        last_pass, self._last_pass = self._last_pass, None
        operations = self.ports.store.operations()
        if operations.pause is not None and not ignores_pause:
            return self._run_paused_cycle(operations)
        all_problems = list(problems)
        if not is_source_ready:
            return CycleResult(
                self._reconcile_applied(), self.ports.store.applied(), problems=tuple(all_problems)
            )
        try:
            target, found_lifts, load_seconds = self._choose_target(operations, all_problems)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  # a bug in loading must not end the repairs
            problem = as_problem("the newest commit was not read", error)
            if not (all_problems and isinstance(problem, NothingFetched)):
                all_problems.append(problem)
            return CycleResult(
                self._reconcile_applied(), self.ports.store.applied(), problems=tuple(all_problems)
            )
        options = PassOptions(
            allowed_gates, is_full_reading=is_full_reading, lifts=found_lifts.lifts
        )
        uncounted = [UncountedLines(*entry) for entry in found_lifts.uncounted.items()]
        basis = self._basis(target, options)
        if (still_blocked := self._still_blocked(target, basis)) is not None:
            return replace(still_blocked, problems=(*all_problems, *uncounted))
        pass_result = self._reconcile(target, options, last_pass)
        applied_pass_result = None
        if pass_result.outcome is Outcome.CONVERGED:
            self._last_pass = pass_result
        elif pass_result.outcome is Outcome.APPLIED:
            self._last_pass = replace(pass_result, planned=None)  # the state before it is large
        if pass_result.outcome is Outcome.ROLLED_BACK:
            quarantine(self.ports, target, pass_result, self._failed_folder)
            if leaves_drift(pass_result):
                applied_pass_result = self._reconcile_applied()
        elif pass_result.outcome is Outcome.BLOCKED:
            self._blocked = basis, pass_result
            all_problems += uncounted
            applied_pass_result = self._reconcile_applied()
        elif pass_result.outcome in (Outcome.APPLIED, Outcome.CONVERGED) and operations.pin is None:
            self._end_superseded_drains(target, operations)
        return CycleResult(
            pass_result,
            target,
            problems=tuple(all_problems),
            applied_pass_result=applied_pass_result,
            load_seconds=load_seconds,
        )

    def _basis(self, target: Applied, options: PassOptions) -> BlockingBasis:
        operations = self.ports.store.operations().in_force(self.ports.moment())
        applied = self.ports.store.applied()
        return BlockingBasis(
            target.desired, applied, options.allowed_gates, options.lifts, operations
        )

    def _still_blocked(self, target: Applied, basis: BlockingBasis) -> CycleResult | None:
        """Keep the applied commit in force, and return the result if the target stays blocked.

        It is planned again only if something changed that it depends on: the commit, the applied
        state, operations, or, for gates about this host, what is in the kernel.
        """
        blocked, self._blocked = self._blocked, None
        if blocked is None or blocked[0] != basis or basis.applied is None:
            return None
        ledger = self.ports.store.ledger(self.ports.kernel.incarnation())
        scope = scope_of(ledger, target.desired, applied=basis.applied.desired)
        applied_pass_result = self._reconcile_applied(includes_gateways=scope.includes_gateways)
        if applied_pass_result is None or not is_blocked_as_before(blocked[1], applied_pass_result):
            return None
        self._blocked = blocked
        return CycleResult(
            blocked[1], target, applied_pass_result=applied_pass_result, is_repeated=True
        )

    def _choose_target(
        self, operations: Operations, problems: list[GitvsError]
    ) -> tuple[Applied, FoundLifts, float]:
        """Return this cycle's target, the commits that lift its gates, and the time to judge it.

        An older commit is a target only with a problem: the newest one is not yet judged.

        Raises:
            NothingFetched: no commit was fetched yet.
            NotYetJudged: it is being read and checked.
            SourceError, Quarantined, InvalidManifests, UnknownDirector.
        """
        subject = self.subject()
        if subject is None:
            raise NothingFetched("no commit was fetched yet, so gitvs does not know what to apply")
        applied, commit_id = self.ports.store.applied(), subject.commit_id
        if applied is not None and commit_id is not None and commit_id == applied.commit_id:
            target = self._applied_as_judged(applied, operations, subject)
            refuse_quarantined_state(self.ports, target)
            return target, FoundLifts(), 0.0
        if (older := self.older_judged()) is not None:
            problems.append(NotYetJudged(commit_id))
            subject, commit_id = older, older.commit_id
        if commit_id is not None and operations.pin is None:
            refuse_quarantined(self.ports, commit_id)
            self.source.verify_signature(commit_id)  # its signer's key may have been removed since
        judgement = self._judgement_of(subject)
        if isinstance(judgement.rendered, GitvsError):
            raise judgement.rendered
        target = replace(judgement.rendered, applied_at=self.ports.clock.now())
        self._failed_folder.refuse(self.ports, target)
        return target, judgement.found_lifts, judgement.seconds

    def _applied_as_judged(
        self, applied: Applied, operations: Operations, subject: Subject
    ) -> Applied:
        """Return the applied commit as this gitvs reads it; as recorded, if it is not judged."""
        if operations.pin is not None:
            return applied
        rendered = self.judge.rendered(str(subject.commit_id))
        if rendered is None:
            if not self.judge.is_judged(subject):
                return applied
            rendered = self._judgement_of(subject).rendered
        if isinstance(rendered, GitvsError):
            raise rendered
        desired = self._recorded_if_equal(rendered.desired, applied.desired)
        return replace(rendered, desired=desired, applied_at=self.ports.clock.now())

    def _recorded_if_equal(self, rendered: Desired, applied: Desired) -> Desired:
        """Return what is recorded as applied if it is the same as what was rendered.

        After a restart they are equal, and share nothing: each of five comparisons in a pass
        would take 0.1 s for 10,000 services.
        """
        compared = self._compared
        if compared is None or compared[0] is not rendered or compared[1] is not applied:
            compared = self._compared = rendered, applied, rendered == applied
        return applied if compared[2] else rendered

    def _judgement_of(self, subject: Subject) -> Judgement:
        """Return the judgement; ask for a new one if there is none or it may be out of date.

        Raises:
            NotYetJudged: nothing is known about it yet.
        """
        judgement = self.judge.judgement_of(subject)
        if judgement is None or (not judgement.is_final and subject.commit_id is not None):
            self.judge.request(subject)
            judgement = self.judge.judgement_of(subject)
        if judgement is None:
            raise NotYetJudged(subject.commit_id)
        return judgement

    def _reconcile_applied(self, includes_gateways: bool = False) -> PassResult | None:
        """Keep the applied commit in force, if there is one."""
        applied = self.ports.store.applied()
        if applied is None:
            return None
        return self._reconcile(applied, PassOptions(includes_gateways=includes_gateways))

    def _reconcile(
        self, target: Applied, options: PassOptions, last_pass: PassResult | None = None
    ) -> PassResult:
        """Run a pass, with what health says of the real servers of its target."""
        prepared = self.health.prepare(target)
        if options.only_keys is not None:
            options = replace(options, only_keys=options.only_keys | changed_keys(prepared.serving))
        options = replace(options, serving=prepared.serving)
        result = reconcile(self.ports, target, options, last_pass, self._repair_memory)
        if result.outcome in (Outcome.APPLIED, Outcome.CONVERGED):
            self.health.in_force(prepared)
        return result

    def run_health_pass(self) -> PassResult | None:
        """Put into force what health says now; no commit is taken up. None if nothing is applied.

        Raises:
            KernelUnavailable, KernelUnreadable, StoreError: nothing more was written.
        """
        last_pass, self._last_pass = self._last_pass, None
        applied, operations = self.ports.store.applied(), self.ports.store.operations()
        if applied is None:
            return None
        if operations.pause is not None:
            return self._run_paused_cycle(operations).pass_result
        result = self._reconcile(applied, PassOptions(is_full_reading=False), last_pass)
        if result.outcome in (Outcome.APPLIED, Outcome.CONVERGED):
            self._last_pass = replace(result, planned=None)
        return result

    def _run_paused_cycle(self, operations: Operations) -> CycleResult:
        """Let drains end, and apply or undo operations; change nothing else."""
        applied = self.ports.store.applied()
        if applied is None:
            return CycleResult(None, None)
        if self._is_first_since_boot():
            return CycleResult(self._reconcile_applied(), applied)
        ended_operations = self.ports.store.ended_operations()
        only_keys: frozenset[Key] = affected_keys(
            applied.desired, [*operations.all, *ended_operations.all]
        )
        options = PassOptions(only_keys=only_keys)
        return CycleResult(self._reconcile(applied, options), applied)

    def forget_ended_operations(self, cycle_result: CycleResult) -> None:
        """Forget the ended operations if this cycle has undone them.

        Until then a pause lets later passes undo them, after a restart too.
        """
        ended_operations = self.ports.store.ended_operations()
        if not ended_operations or (applied := self.ports.store.applied()) is None:
            return
        affected = affected_keys(applied.desired, ended_operations.all)
        for pass_result in cycle_result.pass_results[-1:]:
            is_done = pass_result.outcome in (Outcome.APPLIED, Outcome.CONVERGED)
            if is_done and affected.isdisjoint(u.key for u in pass_result.unrepairable):
                self.ports.store.forget_ended_operations()

    def _is_first_since_boot(self) -> bool:
        """Whether gitvs owns nothing since the boot; a pause does not prevent this first apply."""
        return not self.ports.store.ledger(self.ports.kernel.incarnation()).owned

    def _end_superseded_drains(self, target: Applied, operations: Operations) -> None:
        """End the drains by hand that Git makes obsolete."""
        for operation in obsolete_drains(target.desired, operations):
            self.ports.store.end_operation(operation)
            log.info("drain by hand ended server=%s reason=git-agrees", operation.subject)


def followed_source(state_dir: Path, settings: Settings) -> FollowedSource:
    """Return what these settings say to follow; nothing is read or sent yet.

    Raises:
        SourceError: the URL uses a protocol that is not allowed.
    """
    if isinstance(settings.source, RemoteSettings):
        return GitRemote(state_dir, settings.source)
    return FollowedFolder(settings.source)
