"""The agent's end of the control socket: checks requests, and has the worker carry them out.

`actions` implements the actions, `adapters.service.control_socket` the protocol.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from functools import partial

from gitvs.adapters.service.control_socket import Peer, RequestJson
from gitvs.agent.actions.answers import Answer, cycle_json, sync_text
from gitvs.agent.actions.operator_actions import ActionRequest, AnyAnswer, OperatorActions
from gitvs.agent.cycle_result import CycleResult
from gitvs.agent.daemon import Agent
from gitvs.core.errors import ControlFailed, ExitCode, GitvsError
from gitvs.core.planning.gates import LIFTABLE_GATES
from gitvs.report.status.status_json import status_json

MAX_OPERATION_SECONDS = 90 * 24 * 3600.0
"""The longest duration of an operation that ends; a permanent change belongs in Git."""

MAX_OBSERVATION_AGE_SECONDS = 2.0
"""How old a reading of the kernel may be for `gitvs status`."""

OBSERVE_TIMEOUT_SECONDS = 5.0
"""How long `gitvs status` waits for a busy worker before it gets the last status."""

ACTION_TIMEOUT_SECONDS = 540.0

MAX_TEXT_CHARACTERS = 1000

_JSON_TYPES = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


class ControlRequests:
    """Takes requests from the control socket's threads, and has the agent carry them out."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._observe_lock = threading.Lock()
        self._pending_observe: Future[None] | None = None
        self._actions = OperatorActions(agent).actions

    def answer(self, request: RequestJson, peer: Peer) -> Answer:
        """Carry out a request. Called from any thread.

        Raises:
            ControlFailed, and any GitvsError: the request is invalid, or it failed.
        """
        if request.get("command") == "status":
            return self._status_json()
        action_request = _parse_action_request(request, peer)
        action = self._actions.get(action_request.command)
        if action is None:
            known = ", ".join(sorted([*self._actions, "status"]))
            raise ControlFailed(
                f"the agent has no command {action_request.command!r}; its commands are {known}"
            )
        job = self._agent.work_queue.submit(partial(action, action_request))
        try:
            result: AnyAnswer = job.result(ACTION_TIMEOUT_SECONDS)
            if isinstance(result, Future):
                later = result.result(ACTION_TIMEOUT_SECONDS)
                return self._sync_answer(later) if isinstance(later, CycleResult) else later
        except Late as error:
            raise ControlFailed(
                f"the agent has not finished this within {ACTION_TIMEOUT_SECONDS:.0f} s;"
                " it continues; `gitvs status` shows the result"
            ) from error
        return result

    def _sync_answer(self, cycle_result: CycleResult) -> Answer:
        return {**cycle_json(cycle_result), "text": sync_text(cycle_result, self._agent.summary)}

    def _status_json(self) -> Answer:
        if self._is_stale():
            with self._observe_lock:
                if self._pending_observe is None or self._pending_observe.done():
                    self._pending_observe = self._agent.work_queue.submit(self._observe_if_stale)
                pending = self._pending_observe
            with suppress(Late, GitvsError):
                pending.result(OBSERVE_TIMEOUT_SECONDS)
        return status_json(self._agent.status)

    def _is_stale(self) -> bool:
        observed_at, now = self._agent.summary.observed_at, self._agent.ports.clock.now()
        return (
            observed_at is None
            or abs((now - observed_at).total_seconds()) > MAX_OBSERVATION_AGE_SECONDS
        )

    def _observe_if_stale(self) -> None:
        """Read the kernel once for all status requests that wait."""
        if self._is_stale():
            self._agent.observe()


def _parse_action_request(request: RequestJson, peer: Peer) -> ActionRequest:
    """Check a request's fields.

    Raises:
        ControlFailed: a field is invalid.
    """
    texts = {
        name: request.get(name, "") for name in ("command", "why", "for", "subject", "service")
    }
    for name, value in texts.items():
        if not isinstance(value, str):
            raise ControlFailed(f"{name} has to be a text, not {_json_type(value)}", ExitCode.USAGE)
        if len(value) > MAX_TEXT_CHARACTERS or not value.isprintable():
            raise ControlFailed(
                f"{name} has to be a text of at most {MAX_TEXT_CHARACTERS} printable characters",
                ExitCode.USAGE,
            )
    seconds = request.get("seconds")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
        raise ControlFailed(
            f"seconds has to be a number, not {_json_type(seconds)}", ExitCode.USAGE
        )
    if seconds is not None and not 1 <= seconds <= MAX_OPERATION_SECONDS:
        raise ControlFailed(
            f"a time of {seconds!s:.20} s: it has to be from 1s to"
            f" {MAX_OPERATION_SECONDS / 86400:.0f}d",
            ExitCode.USAGE,
        )
    allowed_gates = request.get("allow", [])
    if not isinstance(allowed_gates, list) or not all(
        isinstance(gate, str) and gate in LIFTABLE_GATES for gate in allowed_gates
    ):
        raise ControlFailed(f"gates to lift are {', '.join(LIFTABLE_GATES)}", ExitCode.USAGE)
    on_behalf_of = texts["for"]
    who = f"{on_behalf_of} (as root)" if on_behalf_of and peer.uid == 0 else peer.user_name
    return ActionRequest(
        texts["command"],
        who,
        texts["why"],
        seconds,
        texts["subject"],
        texts["service"],
        request.get("now") is True,
        request.get("retry") is True,
        frozenset(allowed_gates),
    )


def _json_type(value: object) -> str:
    return _JSON_TYPES.get(type(value), "null")
