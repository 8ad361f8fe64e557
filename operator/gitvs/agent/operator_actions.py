"""What operators may have a running agent do: break glass, sync, a rewritten branch.

Each is recorded with who, why and until when, carried out at once, and answered with what
became of it. Everything here runs in the worker's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from gitvs.adapters.git.remote import GitRemote
from gitvs.agent.cycle import Turn
from gitvs.agent.daemon import Agent
from gitvs.agent.reporting import in_brief
from gitvs.core.errors import ControlFailed, ExitCode, SourceError
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Result
from gitvs.core.model.resources import RealServer, Scheduler, VirtualService
from gitvs.core.planning.operations import (
    Operation,
    OperationKind,
    canonical,
    is_address,
    servers_called,
    servers_of,
)
from gitvs.ports import Applied
from gitvs.report.text.problems import counted

log = logging.getLogger(__name__)

DEFAULT_SECONDS = {OperationKind.PAUSE: 4 * 3600.0, OperationKind.PIN: 24 * 3600.0}
"""Pauses and pins expire; the others hold until they are taken back."""

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """One request, checked. `who` is the peer's user, and whom root says it acts for."""

    command: str
    who: str
    why: str
    seconds: float | None
    subject: str
    service: str
    is_now: bool
    retry: bool
    allowed: frozenset[str]


