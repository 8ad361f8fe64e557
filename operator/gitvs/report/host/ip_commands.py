"""A state's dummy interface, addresses and local routes as `ip` commands.

They create the same objects as gitvs, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator

from gitvs.core.model.resources import DummyInterface, LocalRoute, Vip
from gitvs.core.model.state import State
from gitvs.core.planning.plan import natural_sort_key

ROUTE_PROTOCOL = 71
"""Identifies gitvs's own routes (design, section 5)."""


def ip_commands(state: State) -> Iterator[str]:
    """Yield one command for each object, the interface first."""
    for interface in state.of_type(DummyInterface):
        yield f"ip link add {interface.name} type dummy"
    for route in sorted(state.of_type(LocalRoute), key=natural_sort_key):
        yield f"ip route add local {route.prefix} dev lo table local proto {ROUTE_PROTOCOL}"
    for vip in sorted(state.of_type(Vip), key=natural_sort_key):
        # Duplicate address detection is useless on a dummy, and never ends on one that is DOWN.
        nodad = " nodad" if vip.address.version == 6 else ""
        yield f"ip addr add {vip.address}/{vip.prefix_length} dev {vip.interface}{nodad}"
