"""Reads the status of a director from its store and kernel, whether or not an agent runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gitvs import __version__
from gitvs.core.model.desired import Desired
from gitvs.core.model.kinds import is_local_address
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Observation
from gitvs.core.model.resources import LocalRoute, SyncDaemon, Vip, VirtualService
from gitvs.core.planning.plan import desired_digest
from gitvs.core.status.agent_status import AgentStatus
from gitvs.core.status.services import service_statuses
from gitvs.ports import Applied, Ports


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What was read of a director; the details of a status come from it."""

    observation: Observation | None
    ledger: Ledger
    applied: Applied | None
    boottime_seconds: float


def load_status(ports: Ports, observation: Observation | None) -> AgentStatus:
    """Return the status of a director with all details, whether or not an agent runs."""
    inputs = load_status_inputs(ports, observation)
    summary = load_summary(ports, inputs)
    return with_details(summary, inputs, desired_digest)


def load_status_inputs(ports: Ports, observation: Observation | None) -> StatusInputs:
    ledger = ports.store.ledger(ports.kernel.incarnation())
    return StatusInputs(observation, ledger, ports.store.applied(), ports.clock.boottime())


def load_summary(ports: Ports, inputs: StatusInputs) -> AgentStatus:
    """Return a status without the details of single objects."""
    incarnation = ports.kernel.incarnation()
    applied = inputs.applied
    operations = ports.store.operations().shown_at(ports.moment())
    is_standby = applied is not None and applied.desired.is_standby
    now = ports.clock.now()
    return AgentStatus(
        "" if applied is None else applied.desired.director,
        __version__,
        now,
        applied_commit=None if applied is None else applied.commit,
        applied_at=None if applied is None else applied.applied_at,
        is_applied=applied is not None,
        observed_at=None if inputs.observation is None else now,
        operations=operations,
        quarantined=tuple(ports.store.quarantined(incarnation)),
        is_transaction_open=ports.store.open_transaction(incarnation) is not None,
        is_standby=operations.standby is not None or is_standby,
    )


def with_details(
    summary: AgentStatus, inputs: StatusInputs | None, digest_of: Callable[[Desired], str]
) -> AgentStatus:
    """Return a status with the details of single objects added."""
    if inputs is None:
        return summary
    ledger, observation = inputs.ledger, inputs.observation
    desired = None if inputs.applied is None else inputs.applied.desired
    if desired is not None:
        summary = replace(summary, desired_digest=digest_of(desired))
    if observation is None:
        return summary
    state = observation.state
    listed = [r for r in state.values() if isinstance(r, VirtualService | SyncDaemon | Vip)]
    routes = state.of_type(LocalRoute)
    owned = [r for r in listed if r.key in ledger.owned]
    return replace(
        summary,
        services=service_statuses(
            observation, ledger, desired, summary.operations, inputs.boottime_seconds
        ),
        vips=tuple(str(r.key) for r in (*owned, *routes) if is_local_address(r)),
        foreign_objects=(
            *(str(r.key) for r in listed if r.key not in ledger.owned),
            *sorted(observation.unknown_objects),
        ),
    )
