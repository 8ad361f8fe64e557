"""What operators may ask of a running agent: break glass, sync, status.

Each order is checked, recorded with who, why and until when, and carried out by the worker at
once. The answer says what became of it; the protocol around it is `adapters.control`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import partial
from typing import Any

from gitvs.adapters.control import Peer, Request
from gitvs.adapters.git_remote import GitRemote
from gitvs.agent import Agent
from gitvs.core.errors import ControlFailed, ExitCode, GitvsError, SourceError
from gitvs.core.gates import LIFTABLE
from gitvs.core.history import Result
from gitvs.core.model import Desired, RealServer
from gitvs.core.operations import Operation, OperationKind, canonical, servers_of
from gitvs.ports import Applied
from gitvs.report.status_document import status_document
from gitvs.turn import Turn

log = logging.getLogger(__name__)

LONGEST_SECONDS = 90 * 24 * 3600.0
"""No operation that has an end lasts longer: what is meant for ever belongs into Git."""

FRESH_SECONDS = 2.0
"""How old a reading of the kernel may be for `gitvs status`."""

LOOK_SECONDS = 5.0
"""How long `gitvs status` waits for a worker that is busy; then it gets what there is."""

ORDER_SECONDS = 540.0

EXIT_CODES = {
    Result.CONVERGED: ExitCode.DONE,
    Result.APPLIED: ExitCode.DONE,
    Result.BLOCKED: ExitCode.BLOCKED,
    Result.ROLLED_BACK: ExitCode.ROLLED_BACK,
    Result.STUCK: ExitCode.STUCK,
}

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


class Desk:
    """Takes orders from the control socket's threads, and has the agent carry them out."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._orders: Mapping[str, Callable[[Order], Answer | Future[Turn]]] = {
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

    def answer(self, request: Request, peer: Peer) -> Answer:
        """Carry out a request. Called from any thread.

        Raises:
            ControlFailed, and any GitvsError: with what is wrong.
        """
        if request.get("command") == "status":
            return self._status()
        order = _order_from(request, peer)
        carry_out = self._orders.get(order.command)
        if carry_out is None:
            known = ", ".join(sorted([*self._orders, "status"]))
            raise ControlFailed(f"the agent knows no {order.command!r}; it knows {known}")
        submitted = self._agent.inbox.submit(partial(carry_out, order))
        try:
            result: Answer | Future[Turn] = submitted.result(ORDER_SECONDS)
            if isinstance(result, Future):
                return _ending(result.result(ORDER_SECONDS))
        except Late as error:
            raise ControlFailed(
                f"the agent has not come to an end of this within {ORDER_SECONDS:.0f} s; it goes"
                " on, and `gitvs status` tells how it ends"
            ) from error
        return result

    def _status(self) -> Answer:
        status = self._agent.status
        now = self._agent.ports.clock.now()
        if status.observed_at is None or (now - status.observed_at).total_seconds() > FRESH_SECONDS:
            with suppress(Late, GitvsError):
                self._agent.inbox.submit(self._agent.look).result(LOOK_SECONDS)
        return status_document(self._agent.status)

    # Each is called by the worker

    def _sync(self, order: Order) -> Future[Turn]:
        if order.retry:
            self._agent.ports.store.clear_quarantine()
            log.info("quarantine cleared who=%s", order.who)
        return self._agent.sync()

    def _pause(self, order: Order) -> Answer:
        self._put(order, OperationKind.PAUSE)
        return _ending(self._agent.take_turn("pause"))

    def _resume(self, order: Order) -> Answer:
        operations = self._agent.ports.store.operations()
        ended = [o for o in (operations.pause, operations.pin) if o is not None]
        if not ended:
            raise ControlFailed("nothing to resume: neither paused nor pinned")
        for operation in ended:
            self._end(operation, order)
        return _ending(self._agent.take_turn("resume", ended=ended))

    def _rollback(self, order: Order) -> Answer:
        """Go back, pin, and bar what was left, so that it does not come back by itself."""
        store = self._agent.ports.store
        applied = store.applied()
        target = self._commit_to_go_back_to(order.subject, applied)
        former = store.operations().pin
        left = {applied.commit_id if applied else None, store.accepted_head()} - {None, target}
        pin = self._put(order, OperationKind.PIN, target)
        turn = self._agent.take_turn("rollback", order.allowed, despite_pause=True)
        if not _is_in_force(target, turn):
            store.end_operation(pin)
            if former is not None:
                store.put_operation(former)
            self._agent.publish()
            return {**_ending(turn), "text": f"not rolled back to {target[:12]}"}
        store.clear_quarantine(target)
        store.bar([c for c in left if c], f"{order.who} rolled back from it: {order.why or '-'}")
        self._agent.pilot.keep()
        self._agent.publish()
        return {**_ending(turn), "text": f"commit {target[:12]} is in force, and pinned"}

    def _commit_to_go_back_to(self, wanted: str, applied: Applied | None) -> str:
        """Return the full id of a commit: the one that is named, or the one applied before.

        Raises:
            SourceError: there is none, or it is not on the branch.
        """
        source = self._agent.pilot.source
        if not isinstance(source, GitRemote):
            raise SourceError("the manifests come from a folder: there is no commit to go back to")
        now = None if applied is None else applied.commit_id
        finished = self._agent.ports.store.history()
        before = [e.commit.id for e in finished if e.result is Result.APPLIED and e.commit]
        if not wanted:
            earlier = [c for c in before if c != now]
            if not earlier:
                raise SourceError("no commit was applied before this one: name one")
            wanted = earlier[0]
        commit_id = source.resolve(wanted)
        head = self._agent.ports.store.accepted_head()
        if head is None or not source.is_ancestor(commit_id, head):
            raise SourceError(f"commit {commit_id[:12]} is not part of the branch that is followed")
        if commit_id not in before:  # what was in force once was trusted, whatever expired since
            source.verify(commit_id)
        return commit_id

    def _drain(self, order: Order) -> Answer:
        applied = self._applied()
        subject = canonical(order.subject)
        operation = self._operation(order, OperationKind.DRAIN, subject)
        servers = servers_of(operation, applied.desired)
        if not servers:
            raise ControlFailed(_unknown_server(order, applied.desired))
        self._put(order, OperationKind.DRAIN, subject)
        turn = self._agent.take_turn("drain")
        warnings = [
            f"{key} has no active real server now, and refuses its clients"
            for key in sorted({s.service_key for s in servers})
            if not _is_served(key, applied.desired, self._agent)
        ]
        where = f"{len(servers)} virtual service{'' if len(servers) == 1 else 's'}"
        return {
            **_ending(turn),
            "text": f"{subject} {'removed from' if order.is_now else 'drains out of'} {where}",
            "warnings": warnings,
        }

    def _undrain(self, order: Order) -> Answer:
        subject = canonical(order.subject)
        drains = self._agent.ports.store.operations().drains
        found = [
            o
            for o in drains
            if o.subject == subject and (not order.service or o.service == order.service)
        ]
        if not found:
            known = ", ".join(o.subject for o in drains) or "none"
            raise ControlFailed(f"{order.subject} is not drained by hand; drained are: {known}")
        for operation in found:
            self._end(operation, order)
        turn = self._agent.take_turn("undrain", ended=found)
        return {**_ending(turn), "text": f"{subject} is back, as Git says"}

    def _standby(self, order: Order) -> Answer:
        self._put(order, OperationKind.STANDBY)
        turn = self._agent.take_turn("standby")
        return {**_ending(turn), "text": "on standby: no VIPs and local routes here"}

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
        turn = self._agent.take_turn("active", ended=[standby])
        return {**_ending(turn), "text": "active: VIPs and local routes as Git says"}

    def _accept_rewrite(self, order: Order) -> Answer:
        commit_id = self._agent.accept_rewrite(order.subject)
        log.warning("rewrite accepted commit=%s who=%s why=%s", commit_id, order.who, order.why)
        last = self._agent.status.last
        result = None if last is None else last.result
        return {
            "result": None if result is None else str(result),
            "exitCode": int(ExitCode.ERROR if result is None else EXIT_CODES[result]),
            "text": f"commit {commit_id[:12]} and what descends from it is followed now",
            "problems": [] if last is None else list(last.problems),
        }

    def _applied(self) -> Applied:
        applied = self._agent.ports.store.applied()
        if applied is None:
            raise ControlFailed("nothing is applied here yet, so there is no real server to drain")
        return applied

    def _operation(self, order: Order, kind: OperationKind, subject: str = "") -> Operation:
        now = self._agent.ports.clock.now()
        until = None if order.seconds is None else now + timedelta(seconds=order.seconds)
        return Operation(
            kind, order.who, order.why, now, until, subject, order.service, order.is_now
        )

    def _put(self, order: Order, kind: OperationKind, subject: str = "") -> Operation:
        operation = self._operation(order, kind, subject)
        self._agent.ports.store.put_operation(operation)
        until = "taken back" if operation.until is None else operation.until.isoformat()
        log.warning(
            "operation kind=%s subject=%s who=%s why=%r until=%s",
            *(kind, subject or "-", order.who, order.why, until),
        )
        return operation

    def _end(self, operation: Operation, order: Order) -> None:
        self._agent.ports.store.end_operation(operation)
        log.warning(
            "operation ended kind=%s subject=%s who=%s",
            *(operation.kind, operation.subject or "-", order.who),
        )


