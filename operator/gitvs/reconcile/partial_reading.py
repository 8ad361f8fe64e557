"""Reads some virtual services again, on top of an earlier reading of everything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import Listener, RealServer, Resource, VirtualService
from gitvs.ports import Kernel

MAX_LISTENERS_READ_SINGLY = 1000
"""Up to this many virtual services are read one by one; above, a full dump is faster."""


def listeners_of(resources: Iterable[Resource | None]) -> frozenset[Listener]:
    """Return the virtual services that resources belong to."""
    return frozenset(r.listener for r in resources if isinstance(r, VirtualService | RealServer))


def observe_listeners(
    kernel: Kernel, scope: Scope, listeners: frozenset[Listener], earlier: Observation
) -> Observation:
    """Read everything again, except the virtual services that are not in `listeners`.

    Those are taken from `earlier`.

    Raises:
        KernelUnavailable, KernelUnreadable: as `Kernel.observe`.
    """
    if len(listeners) > MAX_LISTENERS_READ_SINGLY:
        return kernel.observe(scope)
    part = kernel.observe(replace(scope, listeners=listeners))
    return earlier.updated_with(part, listeners)
