"""What one director should have, from the manifests. Pure: no clock, no host, no kernel."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from gitvs.core.errors import UnknownDirector
from gitvs.core.explain import did_you_mean
from gitvs.core.manifests import Manifests
from gitvs.core.model import (
    AddressFamily,
    Desired,
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
    Source,
    State,
    Sysctl,
    Timeout,
    Vip,
    VirtualService,
)
from gitvs.core.placement import (
    Chosen,
    Mask,
    Placed,
    forwarding_of,
    host_addresses,
    joins,
    server_port,
    tunnel_of,
)
from gitvs.core.places import Spot
from gitvs.core.written import Director, Service, WrittenPort

DEFAULT_SYSCTLS = {
    "net.ipv4.vs.expire_quiescent_template": "1",
    "net.ipv4.vs.expire_nodest_conn": "1",
}


def render(manifests: Manifests, director: str) -> Desired:
    """Return the desired state of a director.

    Raises:
        UnknownDirector: no manifest describes it.
    """
    index = manifests.placement.index.get(director)
    if index is None:
        raise UnknownDirector(_unknown(manifests, director))
    rendering = _Rendering(manifests.placement.all[index], 1 << index)
    rendering.add_host()
    for placed in manifests.placed_on(1 << index):
        rendering.add_service(placed)
    return rendering.desired(manifests)


def affected(before: Manifests, after: Manifests) -> frozenset[str]:
    """Return the directors of either side whose state may differ; all others have the same.

    Only what Directors, Services and Pools say counts, not where it is written.
    """
    if before.directors != after.directors:
        return frozenset((*before.directors, *after.directors))
    mask: Mask = 0
    both = zip(before.placement.all, after.placement.all, strict=True)
    for index, (old, new) in enumerate(both):
        if old != new:
            mask |= 1 << index
    former = {placed.service.name: placed for placed in before.placed}
    latter = {placed.service.name: placed for placed in after.placed}
    for name in former.keys() | latter.keys():
        one, other = former.get(name), latter.get(name)
        if one != other:
            mask |= (one.mask if one else 0) | (other.mask if other else 0)
    return frozenset(director.name for director in after.placement.of(mask))


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


class _Rendering:
    """The desired state of one director in the making."""

    def __init__(self, director: Director, bit: int) -> None:
        self._director = director
        self._bit = bit
        self._resources: dict[Key, Resource] = {}
        self._sources: dict[Key, Source] = {}
        self._drain_seconds: dict[Key, float] = {}
        self._server_names: dict[Key, str] = {}

    def desired(self, manifests: Manifests) -> Desired:
        return Desired(
            director=self._director.name,
            interface=self._director.interface,
            state=State(self._resources.values()),
            drain_seconds=self._drain_seconds,
            policy=manifests.policy,
            sources=self._sources,
            server_names=self._server_names,
            is_standby=self._director.standby,
        )

    def _put(self, resource: Resource, spot: Spot, service: str | None = None) -> None:
        key = resource.key
        if key not in self._resources:
            self._resources[key] = resource
            self._sources[key] = Source(service, spot.document.file, spot.line)

    def add_host(self) -> None:
        """Everything of the Director document itself."""
        director = self._director
        self._put(DummyInterface(director.interface), director.spot_of("interface"))
        sysctls = director.spot_of("sysctls")
        for name, value in {**DEFAULT_SYSCTLS, **director.sysctls}.items():
            self._put(Sysctl(name, value), sysctls / name)
        for timeout, seconds in director.timeouts.items():
            self._put(Timeout(timeout, seconds), director.spot_of("timeouts") / timeout)
        for daemon, spot in director.sync_daemons:
            self._put(daemon, spot)
        if not director.standby:
            for prefix, spot in director.local_routes.items():
                self._put(LocalRoute(prefix), spot)

    def add_service(self, placed: Placed) -> None:
        """The virtual services, real servers and VIPs of one service."""
        service = placed.service
        variant = next((v for v in placed.variants if v.mask & self._bit), None)
        if variant is None:
            return
        if service.firewall_mark is None:
            self._add_endpoints(placed, variant.servers)
        else:
            for family, mask in placed.mark_families(variant).items():
                if mask & self._bit:
                    mark = FirewallMark(service.firewall_mark, family)
                    spot = service.spot_of("firewallMark")
                    self._add_virtual_service(service, mark, None, variant.servers, spot)
        for vip, mask in placed.vips:
            if mask & self._bit and vip.bind and not self._director.standby:
                self._put(self._vip(vip.address), vip.spot, service.name)

    def _vip(self, address: IPAddress) -> Vip:
        return Vip(address, self._director.interface, address.max_prefixlen)

    def _add_endpoints(self, placed: Placed, servers: Iterable[Chosen]) -> None:
        service = placed.service
        for address in self._addresses(placed):
            for port in service.ports:
                endpoint = Endpoint(port.protocol, address, port.port)
                self._add_virtual_service(service, endpoint, port, servers, port.spot)

    def _addresses(self, placed: Placed) -> Iterator[IPAddress]:
        for vip, mask in placed.vips:
            if mask & self._bit:
                yield vip.address
        yield from host_addresses(placed.service, self._director)

    def _add_virtual_service(
        self,
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
        self._put(virtual, spot, service.name)
        self._drain_seconds[virtual.key] = service.drain_seconds
        for chosen in servers:
            if joins(service, chosen.server, listener.family):
                self._add_server(service, listener, port, chosen)

    def _add_server(
        self, service: Service, listener: Listener, port: WrittenPort | None, chosen: Chosen
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
        self._put(real, server.spot, service.name)
        if server.name is not None:
            self._server_names[real.key] = server.name


def _persistence(service: Service, family: AddressFamily) -> Persistence | None:
    written = service.persistence
    if written is None:
        return None
    length = written.ipv4_prefix if family is AddressFamily.IPV4 else written.ipv6_prefix
    return Persistence(written.timeout_seconds, length, written.engine)