def _ending(turn: Turn) -> Answer:
    """Return how a turn ended, for the client."""
    results = [p.result for p in turn.passes]
    codes = [EXIT_CODES[result] for result in results]
    codes += [problem.exit_code for problem in turn.problems]
    done = turn.done
    gates = () if done is None or done.survey is None else done.survey.proposal.gates
    failures = () if done is None or done.finished is None else done.finished.failures
    return {
        "result": str(results[0]) if results else None,
        "exitCode": int(ExitCode.severest(codes)),
        "problems": [str(p) for p in turn.problems]
        + [f"{g.name}: {g.message}" for g in gates if not g.allowed]
        + list(failures),
    }


def _is_in_force(commit_id: str, turn: Turn) -> bool:
    """Whether a turn brought this commit into force."""
    is_for_it = turn.target is not None and turn.target.commit_id == commit_id
    is_done = turn.done is not None and turn.done.result in (Result.APPLIED, Result.CONVERGED)
    return is_for_it and is_done


def _is_served(key: str, desired: Desired, agent: Agent) -> bool:
    """Whether a service keeps a real server that takes new connections."""
    drains = agent.ports.store.operations().drains
    drained = {s.key for o in drains for s in servers_of(o, desired)}
    servers = [s for s in desired.state.of(RealServer) if s.service_key == key]
    return any(s.weight and s.key not in drained for s in servers)


