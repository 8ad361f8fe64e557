"""Brings the applied state back into a kernel that has just booted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitvs.core.model.grouped import OTHERS
from gitvs.core.model.history import Outcome
from gitvs.core.model.resources import Resource, SyncDaemon, Sysctl
from gitvs.core.planning.plan import is_interface_sysctl
from gitvs.ports import Ports
from gitvs.reconcile.one_pass import PassResult, execute, plan_full_reading
from gitvs.reconcile.repair_memory import RepairMemory
from gitvs.reconcile.store_age import refuse_older_store


def outdated_reason(ports: Ports, max_downtime: timedelta) -> str:
    """Return why the applied state must not be restored automatically; empty if it may be.

    Only relevant before the first pass after boot.
    """
    applied = ports.store.applied()
    if applied is None or ports.store.ledger(ports.kernel.incarnation()).owned:
        return ""
    last_alive_at = max(applied.applied_at, ports.store.alive_at() or applied.applied_at)
    downtime = ports.clock.now() - last_alive_at
    if downtime < timedelta():
        return (
            f"the clock says {ports.clock.now():%F %T} UTC, before the last time that"
            f" gitvs ran here, {last_alive_at:%F %T} UTC"
        )
    if downtime > max_downtime:
        return (
            f"this host was down for {downtime}, longer than restore.max_downtime, {max_downtime}"
        )
    return ""


def restore(ports: Ports) -> PassResult | None:
    """Bring the applied state back into a kernel that has just booted; None: nothing to do.

    It runs without Git and network, so it omits what needs other interfaces: sync daemons, and
    sysctls of single interfaces. The first pass of the agent adds them.

    Raises:
        KernelUnavailable, KernelUnreadable, StoreError: nothing was written.
    """
    refuse_older_store(ports)
    applied = ports.store.applied()
    if applied is None or ports.store.ledger(ports.kernel.incarnation()).owned:
        return None
    # What stays is shared with the applied state, so that comparing the two costs nothing.
    others = applied.desired.state.groups.get(OTHERS, {})
    omitted = [key for key, resource in others.items() if _needs_other_interface(resource)]
    restorable = applied.desired.state.with_changes(drop=omitted)
    planned = plan_full_reading(ports, replace(applied.desired, state=restorable))
    if planned.proposal.is_blocked:
        return PassResult(Outcome.BLOCKED, planned)
    if not planned.proposal.plan:
        return PassResult(Outcome.CONVERGED, planned)
    return execute(ports, planned, applied, RepairMemory())


def _needs_other_interface(resource: Resource) -> bool:
    """Whether a resource needs an interface other than the dummy."""
    if isinstance(resource, SyncDaemon):
        return True
    return isinstance(resource, Sysctl) and is_interface_sysctl(resource.name)
