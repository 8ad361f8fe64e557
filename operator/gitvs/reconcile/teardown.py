"""Removes everything that gitvs owns."""

from __future__ import annotations

from dataclasses import replace

from gitvs.core.errors import StoreError
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Outcome
from gitvs.core.model.observation import Link
from gitvs.core.model.resources import DummyInterface, Key, Vip
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import (
    OWNER_ALIAS_PREFIX,
    interfaces_of_other_stores,
    renamed_interfaces,
    scope_of,
)
from gitvs.ports import Applied, Ports
from gitvs.reconcile.one_pass import (
    PassOptions,
    PassResult,
    PlannedPass,
    plan_reading,
    record_converged,
)
from gitvs.reconcile.transaction import apply, recover


def teardown(ports: Ports) -> PassResult:
    """Remove everything that gitvs owns, at once: no gate blocks it, and nothing drains.

    Raises:
        KernelUnavailable, KernelUnreadable, StoreError: nothing was written.
    """
    recovered = recover(ports)
    if recovered is not None and recovered.outcome is Outcome.STUCK:
        return PassResult(Outcome.STUCK, recovered=recovered)
    planned = plan_teardown(ports)
    target = Applied(planned.proposal.desired, None, ports.clock.now())
    if not planned.proposal.plan:
        if planned.applied is not None:  # or a restore after boot would bring it back
            record_converged(ports, planned, target)
        return PassResult(Outcome.CONVERGED, planned, recovered=recovered)
    transaction_result = apply(ports, planned.proposal, target, planned.observation)
    return PassResult(transaction_result.outcome, planned, transaction_result, recovered)


def plan_teardown(ports: Ports) -> PlannedPass:
    """Plan the removal of everything that gitvs owns; writes nothing.

    Raises:
        StoreError: this store owns nothing here, and another one does.
    """
    ledger = ports.store.ledger(ports.kernel.incarnation())
    applied = ports.store.applied()
    director, interface = ("", "") if applied is None else _director_and_interface(applied.desired)
    drain_seconds = dict.fromkeys(ledger.owned, 0.0)
    ended_drains = {key: replace(d, deadline_seconds=0.0) for key, d in ledger.drains.items()}
    empty = Desired(director, interface, State(), drain_seconds)
    ledger = replace(ledger, drains=ended_drains)
    observation = ports.kernel.observe(scope_of(ledger, empty))
    owner_alias = OWNER_ALIAS_PREFIX + ports.store.id
    if renamed := renamed_interfaces(observation, ledger, empty, owner_alias):
        ledger = replace(ledger, owned=ledger.owned.union(*map(_keys_on, renamed)))
        observation = ports.kernel.observe(scope_of(ledger, empty))
    planned = plan_reading(ports, empty, ledger, PassOptions(), observation)
    other_store_links = interfaces_of_other_stores(planned.observation, ledger, owner_alias)
    if other_store_links and not planned.proposal.plan:
        raise StoreError(
            f"this state folder owns nothing here, and interface {other_store_links[0].name}"
            " carries the mark"
            f" {other_store_links[0].alias} of another: give that one's --state-dir. If it was"
            " lost, take its objects over with `gitvs apply --adopt` first. Nothing was changed"
        )
    return replace(planned, proposal=replace(planned.proposal, gates=()))


def _keys_on(link: Link) -> set[Key]:
    """Return the keys of an interface that gitvs made, and of its addresses."""
    addresses = (Vip(address, link.name, address.max_prefixlen) for address in link.addresses)
    return {DummyInterface(link.name).key, *(vip.key for vip in addresses)}


def _director_and_interface(desired: Desired) -> tuple[str, str]:
    return desired.director, desired.interface
