"""One pass: recover → observe → propose → gates → transaction → record.

Brings one kernel to what one commit says. Loading manifests and finding the commit come
before it; when a pass runs is the agent's business.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gitvs.core.errors import UnexpectedPlan
from gitvs.core.model import Desired, Drain, Key
from gitvs.core.ownership import MARK_PREFIX, scope_of
from gitvs.core.proposal import Proposal, propose
from gitvs.ports import Applied, Result
from gitvs.transaction import Finished, Ports, apply, recover


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may say about one pass. `expect` is a plan's or a desired state's digest."""

    allowed: frozenset[str] = frozenset()
    adopt: bool = False
    expect: str | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """How a pass ended. `recovered` is what a crashed one had left, `proposal` what was planned."""

    result: Result
    proposal: Proposal | None = None
    finished: Finished | None = None
    recovered: Finished | None = None


def reconcile(ports: Ports, target: Applied, options: Options = Options()) -> Pass:
    """Bring the kernel to the target, or leave it as it was.

    Raises:
        UnexpectedPlan: the plan is not the expected one; nothing was written.
        KernelUnavailable, KernelUnreadable, StoreError: nothing was written.
    """
    recovered = recover(ports)
    if recovered is not None and recovered.result is Result.STUCK:
        return Pass(Result.STUCK, recovered=recovered)
    proposal = propose_live(ports, target.desired, options.allowed, options.adopt)
    expect(proposal, options.expect)
    if proposal.is_blocked:
        return Pass(Result.BLOCKED, proposal, recovered=recovered)
    if not proposal.plan:
        _record_converged(ports, proposal, target)
        return Pass(Result.CONVERGED, proposal, recovered=recovered)
    finished = apply(ports, proposal, target)
    return Pass(finished.result, proposal, finished, recovered)


def propose_live(
    ports: Ports, desired: Desired, allowed: Collection[str] = (), adopt: bool = False
) -> Proposal:
    """Plan against the kernel as it is now; writes nothing."""
    ledger = ports.store.ledger(ports.kernel.incarnation())
    applied = ports.store.applied()
    return propose(
        desired,
        None if applied is None else applied.desired,
        ports.kernel.observe(scope_of(ledger, desired)),
        ledger,
        ports.clock.boottime(),
        MARK_PREFIX + ports.store.id,
        adopt=adopt,
        allowed=allowed,
    )


def expect(proposal: Proposal, digest: str | None) -> None:
    """Refuse any plan but the expected one.

    Raises:
        UnexpectedPlan: neither the plan nor the desired state has this digest.
    """
    if digest is not None and digest not in (proposal.digest, proposal.desired_digest):
        raise UnexpectedPlan(
            f"the plan is {proposal.digest} (desired state {proposal.desired_digest}), not the"
            f" expected {digest}: look at it with `gitvs plan`. Nothing was changed."
        )


def _record_converged(ports: Ports, proposal: Proposal, target: Applied) -> None:
    """Record the commit as applied, if that is news."""
    incarnation = ports.kernel.incarnation()
    before = ports.store.applied()
    is_news = before is None or (before.desired, before.commit) != (target.desired, target.commit)
    if is_news or ports.store.ledger(incarnation) != proposal.ledger:
        ports.store.record_converged(incarnation, proposal.ledger, target)


def drains_left(ports: Ports) -> dict[Key, Drain]:
    """Return the drains in force."""
    return dict(ports.store.ledger(ports.kernel.incarnation()).drains)