def _unknown_server(order: Order, desired: Desired) -> str:
    names = {*desired.server_names.values(), *(str(s.address) for s in _servers(desired))}
    near = get_close_matches(order.subject, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    where = f" of service {order.service}" if order.service else ""
    return (
        f"{order.subject} is no real server{where} here{hint} Give its address, its address and"
        " port, or its name; `gitvs status --all` lists them"
    )


def _servers(desired: Desired) -> list[RealServer]:
    return desired.state.of(RealServer)


def _order_from(request: Request, peer: Peer) -> Order:
    """Check a request's fields.

    Raises:
        ControlFailed: one of them cannot be meant.
    """
    texts = {
        name: request.get(name, "") for name in ("command", "why", "for", "subject", "service")
    }
    for name, value in texts.items():
        if not isinstance(value, str) or len(value) > 1000 or not (value.isprintable()):
            raise ControlFailed(f"{name} has to be a short text, not {value!r}", ExitCode.USAGE)
    seconds = request.get("seconds")
    if seconds is not None and not (
        isinstance(seconds, int | float) and 1 <= seconds <= LONGEST_SECONDS
    ):
        raise ControlFailed(
            f"a time of {seconds} s: it has to be from 1s to {LONGEST_SECONDS / 3600:.0f}h",
            ExitCode.USAGE,
        )
    allowed = request.get("allow", [])
    if not isinstance(allowed, list) or not set(map(str, allowed)) <= set(LIFTABLE):
        raise ControlFailed(f"gates to lift are {', '.join(LIFTABLE)}", ExitCode.USAGE)
    claimed = texts["for"]
    who = f"{claimed} (as root)" if claimed and peer.uid == 0 else peer.name
    return Order(
        texts["command"],
        who,
        texts["why"],
        seconds,
        texts["subject"],
        texts["service"],
        request.get("now") is True,
        request.get("retry") is True,
        frozenset(map(str, allowed)),
    )
