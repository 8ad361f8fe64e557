"""A second judgement, written from the rules alone and without any cleverness.

It tries sets of real servers where the other one computes.
"""

from __future__ import annotations

from collections.abc import Sequence

from gitvs.core.health.judgement import JudgedServer, Limits, Quorum
from gitvs.core.model.resources import Key


def judge(
    servers: Sequence[JudgedServer], limits: Limits, before: Quorum, is_frozen: bool
) -> tuple[set[Key], dict[Key, bool], Quorum]:
    """Return who serves, the memory, and the quorum."""
    counted = [s for s in servers if s.is_counted]
    some_up = any(s.is_up for s in counted)

    # A newcomer of a live virtual service waits for its first pass while somebody is up.
    waiting = [
        s
        for s in counted
        if not s.is_up and not s.is_down and s.was_in is None and some_up and not s.is_unproven
    ]
    inside = {s.key for s in counted if s.is_up}
    inside |= {
        s.key
        for s in counted
        if not s.is_up and not s.is_down and s not in waiting and s.was_in is not False
    }
    falling = [s for s in counted if s.is_down and s.was_in is True]
    if is_frozen:
        inside |= {s.key for s in falling}
    else:
        # Each falling server is taken out, unless too few would be left; the softest stay first.
        newcomers = [s for s in counted if s.was_in is None and s.key not in inside]
        floor = limits.floor(len(counted) - len(newcomers))
        for server in sorted(falling, key=_softness):
            is_hopeless = _is_hard(server) and some_up
            if not is_hopeless and len(inside) < floor:
                inside.add(server.key)
    memory = {}
    for server in servers:
        if server.is_counted:
            if server.was_in is not None or server.key in inside:
                memory[server.key] = server.key in inside
        elif server.was_in is not None:
            memory[server.key] = server.was_in
    return (
        inside | _never_empty(counted, inside, is_frozen),
        memory,
        _quorum(counted, limits, before, is_frozen),
    )


def _never_empty(counted: Sequence[JudgedServer], inside: set[Key], is_frozen: bool) -> set[Key]:
    if any(s.is_up for s in counted):
        return set()
    unknown = {s.key for s in counted if not s.is_up and not s.is_down}
    if inside and (unknown or is_frozen):
        return set()
    if unknown:
        return unknown
    soft = {s.key for s in counted if s.failure is not None and s.failure.is_soft}
    return soft or {s.key for s in counted}


def _quorum(
    counted: Sequence[JudgedServer], limits: Limits, before: Quorum, is_frozen: bool
) -> Quorum:
    if is_frozen:
        return before
    weight = sum(s.weight for s in counted)
    up = sum(s.weight for s in counted if s.is_up)
    maybe = sum(s.weight for s in counted if not s.is_down)
    if weight == 0:
        return Quorum.NOBODY
    if before is Quorum.LOST:
        return Quorum.HELD if up and up * 100 >= limits.gain_percent * weight else Quorum.LOST
    return Quorum.HELD if maybe and maybe * 100 >= limits.lose_percent * weight else Quorum.LOST


def _is_hard(server: JudgedServer) -> bool:
    return server.failure is not None and str(server.failure) in ("refused", "unreachable")


def _softness(server: JudgedServer) -> tuple[int, int, int]:
    ranks = {"connect-timeout": 1, "refused": 2, "unreachable": 2}
    return ranks.get(str(server.failure), 0), server.address.version, int(server.address)
