"""Which real servers of one virtual service serve, given what is known of all of them.

A virtual service is judged as a whole, IPv4 and IPv6 apart, since one may die alone. The memory
of a judgement is which servers were in: what operators, drains, sorry servers and an empty
virtual service do to the servers leaves it as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gitvs.core.health.check_states import Standing
from gitvs.core.model.health import Failure
from gitvs.core.model.resources import IPAddress, Key


@dataclass(frozen=True, slots=True)
class JudgedServer:
    """A real server to judge.

    `is_counted`: it has a weight over 0, and no operator and no drain has taken it. `was_in` is
    the memory of the former judgement; None for a newcomer of a live virtual service, of which
    there is none. `is_unproven`: its checks say nothing, since they are on trial without former
    ones, or bring no results.
    """

    key: Key
    address: IPAddress
    weight: int
    is_counted: bool
    standing: Standing = Standing.UNKNOWN
    failure: Failure | None = None
    was_in: bool | None = True
    is_unproven: bool = False

    @property
    def is_up(self) -> bool:
        return self.standing is Standing.UP

    @property
    def is_down(self) -> bool:
        return self.standing is Standing.DOWN


@dataclass(frozen=True, slots=True)
class Limits:
    """What health may do to one virtual service; all are percentages.

    `keep_percent` is of the number of counted servers, the other two of their weight.
    """

    keep_percent: float = 50.0
    lose_percent: float = 0.0
    gain_percent: float = 0.0

    def floor(self, count: int) -> int:
        """Return how many of `count` servers health keeps in at least."""
        return max(1, int(count * self.keep_percent / 100))


class Quorum(StrEnum):
    """Whether enough of the weight is left."""

    HELD = "held"
    LOST = "lost"
    NOBODY = "nobody"
    """Lost since no server is counted; it is held again as soon as one is."""


class Reason(StrEnum):
    """Why a counted real server serves, or does not."""

    UP = "up"
    UNKNOWN = "unknown"
    """It serves if it did before."""
    WAITING = "waiting"
    """A newcomer that has not passed yet."""
    DOWN = "down"
    KEPT = "kept"
    """It is down and serves, since `keepPercent` allows no further removal."""
    FROZEN = "frozen"
    """It is down like nearly all others and serves: this host's own network is the likely cause."""
    LAST = "last"
    """It serves since nobody would otherwise."""


@dataclass(frozen=True, slots=True)
class ServiceJudgement:
    """Which servers of one virtual service serve.

    `reasons` is about every counted server. `memory` is for the next judgement: whether each
    server was in; a newcomer that waits is missing.
    """

    serving: frozenset[Key] = frozenset()
    reasons: Mapping[Key, Reason] = field(default_factory=dict)
    memory: Mapping[Key, bool] = field(default_factory=dict)
    quorum: Quorum = Quorum.HELD


NO_JUDGEMENT = ServiceJudgement()


def judge(
    servers: Sequence[JudgedServer],
    limits: Limits,
    before: ServiceJudgement = NO_JUDGEMENT,
    is_frozen: bool = False,
) -> ServiceJudgement:
    """Judge one virtual service; `before` is the former judgement.

    `is_frozen`: nearly everything that is checked fails at once, so nothing is taken out.
    """
    counted = [s for s in servers if s.is_counted]
    reasons, is_in = _by_itself(counted, is_frozen)
    _keep_some(counted, reasons, is_in, limits)
    memory = {
        s.key: is_in.get(s.key, s.was_in is True)
        for s in servers
        if s.was_in is not None or is_in.get(s.key)
    }
    quorum = before.quorum if is_frozen else _quorum(counted, limits, before.quorum)
    serving = frozenset(key for key, is_server_in in is_in.items() if is_server_in)
    last = _last_resort(counted, serving, is_frozen)
    reasons |= dict.fromkeys(last - serving, Reason.LAST)
    return ServiceJudgement(serving | last, reasons, memory, quorum)


def _by_itself(
    counted: Sequence[JudgedServer], is_frozen: bool
) -> tuple[dict[Key, Reason], dict[Key, bool]]:
    """Return why each server is in or not, before the others are looked at."""
    is_any_up = any(s.is_up for s in counted)
    reasons: dict[Key, Reason] = {}
    is_in: dict[Key, bool] = {}
    for server in counted:
        if server.is_up:
            reason, is_server_in = Reason.UP, True
        elif server.is_down:
            is_server_in = is_frozen and server.was_in is True
            reason = Reason.FROZEN if is_server_in else Reason.DOWN
        elif server.was_in is None and is_any_up and not server.is_unproven:
            reason, is_server_in = Reason.WAITING, False
        else:
            reason, is_server_in = Reason.UNKNOWN, server.was_in is not False
        reasons[server.key], is_in[server.key] = reason, is_server_in
    return reasons, is_in


def _keep_some(
    counted: Sequence[JudgedServer],
    reasons: dict[Key, Reason],
    is_in: dict[Key, bool],
    limits: Limits,
) -> None:
    """Keep servers that fall, up to the floor; those that may still serve come first.

    A refused or unreachable one is kept only while nobody is up: it serves nobody for certain.
    A newcomer that never passed does not count.
    """
    is_any_up = any(s.is_up for s in counted)
    base = [s for s in counted if s.was_in is not None or is_in[s.key]]
    floor = limits.floor(len(base))
    in_count = sum(is_in[s.key] for s in base)
    for server in sorted(base, key=_keeping_order):
        is_falling = reasons[server.key] is Reason.DOWN and server.was_in is True
        is_hard = server.failure is not None and server.failure.is_hard
        if is_falling and in_count < floor and not (is_hard and is_any_up):
            reasons[server.key], is_in[server.key] = Reason.KEPT, True
            in_count += 1


def _keeping_order(server: JudgedServer) -> tuple[int, int, int, Key]:
    failure = server.failure
    rank = 0 if failure is None or failure.is_soft else 2 if failure.is_hard else 1
    return (rank, server.address.version, int(server.address), server.key)


def _last_resort(
    counted: Sequence[JudgedServer], serving: frozenset[Key], is_frozen: bool
) -> frozenset[Key]:
    """Return who serves as well where nobody is up, and nobody unknown is in."""
    unknown = [s for s in counted if not s.is_up and not s.is_down]
    if any(s.is_up for s in counted) or (serving and (unknown or is_frozen)):
        return frozenset()
    soft = [s for s in counted if s.failure is not None and s.failure.is_soft]
    return frozenset(s.key for s in unknown or soft or counted)


def _quorum(counted: Sequence[JudgedServer], limits: Limits, before: Quorum) -> Quorum:
    total = sum(s.weight for s in counted)
    if not total:
        return Quorum.NOBODY
    up_percent = 100 * sum(s.weight for s in counted if s.is_up) / total
    possible_percent = 100 * sum(s.weight for s in counted if not s.is_down) / total
    if before is Quorum.LOST:
        is_held = up_percent > 0 and up_percent >= limits.gain_percent
    else:
        is_held = possible_percent > 0 and possible_percent >= limits.lose_percent
    return Quorum.HELD if is_held else Quorum.LOST
