"""`gitvs agent --once`: one cycle, without a daemon."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitvs.agent.cycle import CommitFollower
from gitvs.agent.cycle_result import CycleResult
from gitvs.agent.health.keeper import HealthKeeper
from gitvs.agent.judge import ChooseDirector, Judge
from gitvs.core.errors import GitvsError, SourceError
from gitvs.ports import FollowedSource, Ports
from gitvs.reconcile.quarantine import recover_at_start
from gitvs.reconcile.restore import outdated_reason


def run_single_cycle(
    ports: Ports,
    source: FollowedSource,
    choose_director: ChooseDirector,
    max_downtime: timedelta = timedelta.max,
) -> CycleResult:
    """Recover, fetch, and bring this host to the newest commit that may be applied.

    Raises:
        KernelUnavailable, KernelUnreadable, StoreError: nothing more was written.
    """
    recovered = recover_at_start(ports)
    follower = CommitFollower(ports, Judge(source, choose_director), HealthKeeper(ports))
    problems: list[GitvsError] = []
    try:
        if (head := source.fetch(ports.store.accepted_head())) is not None:
            follower.accept_head(head)
    except SourceError as error:
        problems.append(error)
        if reason := outdated_reason(ports, max_downtime):
            problems.append(SourceError(f"nothing is done before the source answers: {reason}"))
            return CycleResult(None, None, recovered, tuple(problems))
    ports.store.record_alive()
    follower.is_judged()  # the applied commit too: settings or gitvs may be others by now
    cycle_result = follower.run_cycle(problems=problems)
    follower.keep_commits()
    follower.forget_ended_operations(cycle_result)
    return replace(cycle_result, recovered=recovered)