class BreakGlass:
    """Carries orders out, by their names in `orders`."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.orders: Mapping[str, Callable[[Order], Answer | Future[Turn]]] = {
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

    def _sync(self, order: Order) -> Future[Turn]:
        if order.retry:
            self._agent.ports.store.clear_quarantine()
            log.info("quarantine cleared who=%s", order.who)
        return self._agent.sync()

    def _pause(self, order: Order) -> Answer:
        self._put(order, OperationKind.PAUSE)
        return self._carried_out("pause", "paused: no new commits, no repair of drift")

    def _resume(self, order: Order) -> Answer:
        """End a pause; without one, a pin: a colleague's pin is not meant by the way."""
        operations = self._agent.ports.store.operations()
        ended = operations.pause or operations.pin
        if ended is None:
            raise ControlFailed("nothing to resume: neither paused nor pinned")
        self._end(ended, order)
        still = ended.kind is OperationKind.PAUSE and operations.pin is not None
        more = "; still pinned: `gitvs resume` once more ends that" if still else ""
        turn = self._agent.take_turn("resume", ended=[ended])
        return {**ending(turn), "text": f"{ended.kind} ended{more}"}

    def _rollback(self, order: Order) -> Answer:
        """Go back, pin, and bar what was left, so that it does not come back by itself.

        Both are on record before the pass, and taken back if it came to nothing; where a crash
        or a failing kernel comes in between, the next pass goes on with it.
        """
        store = self._agent.ports.store
        applied = store.applied()
        in_force = None if applied is None else applied.commit_id
        target = self._commit_to_go_back_to(order.subject, in_force)
        former = store.operations().pin
        known = {q.commit_id for q in store.quarantined(self._agent.ports.kernel.incarnation())}
        left = {in_force, store.accepted_head()} - {None, target} - known
        pin = self._operation(order, OperationKind.PIN, target)
        barred = [commit for commit in left if commit is not None]
        store.pin(pin, barred, f"{order.who} rolled back from it: {order.why or 'no reason given'}")
        self._log(order, pin)
        turn = self._agent.take_turn("rollback", order.allowed, despite_pause=True)
        if _is_in_force(target, turn):
            self._agent.pilot.keep()
            return {**ending(turn), "text": f"commit {target[:12]} is in force, and pinned"}
        store.end_operation(pin)
        if former is not None:
            store.put_operation(former)
        for commit in barred:
            store.clear_quarantine(commit)
        self._agent.publish()
        return {**ending(turn), "text": f"not rolled back to {target[:12]}"}

    def _commit_to_go_back_to(self, wanted: str, in_force: str | None) -> str:
        """Return the full id of a commit: the one that is named, or the one applied before.

        Raises:
            SourceError: there is none, or it is not on the branch.
        """
        source, store = self._agent.pilot.source, self._agent.ports.store
        if not isinstance(source, GitRemote):
            raise SourceError("the manifests come from a folder: there is no commit to go back to")
        before = [e.commit.id for e in store.history() if e.result is Result.APPLIED and e.commit]
        if not wanted:
            barred = {
                q.commit_id for q in store.quarantined(self._agent.ports.kernel.incarnation())
            }
            earlier = (c for c in before if c not in {in_force, *barred})
            found = (c for c in earlier if in_force and source.is_ancestor(c, in_force))
            wanted = next(found, "")
            if not wanted:
                raise SourceError("no commit was applied before this one: name one")
        commit_id = source.resolve(wanted)
        head = store.accepted_head()
        if head is None or not source.is_ancestor(commit_id, head):
            raise SourceError(f"commit {commit_id[:12]} is not part of the branch that is followed")
        if commit_id not in before:  # what was in force once was trusted, whatever expired since
            source.verify(commit_id)
        return commit_id

    def _drain(self, order: Order) -> Answer:
        desired = self._applied().desired
        servers = servers_called(order.subject, order.service, desired)
        if not servers:
            raise ControlFailed(_unknown_server(order, desired))
        listeners = tuple(sorted({s.service_key for s in servers})) if order.service else ()
        subject = canonical(order.subject)
        subjects = {subject if is_address(subject) else str(s.address) for s in servers}
        for each in sorted(subjects):
            drain = self._operation(order, OperationKind.DRAIN, each)
            drain = replace(drain, name=order.subject, listeners=listeners)
            self._agent.ports.store.put_operation(drain)
            self._log(order, drain)
        where = counted(len({s.service_key for s in servers}), "virtual service")
        text = f"{order.subject} {'removed from' if order.is_now else 'drains out of'} {where}"
        answer = self._carried_out("drain", text)
        return {**answer, "warnings": [*answer["warnings"], *self._risks(servers, desired)]}

    def _risks(self, servers: Sequence[RealServer], desired: Desired) -> list[str]:
        """What a drain by hand makes of the services that it is about."""
        drains = self._agent.ports.store.operations().drains
        drained = {s.key for o in drains for s in servers_of(o, desired)}
        gone = {s.key for o in drains if o.is_now for s in servers_of(o, desired)}
        risks = []
        for key in sorted({s.service_key for s in servers}):
            all_of_it = [s for s in desired.state.of(RealServer) if s.service_key == key]
            if not any(s.weight and s.key not in drained for s in all_of_it):
                risks.append(f"{key} has no active real server now, and refuses its clients")
            service = desired.state.get(key)
            is_dh = isinstance(service, VirtualService) and service.scheduler is Scheduler.DH
            if is_dh and {s.key for s in all_of_it} & (drained - gone):
                risks.append(
                    f"{key} is on dh, which refuses the clients of a server at weight 0:"
                    " `gitvs drain SERVER --now` takes it out"
                )
        return risks

    def _undrain(self, order: Order) -> Answer:
        applied = self._agent.ports.store.applied()
        servers = (
            [] if applied is None else servers_called(order.subject, order.service, applied.desired)
        )
        meant = {canonical(order.subject), *(str(s.address) for s in servers)}
        drains = self._agent.ports.store.operations().drains
        found = [
            o
            for o in drains
            if (o.subject in meant or o.name == order.subject)
            and (not order.service or o.service == order.service)
        ]
        if not found:
            known = ", ".join(o.name or o.subject for o in drains) or "none"
            raise ControlFailed(f"{order.subject} is not drained by hand; drained are: {known}")
        for operation in found:
            self._end(operation, order)
        return self._carried_out("undrain", f"{order.subject} is back, as Git says", found)

    def _standby(self, order: Order) -> Answer:
        self._put(order, OperationKind.STANDBY)
        return self._carried_out("standby", "on standby: no VIPs and local routes here")

    def _active(self, order: Order) -> Answer:
        standby = self._agent.ports.store.operations().standby
        if standby is None:
            applied = self._agent.ports.store.applied()
            if applied is not None and applied.desired.is_standby:
                raise ControlFailed(
                    "Git keeps this director on standby: push a commit that takes `standby: true`"
                    " away from its Director document"
                )
            raise ControlFailed("not on standby by hand: nothing to end")
        self._end(standby, order)
        return self._carried_out("active", "active: VIPs and local routes as Git says", [standby])

    def _accept_rewrite(self, order: Order) -> Answer:
        commit = self._agent.intake.accept_rewrite(order.subject)
        log.warning("rewrite accepted commit=%s who=%s why=%r", commit.id, order.who, order.why)
        turn = self._agent.take_turn("accept-rewrite")
        text = f"commit {commit.id[:12]} and what descends from it is followed now"
        return {**ending(turn), "text": text}

    def _carried_out(self, command: str, text: str, ended: Sequence[Operation] = ()) -> Answer:
        """Take a turn for what was recorded; Git's own troubles are no failure of it."""
        turn = self._agent.take_turn(command, ended=ended)
        answer = ending(turn)
        passes = turn.passes[-1:]  # a blocked commit is held back by a further pass
        code = ExitCode.severest(p.result.exit_code for p in passes)
        is_done = bool(passes) and code is ExitCode.DONE
        return {
            **answer,
            "result": str(passes[0].result) if passes else None,
            "exitCode": int(code if passes else ExitCode.ERROR),
            "text": text if is_done else f"recorded, but not yet so in the kernel: {text}",
            "problems": [] if is_done else answer["problems"],
            "warnings": answer["problems"] if is_done else [],
        }

    def _applied(self) -> Applied:
        applied = self._agent.ports.store.applied()
        if applied is None:
            raise ControlFailed("nothing is applied here yet, so there is no real server to drain")
        return applied

    def _operation(self, order: Order, kind: OperationKind, subject: str = "") -> Operation:
        now = self._agent.ports.clock.now()
        seconds = DEFAULT_SECONDS.get(kind) if order.seconds is None else order.seconds
        until = None if seconds is None else now + timedelta(seconds=seconds)
        return Operation(
            kind, order.who, order.why, now, until, subject, order.service, order.is_now
        )

    def _put(self, order: Order, kind: OperationKind) -> None:
        operation = self._operation(order, kind)
        self._agent.ports.store.put_operation(operation)
        self._log(order, operation)

    def _log(self, order: Order, operation: Operation) -> None:
        until = "taken back" if operation.until is None else operation.until.isoformat()
        log.warning(
            "operation kind=%s subject=%s who=%s why=%r until=%s",
            *(operation.kind, operation.subject or "-", order.who, order.why, until),
        )

    def _end(self, operation: Operation, order: Order) -> None:
        self._agent.ports.store.end_operation(operation)
        log.warning(
            "operation ended kind=%s subject=%s who=%s",
            *(operation.kind, operation.subject or "-", order.who),
        )


