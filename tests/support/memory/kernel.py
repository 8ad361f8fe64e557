"""A kernel in memory as the port `Kernel`: it refuses what Linux refuses, with the same errno,
and makes of everything else what Linux makes of it.

One contract suite holds it and `linux_kernel` to the same answers. What it has no idea of:
traffic (connections and counters are what a test says they are) and the passing of time.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_interface
from typing import assert_never

from gitvs.core.model.ledger import Incarnation
from gitvs.core.model.observation import (
    ConnectionCounts,
    Counters,
    Link,
    Observation,
    Scope,
    WildcardListener,
)
from gitvs.core.model.resources import (
    DummyInterface,
    IPAddress,
    IPNetwork,
    Key,
    LocalRoute,
    RealServer,
    Resource,
    Scheduler,
    SyncDaemon,
    Sysctl,
    Timeout,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.kernel_refusals import refusal_message
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX, number_in_alias, numbered_alias
from gitvs.core.planning.plan import Change, Phase
from gitvs.core.planning.risks.host_settings import host_sysctls
from gitvs.ports import WriteResult, WriteStatus
from tests.support.memory.ipvs import MemoryIpvs, names_without
from tests.support.memory.routing import LOOPBACK, MemoryRouting
from tests.support.memory.sysctl import MemorySysctls, SysctlSetting


class MemoryKernel:
    """One network namespace of a kernel with IPVS, just booted: `lo` is up, all else empty.

    `mark` is the alias that a dummy interface gets when it is made through the port.
    """

    def __init__(
        self,
        owner_alias: str = "",
        *,
        missing_schedulers: frozenset[Scheduler] = frozenset(),
        extra_sysctls: Mapping[str, tuple[int, ...]] | None = None,
        release: str = "6.1.0",
        is_lo_up: bool = True,
    ) -> None:
        """`more_sysctls` exist beside those that every kernel has, with these numbers."""
        self._owner_alias = owner_alias
        self._missing_schedulers = missing_schedulers
        self._extra_settings = {
            name: SysctlSetting(value) for name, value in (extra_sysctls or {}).items()
        }
        self._release = release
        self._is_lo_up = is_lo_up
        self._boot_number = 0
        self.refused_keys: dict[Key, int] = {}
        """Objects that cannot be changed, whoever tries, with the errno of the refusal."""
        self._store_number: int | None = None
        self._witness_files: dict[str, int] = {}
        self.reboot()

    def incarnation(self) -> Incarnation:
        """Return which life of which network namespace this is."""
        return Incarnation(f"00000000-0000-4000-8000-{self._boot_number:012}", 1)

    def observe(self, scope: Scope) -> Observation:
        """Read everything once; see `ports.Kernel`."""
        routing, ipvs = self._routing, self._ipvs
        links = routing.observed_links()
        wanted = [links[name] for name in sorted(scope.interfaces) if name in links]
        sysctls = scope.sysctls | (
            host_sysctls(links.values()) if scope.includes_host_settings else set()
        )
        rules = ipvs.rules(scope.listeners)
        return Observation(
            State(
                [
                    *self._sysctls.read(sysctls),
                    *(DummyInterface(link.name) for link in wanted if link.kind == "dummy"),
                    *(vip for vip in routing.vips() if vip.interface in scope.interfaces),
                    *routing.local_routes(),
                    *ipvs.timeouts_and_daemons(),
                    *rules,
                ]
            ),
            ipvs.connections(rules),
            links,
            frozenset(routing.gateways if scope.includes_gateways else ()),
            frozenset(routing.foreign_routes),
            self._missing_schedulers,
            frozenset(ipvs.unnamed if scope.listeners is None else ()),
            self._release,
            ipvs.counters(rules),
            frozenset(self._wildcard_listeners) if scope.includes_host_settings else frozenset(),
        )

    def read_witness(self) -> int | None:
        """Return the newest number that was recorded outside the store; see `ports.Kernel`."""
        numbers = [
            number_in_alias(link.alias, self._owner_alias)
            for link in self._routing.links.values()
            if link.kind == "dummy"
        ]
        numbers.append(self._witness_files.get(self._owner_alias))
        return max((number for number in numbers if number is not None), default=None)

    def write_witness(self, number: int, adopted_interface: str | None = None) -> None:
        """Record the store's number outside it; see `ports.Kernel`."""
        self._store_number = self._witness_files[self._owner_alias] = number
        if adopted_interface is not None:
            for alias in self._witness_files.keys() - {self._owner_alias}:
                self._witness_files[alias] += 1
        for link in list(self._routing.links.values()):
            is_ours = number_in_alias(link.alias, self._owner_alias) is not None
            is_adopted = link.name == adopted_interface and link.alias.startswith(
                OWNER_ALIAS_PREFIX
            )
            if link.kind == "dummy" and (is_ours or is_adopted):
                self.set_alias(link.name, self._alias())

    def _alias(self) -> str:
        if self._store_number is None:
            return self._owner_alias
        return numbered_alias(self._owner_alias, self._store_number)

    def set_alias(self, name: str, alias: str) -> None:
        """Give a link another alias."""
        self._routing.links[name] = replace(self._routing.links[name], alias=alias)

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        """Write changes in their order; see `ports.Kernel`."""
        return [self._execute(change) for change in changes]

    def _execute(self, change: Change) -> WriteResult:
        try:
            self._write(change)
        except OSError as error:
            code = error.errno or errno.EIO
            return WriteResult(change, WriteStatus.REFUSED, code, refusal_message(change, code))
        return WriteResult(change, WriteStatus.DONE)

    def _write(self, change: Change) -> None:
        if change.before == change.after:
            return
        if change.key in self.refused_keys:
            raise OSError(self.refused_keys[change.key], "refused")
        if change.after is None and isinstance(change.before, Sysctl | Timeout):
            return  # a setting is there or not; nobody can take it away
        match change.resource:
            case VirtualService() as service:
                self._write_service(change, service)
            case RealServer() as server:
                self._write_server(change, server)
            case Timeout() as timeout:
                self._ipvs.set_timeout(timeout)
            case SyncDaemon() as daemon:
                self._write_daemon(change, daemon)
            case Vip() as vip:
                self._write_vip(change, vip)
            case LocalRoute() as route:
                self._write_local_route(change, route)
            case DummyInterface(name):
                self._write_dummy(change, name)
            case Sysctl() as sysctl:
                self._write_sysctl(sysctl)
            case _:
                assert_never(change.resource)

    def _write_service(self, change: Change, service: VirtualService) -> None:
        if change.after is None:
            self._ipvs.delete_service(service.listener)
        elif change.before is None:
            self._ipvs.add_service(service)
        else:
            self._ipvs.set_service(service)

    def _write_server(self, change: Change, server: RealServer) -> None:
        if change.after is None:
            self._ipvs.delete_server(server)
        elif change.before is None:
            self._ipvs.add_server(server)
        else:
            self._ipvs.set_server(server)

    def _write_daemon(self, change: Change, daemon: SyncDaemon) -> None:
        if change.after is None:
            self._ipvs.stop_daemon(daemon.role)
            return
        if change.before is not None:
            with suppress(ProcessLookupError):  # ESRCH: none runs
                self._ipvs.stop_daemon(daemon.role)
        self._ipvs.start_daemon(daemon)

    def _write_vip(self, change: Change, vip: Vip) -> None:
        if change.after is None:
            self._routing.delete_address(vip)
        elif change.before is None:
            self._routing.add_address(vip)
        elif vip.has_route:
            self._routing.restore_vip_route(vip)
        else:
            self._routing.delete_vip_route(vip)

    def _write_local_route(self, change: Change, route: LocalRoute) -> None:
        if change.after is None:
            self._routing.delete_local_route(route)
        else:
            self._routing.add_local_route(route)

    def _write_dummy(self, change: Change, name: str) -> None:
        if change.after is None:
            self._routing.delete_link(name)
        else:
            self._routing.add_link(Link(name, "dummy", self._alias(), is_up=False))

    def _write_sysctl(self, sysctl: Sysctl) -> None:
        try:
            self._sysctls.write(sysctl)
        finally:
            self._routing.apply_sysctls()

    def as_seen_by(self, owner_alias: str) -> MemoryKernel:
        """Return the same kernel for another store."""
        other = copy.copy(self)
        other._owner_alias, other._store_number = owner_alias, None
        return other

    # What happens on a host by another program

    def reboot(self) -> None:
        """Begin another life: whatever was made is gone, and everything is as at first."""
        self._boot_number += 1
        self._witness_files.clear()
        self._sysctls = MemorySysctls(self._extra_settings)
        self._routing = MemoryRouting(self._sysctls)
        if self._is_lo_up:
            self._routing.set_link_up(LOOPBACK)
        self._ipvs = MemoryIpvs(names_without(self._missing_schedulers), self._routing)
        self._wildcard_listeners: set[WildcardListener] = set()

    def put(self, *resources: Resource) -> None:
        """Make objects, or set them if they exist, as some other program would.

        Schedulers and persistence engines that gitvs has no word for are known from then on.

        Raises:
            OSError: the kernel's answer.
        """
        for resource in resources:
            self._add_names(resource)
            current = self._current(resource)
            if isinstance(resource, DummyInterface) and current is None:
                self.add_link(resource.name, "dummy", is_up=False)
                continue
            self._write(Change(current, resource, Phase.MAKE))
            if isinstance(resource, Vip) and not resource.has_route:
                self._routing.delete_vip_route(resource)

    def remove(self, *resources: Resource) -> None:
        """Take objects away, as some other program would.

        Raises:
            OSError: the kernel's answer.
        """
        for resource in resources:
            self._write(Change(resource, None, Phase.BREAK))

    def refuse_from_now_on(self, resource: Resource, code: int) -> None:
        """Take an object away, and refuse it to whoever wants it back."""
        self.remove(resource)
        self.refused_keys[resource.key] = code

    def set_connections(
        self, server: RealServer, active: int = 0, inactive: int = 0, persistent: int = 0
    ) -> None:
        """Let a real server have so many connections."""
        self._ipvs.set_connections(server.key, ConnectionCounts(active, inactive, persistent))

    def set_counters(self, rule: VirtualService | RealServer, counters: Counters) -> None:
        """Let a virtual service or real server have counted this."""
        self._ipvs.set_counters(rule.key, counters)

    def add_link(
        self,
        name: str,
        kind: str = "",
        *,
        alias: str = "",
        is_up: bool = True,
        addresses: Sequence[str] = (),
    ) -> None:
        """Give the host a link, with addresses as `10.0.0.1/24`; an empty kind is hardware."""
        self._routing.add_link(Link(name, kind, alias, is_up))
        for text in addresses:
            address = ip_interface(text)
            self._routing.add_address(Vip(address.ip, name, address.network.prefixlen))

    def set_mtu(self, name: str, mtu: int) -> None:
        """Set how long the packets of a link may be."""
        self._routing.set_mtu(name, mtu)

    def delete_link(self, name: str) -> None:
        """Take a link away."""
        self._routing.delete_link(name)

    def rename_link(self, name: str, new_name: str) -> None:
        """Give a link another name, as udev does."""
        self._routing.rename_link(name, new_name)

    def put_into_vrf(self, name: str, vrf: str) -> None:
        """Put a link into a VRF; an empty one takes it out."""
        self._routing.put_into_vrf(name, vrf)

    def set_link_up(self, name: str) -> None:
        """Set a link up."""
        self._routing.set_link_up(name)

    def set_link_down(self, name: str) -> None:
        """Set a link down."""
        self._routing.set_link_down(name)

    def add_gateway(self, address: IPAddress) -> None:
        """Let a route of the host lead through a gateway."""
        self._routing.gateways.add(address)

    def add_foreign_route(self, prefix: IPNetwork) -> None:
        """Let somebody else make a prefix local."""
        self._routing.foreign_routes.add(prefix)

    def listen(self, *listeners: WildcardListener) -> None:
        """Let daemons of the host listen on every address."""
        self._wildcard_listeners |= set(listeners)

    def delete_vip_route(self, vip: Vip) -> None:
        """Delete the kernel's own route of a VIP."""
        self._routing.delete_vip_route(vip)

    def add_unnamed(self, text: str) -> None:
        """Let somebody else make an IPVS object that gitvs has no words for."""
        self._ipvs.unnamed.add(text)

    def _current(self, resource: Resource) -> Resource | None:
        interfaces = frozenset(self._routing.links)
        sysctls = frozenset({resource.name} if isinstance(resource, Sysctl) else ())
        return self.observe(Scope(interfaces, sysctls)).state.get(resource.key)

    def _add_names(self, resource: Resource) -> None:
        if not isinstance(resource, VirtualService):
            return
        engine = resource.persistence.engine if resource.persistence is not None else None
        names = {str(n) for n in (resource.scheduler, engine) if n is not None}
        self._ipvs.known_names |= names
