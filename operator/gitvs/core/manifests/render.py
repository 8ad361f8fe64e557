"""What one director should have, from the manifests. Pure: no clock, no host, no kernel."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from gitvs.core.errors import UnknownDirector
from gitvs.core.manifests.load import Manifests
from gitvs.core.manifests.placement import (
    Chosen,
    Mask,
    Placed,
    Variant,
    forwarding_of,
    host_addresses,
    joins,
    server_port,
    tunnel_of,
)
from gitvs.core.manifests.schema_messages import did_you_mean
from gitvs.core.manifests.syntax.source_positions import Spot
from gitvs.core.manifests.types import Director, Service, WrittenPort
from gitvs.core.model.desired import Desired, Policy, Source
from gitvs.core.model.resources import (
    AddressFamily,
    DummyInterface,
    Endpoint,
    FirewallMark,
    IPAddress,
    Key,
    Listener,
    LocalRoute,
    Persistence,
    RealServer,
    Resource,
    Sysctl,
    Timeout,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State

DEFAULT_SYSCTLS = {
    "net.ipv4.vs.expire_quiescent_template": "1",
    "net.ipv4.vs.expire_nodest_conn": "1",
}


def render(manifests: Manifests, director: str) -> Desired:
    """Return the desired state of a director.

    Raises:
        UnknownDirector: no manifest describes it.
    """
    return Renderer().render(manifests, director)


class Renderer:
    """Renders directors at one commit after another: what stays, and what they share, is made once.

    It keeps what the services of the last two manifests came to.
    """

    def __init__(self) -> None:
        self._manifests: Manifests | None = None
        self._former: _Parts = {}
        self._parts: _Parts = {}

    def render(self, manifests: Manifests, name: str) -> Desired:
        """Do what `render` does."""
        index = manifests.placement.index.get(name)
        if index is None:
            raise UnknownDirector(_unknown(manifests, name))
        if manifests is not self._manifests:
            self._manifests, self._former, self._parts = manifests, self._parts, {}
        director, bit = manifests.placement.all[index], 1 << index
        parts = [self._part(placed, director, bit) for placed in manifests.placed_on(bit)]
        return _together([_host_part(director), *parts], director, manifests.policy)

    def _part(self, placed: Placed, director: Director, bit: Mask) -> _Part:
        key = _view(placed, director, bit)
        known = self._parts.get(key) or self._former.get(key)
        if known is None:
            known = placed, _service_part(placed, director, bit)
        self._parts[key] = known
        return known[1]


def _view(placed: Placed, director: Director, bit: Mask) -> tuple[object, ...]:
    """Return all that the part of a service on a director follows from."""
    return (
        id(placed),
        *(bool(variant.mask & bit) for variant in placed.variants),
        *(bool(mask & bit) for _, mask in placed.vips),
        director.interface,
        director.standby,
        *host_addresses(placed.service, director),
    )


def affected(before: Manifests, after: Manifests) -> frozenset[str]:
    """Return the directors of either side whose state may differ; all others have the same.

    Only what Directors, Services and Pools say counts, not where it is written.
    """
    old, new = before.placement, after.placement
    both = [name for name in new.index if name in old.index]
    found = old.index.keys() ^ new.index.keys()
    found |= {n for n in both if old.all[old.index[n]] != new.all[new.index[n]]}
    former = _by_name(before.placed, [old.index[name] for name in both])
    latter = _by_name(after.placed, [new.index[name] for name in both])
    mask: Mask = 0
    for name in former.keys() | latter.keys():
        one, other = former.get(name), latter.get(name)
        if one != other:
            mask |= (one.mask if one else 0) | (other.mask if other else 0)
    return frozenset(found | {name for i, name in enumerate(both) if mask >> i & 1})


def _by_name(all_placed: Iterable[Placed], indexes: Sequence[int]) -> dict[str, Placed]:
    """Return services by name, on the directors of these indexes alone, numbered anew."""
    if list(indexes) == list(range(len(indexes))):
        ours = (1 << len(indexes)) - 1
        if all(placed.mask | ours == ours for placed in all_placed):
            return {placed.service.name: placed for placed in all_placed}

    @cache
    def renumbered(mask: Mask) -> Mask:
        return sum(1 << new for new, index in enumerate(indexes) if mask >> index & 1)

    return {
        placed.service.name: replace(
            placed,
            mask=renumbered(placed.mask),
            vips=tuple((vip, renumbered(mask)) for vip, mask in placed.vips),
            variants=tuple(Variant(renumbered(v.mask), v.servers) for v in placed.variants),
        )
        for placed in all_placed
    }


def holders(manifests: Manifests, addresses: Container[IPAddress]) -> frozenset[str]:
    """Return the directors that have any of these VIPs."""
    mask: Mask = 0
    for placed in manifests.placed:
        for vip, on in placed.vips:
            if vip.address in addresses:
                mask |= on
    return frozenset(director.name for director in manifests.placement.of(mask))


def _unknown(manifests: Manifests, director: str) -> str:
    known = manifests.directors
    if not known:
        return f"no Director document is named {director}; the manifests have none at all"
    hint = did_you_mean(director, known)
    listed = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    return f"no Director document is named {director}{hint} (known: {listed})"


@dataclass(slots=True)
class _Part:
    """What one document comes to on one director."""

    resources: dict[Key, Resource] = field(default_factory=dict)
    sources: dict[Key, Source] = field(default_factory=dict)
    drain_seconds: dict[Key, float] = field(default_factory=dict)
    server_names: dict[Key, str] = field(default_factory=dict)

    def put(self, resource: Resource, spot: Spot, service: str | None = None) -> None:
        """Add a resource; one that is there already stays."""
        key = resource.key
        if key not in self.resources:
            self.resources[key] = resource
            self.sources[key] = Source(service, spot.document.file, spot.line)


_Parts = dict[tuple[object, ...], tuple[Placed, _Part]]
"""What services came to, by `_view`; each keeps the service, lest another take its place."""


def _together(parts: Iterable[_Part], director: Director, policy: Policy) -> Desired:
    """Put parts together; where several have a resource, such as a VIP, the first counts."""
    whole = _Part()
    for part in parts:
        for key, resource in part.resources.items():
            if key not in whole.resources:
                whole.resources[key] = resource
                whole.sources[key] = part.sources[key]
        whole.drain_seconds.update(part.drain_seconds)
        whole.server_names.update(part.server_names)
    return Desired(
        director=director.name,
        interface=director.interface,
        state=State(whole.resources.values()),
        drain_seconds=whole.drain_seconds,
        policy=policy,
        sources=whole.sources,
        server_names=whole.server_names,
        is_standby=director.standby,
    )


def _host_part(director: Director) -> _Part:
    """Return everything of the Director document itself."""
    part = _Part()
    part.put(DummyInterface(director.interface), director.spot_of("interface"))
    sysctls = director.spot_of("sysctls")
    for name, value in {**DEFAULT_SYSCTLS, **director.sysctls}.items():
        part.put(Sysctl(name, value), sysctls / name)
    for timeout, seconds in director.timeouts.items():
        part.put(Timeout(timeout, seconds), director.spot_of("timeouts") / timeout)
    for daemon, spot in director.sync_daemons:
        part.put(daemon, spot)
    if not director.standby:
        for prefix, spot in director.local_routes.items():
            part.put(LocalRoute(prefix), spot)
    return part


def _service_part(placed: Placed, director: Director, bit: Mask) -> _Part:
    """Return the virtual services, real servers and VIPs of one service."""
    part = _Part()
    service = placed.service
    variant = next((v for v in placed.variants if v.mask & bit), None)
    if variant is None:
        return part
    for listener, port, spot in _listeners(placed, variant, director, bit):
        _add_virtual_service(part, service, listener, port, variant.servers, spot)
    for vip, mask in placed.vips:
        if mask & bit and vip.bind and not director.standby:
            address = vip.address
            bound = Vip(address, director.interface, address.max_prefixlen)
            part.put(bound, vip.spot, service.name)
    return part


def _listeners(
    placed: Placed, variant: Variant, director: Director, bit: Mask
) -> Iterator[tuple[Listener, WrittenPort | None, Spot]]:
    service = placed.service
    if service.firewall_mark is not None:
        for family, mask in placed.mark_families(variant).items():
            if mask & bit:
                mark = FirewallMark(service.firewall_mark, family)
                yield mark, None, service.spot_of("firewallMark")
        return
    addresses = [vip.address for vip, mask in placed.vips if mask & bit]
    for address in (*addresses, *host_addresses(service, director)):
        for port in service.ports:
            yield Endpoint(port.protocol, address, port.port), port, port.spot


def _add_virtual_service(
    part: _Part,
    service: Service,
    listener: Listener,
    port: WrittenPort | None,
    servers: Iterable[Chosen],
    spot: Spot,
) -> None:
    virtual = VirtualService(
        listener,
        service.scheduler,
        service.flags,
        port is not None and port.one_packet,
        _persistence(service, listener.family),
    )
    part.put(virtual, spot, service.name)
    part.drain_seconds[virtual.key] = service.drain_seconds
    for chosen in servers:
        if joins(service, chosen.server, listener.family):
            _add_server(part, service, listener, port, chosen)


def _add_server(
    part: _Part, service: Service, listener: Listener, port: WrittenPort | None, chosen: Chosen
) -> None:
    server = chosen.server
    real = RealServer(
        listener,
        server.address,
        server_port(port, server),
        chosen.weight,
        forwarding_of(service, server),
        tunnel_of(service, server),
        server.upper_threshold,
        server.lower_threshold,
    )
    part.put(real, server.spot, service.name)
    if server.name is not None:
        part.server_names[real.key] = server.name


def _persistence(service: Service, family: AddressFamily) -> Persistence | None:
    written = service.persistence
    if written is None:
        return None
    length = written.ipv4_prefix if family is AddressFamily.IPV4 else written.ipv6_prefix
    return Persistence(written.timeout_seconds, length, written.engine)