def ending(turn: Turn) -> Answer:
    """Return how a turn ended, for the client."""
    results = [p.result for p in turn.passes]
    codes = [result.exit_code for result in results]
    codes += [problem.exit_code for problem in turn.problems]
    done = turn.done
    gates = () if done is None or done.survey is None else done.survey.proposal.gates
    failures = () if done is None or done.finished is None else done.finished.failures
    return {
        "result": str(results[0]) if results else None,
        "exitCode": int(ExitCode.severest(codes)),
        "problems": [
            *(in_brief(problem) for problem in turn.problems),
            *(f"{gate.name}: {gate.message}" for gate in gates if not gate.allowed),
            *failures,
        ],
    }


def _is_in_force(commit_id: str, turn: Turn) -> bool:
    """Whether a turn brought this commit into force."""
    is_for_it = turn.target is not None and turn.target.commit_id == commit_id
    is_done = turn.done is not None and turn.done.result in (Result.APPLIED, Result.CONVERGED)
    return is_for_it and is_done


def _unknown_server(order: Order, desired: Desired) -> str:
    addresses = {str(s.address) for s in desired.state.of(RealServer)}
    names = {*desired.server_names.values(), *addresses}
    near = get_close_matches(order.subject, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    where = f" of service {order.service}" if order.service else ""
    return (
        f"{order.subject} is no real server{where} here{hint} Give its address, its address and"
        " port, or its name; `gitvs status --all` lists them"
    )
