"""Actions of a running agent for operators: operations on top of Git, sync, accept-rewrite.

Each action is recorded with who, why and until when, carried out at once, and answered with
its result. Everything here runs in the worker's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta

from gitvs.agent.actions.answers import (
    Answer,
    cycle_json,
    drain_text,
    undrain_text,
    unknown_server_text,
    until_text,
)
from gitvs.agent.actions.rollback import find_rollback_commit
from gitvs.agent.cycle_result import CycleResult
from gitvs.agent.daemon import Agent
from gitvs.agent.work_queue import run_job
from gitvs.core.errors import ControlFailed, ExitCode, LockHeld, LockUnusable
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import ConnectionCounts
from gitvs.core.model.resources import Key, RealServer, Scheduler, VirtualService
from gitvs.core.planning.operations import (
    HEALTH,
    Operation,
    OperationKind,
    affected_keys,
    canonical_server,
    find_real_servers,
    is_address,
    servers_of,
)
from gitvs.ports import Applied

log = logging.getLogger(__name__)

DEFAULT_OPERATION_SECONDS = {OperationKind.PAUSE: 4 * 3600.0, OperationKind.PIN: 24 * 3600.0}
"""Pauses and pins expire; the others hold until they are taken back."""

AnyAnswer = Answer | Future[CycleResult] | Future[Answer]
"""An answer, or one that comes later: after a fetch, or once a commit is judged."""


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """One request, checked. `who` is the peer's user, or the user that root says it acts for."""

    command: str
    who: str
    why: str
    duration_seconds: float | None
    subject: str
    service: str
    is_now: bool
    is_retry: bool
    allowed_gates: frozenset[str]


