"""The agent's end of the control socket: checks what is asked, and has the worker do it.

What each order does is the business of `break_glass`, the protocol that of
`adapters.control`.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from functools import partial

from gitvs.adapters.service.control import Peer, Request
from gitvs.agent.cycle import Turn
from gitvs.agent.daemon import Agent
from gitvs.agent.operator_actions import Answer, BreakGlass, Order, ending
from gitvs.core.errors import ControlFailed, ExitCode, GitvsError
from gitvs.core.planning.gates import LIFTABLE
from gitvs.report.status.status_json import status_document

LONGEST_SECONDS = 90 * 24 * 3600.0
"""No operation that has an end lasts longer: what is meant for ever belongs into Git."""

FRESH_SECONDS = 2.0
"""How old a reading of the kernel may be for `gitvs status`."""

LOOK_SECONDS = 5.0
"""How long `gitvs status` waits for a worker that is busy; then it gets what there is."""

ORDER_SECONDS = 540.0


class Desk:
    """Takes orders from the control socket's threads, and has the agent carry them out."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._looking = threading.Lock()
        self._look: Future[None] | None = None
        self._orders = BreakGlass(agent).orders

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
                return ending(result.result(ORDER_SECONDS))
        except Late as error:
            raise ControlFailed(
                f"the agent has not come to an end of this within {ORDER_SECONDS:.0f} s; it goes"
                " on, and `gitvs status` tells how it ends"
            ) from error
        return result

    def _status(self) -> Answer:
        if self._is_stale():
            with self._looking:
                if self._look is None or self._look.done():
                    self._look = self._agent.inbox.submit(self._look_again)
                look = self._look
            with suppress(Late, GitvsError):
                look.result(LOOK_SECONDS)
        return status_document(self._agent.status)

    def _is_stale(self) -> bool:
        at, now = self._agent.summary.observed_at, self._agent.ports.clock.now()
        return at is None or abs((now - at).total_seconds()) > FRESH_SECONDS

    def _look_again(self) -> None:
        """One reading for all who ask meanwhile."""
        if self._is_stale():
            self._agent.look()


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
