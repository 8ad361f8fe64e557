"""Reads some virtual services again, on top of an earlier reading of everything."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import Listener, RealServer, Resource, VirtualService
from gitvs.ports import Kernel

_FEW_LISTENERS = 16
"""Up to this many virtual services are always read one by one."""
_RULES = (VirtualService, RealServer)


def listeners_of(resources: Iterable[Resource | None]) -> frozenset[Listener]:
    """Return the virtual services that resources belong to."""
    # Hashing a listener takes long, and its real servers share it: once takes half of the time.
    found = {r.listener.key: r.listener for r in resources if isinstance(r, _RULES)}
    return frozenset(found.values())


def are_read_singly(listeners: Collection[Listener], earlier: Observation) -> bool:
    """Whether reading virtual services one by one costs less than reading everything.

    One takes two questions, and a full reading one for each virtual service.
    """
    return len(listeners) <= max(_FEW_LISTENERS, len(earlier.state.groups) // 2)


def observe_listeners(
    kernel: Kernel, scope: Scope, listeners: frozenset[Listener], earlier: Observation
) -> Observation:
    """Read everything again, except the virtual services that are not in `listeners`.

    Those are taken from `earlier`.

    Raises:
        KernelUnavailable, KernelUnreadable: as `Kernel.observe`.
    """
    if not are_read_singly(listeners, earlier):
        return kernel.observe(scope)
    part = kernel.observe(replace(scope, listeners=listeners))
    return earlier.updated_with(part, listeners)