class OperatorActions:
    """Carries out requests; `actions` maps a command's name to its method."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._is_rollback_waiting = False
        self.actions: Mapping[str, Callable[[ActionRequest], AnyAnswer]] = {
            "sync": self._sync,
            "pause": self._pause,
            "resume": self._resume,
            "rollback": self._rollback,
            "drain": self._drain,
            "undrain": self._undrain,
            "standby": self._standby,
            "active": self._active,
            "accept-rewrite": self._accept_rewrite,
        }

    def _sync(self, request: ActionRequest) -> Future[CycleResult]:
        if request.is_retry:
            self._agent.ports.store.clear_quarantine()
            self._agent.follower.judge.forget_failure()
            log.info("quarantine cleared who=%s", request.who)
        self._agent.follower.retry_repairs()
        return self._agent.sync()

    def _pause(self, request: ActionRequest) -> Answer:
        if request.subject not in ("", HEALTH):
            raise ControlFailed(f"a pause is of {HEALTH} too or of nothing else: {request.subject}")
        pause = self._record_operation(request, OperationKind.PAUSE, request.subject)
        stopped = "no new commits, no repair of drift"
        if pause.subject:
            stopped += ", and nothing that health checks say"
        return self._run_and_answer(
            "pause", f"paused{until_text(pause)}: {stopped}; `gitvs resume` ends it"
        )

    def _when_judged(self, work: Callable[[], Answer]) -> Future[Answer]:
        """Run work in the worker once the commit to follow is judged; return its answer."""
        future: Future[Answer] = Future()
        self._agent.when_judged(lambda: run_job(work, future))
        self._agent.publish()
        return future

    def _resume(self, request: ActionRequest) -> Future[Answer]:
        """End the pause, or the pin if there is no pause; never both: others may need the pin."""
        operations = self._agent.ports.store.operations()
        ended_operation = operations.pause or operations.pin
        if ended_operation is None:
            raise ControlFailed("nothing to resume: neither paused nor pinned")
        self._end_operation(ended_operation, request)
        is_still_pinned = ended_operation.kind is OperationKind.PAUSE and operations.pin is not None
        more = "; still pinned: `gitvs resume` once more ends that" if is_still_pinned else ""

        def work() -> Answer:
            cycle_result = self._agent.run_cycle("resume")
            return {**cycle_json(cycle_result), "text": f"{ended_operation.kind} ended{more}"}

        return self._when_judged(work)

    def _rollback(self, request: ActionRequest) -> Future[Answer]:
        """Go back to a commit, pin it, and quarantine the applied and the newest commit.

        They do not come back by themselves. Pin and quarantine are recorded before the pass, and
        removed if the commit is not in force afterwards. After a crash or a kernel failure in
        between, the next pass continues.
        """
        if self._is_rollback_waiting:
            raise ControlFailed(
                "another rollback waits until its commit is judged; nothing was changed, try again"
                " in a moment"
            )
        store = self._agent.ports.store
        applied = store.applied()
        applied_id = None if applied is None else applied.commit_id
        target_id = find_rollback_commit(
            self._agent.follower.judge, self._agent.ports, request.subject
        )
        previous_pin = store.operations().pin
        quarantined_ids = {
            q.commit_id for q in store.quarantined(self._agent.ports.kernel.incarnation())
        }
        left_ids = {applied_id, store.accepted_head()} - {None, target_id} - quarantined_ids
        pin = self._make_operation(request, OperationKind.PIN, target_id)
        barred_ids = [commit for commit in left_ids if commit is not None]
        store.pin(
            pin,
            barred_ids,
            f"{request.who} rolled back from it: {request.why or 'no reason given'}",
        )
        self._log_operation(request, pin)
        self._is_rollback_waiting = True
        return self._when_judged(
            lambda: self._finish_rollback(request, pin, previous_pin, barred_ids)
        )

    def _finish_rollback(
        self,
        request: ActionRequest,
        pin: Operation,
        previous_pin: Operation | None,
        barred_ids: Sequence[str],
    ) -> Answer:
        self._is_rollback_waiting = False
        target_id = pin.subject
        try:
            cycle_result = self._agent.run_cycle(
                "rollback", request.allowed_gates, ignores_pause=True
            )
        except (LockHeld, LockUnusable):
            self._take_back(pin, previous_pin, barred_ids)
            raise
        applied = self._agent.ports.store.applied()
        if applied is not None and applied.commit_id == target_id:
            self._agent.follower.keep_commits()
            is_stuck = any(p.outcome is Outcome.STUCK for p in cycle_result.pass_results)
            rest = (
                (
                    "; the agent has not yet removed everything that this commit removes,"
                    " and continues"
                )
                if is_stuck
                else ""
            )
            until = until_text(pin)
            text = f"commit {target_id[:12]} is in force, and pinned{until}{rest}"
            return {**cycle_json(cycle_result), "text": text}
        self._take_back(pin, previous_pin, barred_ids)
        return {**cycle_json(cycle_result), "text": f"not rolled back to {target_id[:12]}"}

    def _take_back(
        self, pin: Operation, previous_pin: Operation | None, barred_ids: Sequence[str]
    ) -> None:
        """Undo what a rollback recorded, since its commit was not applied."""
        store = self._agent.ports.store
        store.end_operation(pin)
        if previous_pin is not None:
            store.put_operation(previous_pin)
        for commit_id in barred_ids:
            store.clear_quarantine(commit_id)
        self._agent.follower.is_judged()  # asks for the commit that the rollback kept from it
        self._agent.publish()

    def _drain(self, request: ActionRequest) -> Answer:
        desired = self._require_applied().desired
        servers = find_real_servers(request.subject, request.service, desired)
        if not servers:
            raise ControlFailed(unknown_server_text(request.subject, request.service, desired))
        listeners = tuple(sorted({s.service_key for s in servers})) if request.service else ()
        subject = canonical_server(request.subject)
        subjects = {subject if is_address(subject) else str(s.address) for s in servers}
        for server_subject in sorted(subjects):
            operation = self._make_operation(request, OperationKind.DRAIN, server_subject)
            operation = replace(operation, server_name=request.subject, listeners=listeners)
            self._agent.ports.store.put_operation(operation)
            self._log_operation(request, operation)
        answer = self._run_and_answer(
            "drain",
            lambda: drain_text(
                request.subject, servers, self._connections(), is_now=request.is_now
            ),
        )
        return {
            **answer,
            "warnings": [*answer["warnings"], *self._drain_warnings(servers, desired)],
        }

    def _drain_warnings(self, servers: Sequence[RealServer], desired: Desired) -> list[str]:
        """Return warnings about what a drain by hand does to the services that it affects."""
        drains = self._agent.ports.store.operations().drains
        drained_keys = {s.key for o in drains for s in servers_of(o, desired)}
        removed_keys = {s.key for o in drains if o.is_immediate for s in servers_of(o, desired)}
        warnings = []
        for key in sorted({s.service_key for s in servers}):
            service_servers = [s for s in desired.state.of_type(RealServer) if s.service_key == key]
            if not any(s.weight and s.key not in drained_keys for s in service_servers):
                warnings.append(f"{key} has no active real server now and refuses clients")
            service = desired.state.get(key)
            is_dh = isinstance(service, VirtualService) and service.scheduler is Scheduler.DH
            if is_dh and {s.key for s in service_servers} & (drained_keys - removed_keys):
                warnings.append(
                    f"{key} uses scheduler dh, which refuses the clients of a real"
                    " server at weight 0: `gitvs drain SERVER --now` removes the real"
                    " server"
                )
        return warnings

    def _undrain(self, request: ActionRequest) -> Answer:
        applied = self._agent.ports.store.applied()
        servers = (
            []
            if applied is None
            else find_real_servers(request.subject, request.service, applied.desired)
        )
        subjects = {canonical_server(request.subject), *(str(s.address) for s in servers)}
        drains = self._agent.ports.store.operations().drains
        found = [
            o
            for o in drains
            if (o.subject in subjects or o.server_name == request.subject)
            and (not request.service or o.service == request.service)
        ]
        if not found:
            drained_names = ", ".join(o.server_name or o.subject for o in drains) or "none"
            raise ControlFailed(
                f"{request.subject} is not drained by hand; drained are: {drained_names}"
            )
        for operation in found:
            self._end_operation(operation, request)
        text = undrain_text(request.subject, servers)
        return self._run_and_answer("undrain", text, found)

    def _connections(self) -> Mapping[Key, ConnectionCounts]:
        """Return the connections of each real server, as the newest pass read them."""
        services = self._agent.status.services
        return {s.server.key: s.connections for service in services for s in service.servers}

    def _standby(self, request: ActionRequest) -> Answer:
        self._record_operation(request, OperationKind.STANDBY)
        return self._run_and_answer(
            "standby", "on standby: this director has no VIPs and no local routes now"
        )

    def _active(self, request: ActionRequest) -> Answer:
        standby = self._agent.ports.store.operations().standby
        if standby is None:
            applied = self._agent.ports.store.applied()
            if applied is not None and applied.desired.is_standby:
                raise ControlFailed(
                    "Git keeps this director on standby: push a commit that takes `standby: true`"
                    " away from its Director document"
                )
            raise ControlFailed("not on standby by hand: nothing to end")
        self._end_operation(standby, request)
        return self._run_and_answer(
            "active", "active: VIPs and local routes are as in Git", [standby]
        )

    def _accept_rewrite(self, request: ActionRequest) -> Future[Answer]:
        commit = self._agent.fetch_results.accept_rewrite(request.subject)
        log.warning("rewrite accepted commit=%s who=%s why=%r", commit.id, request.who, request.why)
        text = f"commit {commit.id[:12]} and its descendants are followed now"
        return self._when_judged(
            lambda: {**cycle_json(self._agent.run_cycle("accept-rewrite")), "text": text}
        )

    def _run_and_answer(
        self,
        command: str,
        text: str | Callable[[], str],
        ended_operations: Sequence[Operation] = (),
    ) -> Answer:
        """Run a cycle for a recorded operation; problems of the source do not make it fail.

        `text` is the answer, or a function that returns it after the cycle.
        """
        cycle_result = self._agent.run_cycle(command)
        answer = cycle_json(cycle_result)
        # If the newest commit is blocked, the second pass, for the applied commit, counts.
        pass_results = cycle_result.pass_results[-1:]
        affected = self._affected_keys(ended_operations)
        code = ExitCode.severest(
            p.exit_code if any(u.key in affected for u in p.unrepairable) else p.outcome.exit_code
            for p in pass_results
        )
        is_done = bool(pass_results) and code is ExitCode.DONE
        text = text if isinstance(text, str) else text()
        return {
            **answer,
            "result": str(pass_results[0].outcome) if pass_results else None,
            "exitCode": int(code if pass_results else ExitCode.ERROR),
            "text": text if is_done else f"recorded, but not yet in effect in the kernel: {text}",
            "problems": [] if is_done else answer["problems"],
            "warnings": answer["problems"] if is_done else [],
        }

    def _affected_keys(self, ended_operations: Sequence[Operation]) -> frozenset[Key]:
        """Return the objects that operations affect.

        The answer names those that were not repaired.
        """
        store = self._agent.ports.store
        applied, operations = store.applied(), store.operations()
        if applied is None:
            return frozenset()
        return affected_keys(applied.desired, [*operations.all, *ended_operations])

    def _require_applied(self) -> Applied:
        applied = self._agent.ports.store.applied()
        if applied is None:
            raise ControlFailed("nothing is applied here yet, so there is no real server to drain")
        return applied

    def _make_operation(
        self, request: ActionRequest, kind: OperationKind, subject: str = ""
    ) -> Operation:
        moment = self._agent.ports.moment()
        seconds = (
            DEFAULT_OPERATION_SECONDS.get(kind)
            if request.duration_seconds is None
            else request.duration_seconds
        )
        operation = Operation(
            kind,
            request.who,
            request.why,
            moment.now,
            subject=subject,
            service=request.service,
            is_immediate=request.is_now,
        )
        if seconds is None:
            return operation
        return replace(
            operation,
            expires_at=moment.now + timedelta(seconds=seconds),
            expires_boottime_seconds=moment.boottime_seconds + seconds,
            boot_id=moment.boot_id,
        )

    def _record_operation(
        self, request: ActionRequest, kind: OperationKind, subject: str = ""
    ) -> Operation:
        operation = self._make_operation(request, kind, subject)
        self._agent.ports.store.put_operation(operation)
        self._log_operation(request, operation)
        return operation

    def _log_operation(self, request: ActionRequest, operation: Operation) -> None:
        until = "taken back" if operation.expires_at is None else operation.expires_at.isoformat()
        log.warning(
            "operation kind=%s subject=%s who=%s why=%r until=%s",
            *(operation.kind, operation.subject or "-", request.who, request.why, until),
        )

    def _end_operation(self, operation: Operation, request: ActionRequest) -> None:
        self._agent.ports.store.end_operation(operation)
        log.warning(
            "operation ended kind=%s subject=%s who=%s",
            *(operation.kind, operation.subject or "-", request.who),
        )
