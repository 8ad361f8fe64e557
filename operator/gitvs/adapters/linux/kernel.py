"""The Linux kernel as the port `Kernel`: one network namespace, read and written.

Which message says what is the business of `ipvs_codec`, `rtnetlink` and `sysctl`; here
changes become requests, in order, in as few calls as possible, and answers become outcomes.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from struct import Struct
from typing import assert_never

from gitvs.adapters.linux import rtnetlink_messages
from gitvs.adapters.linux.ipvs import Ipvs
from gitvs.adapters.linux.ipvs_codec import requests
from gitvs.adapters.linux.ipvs_codec.numbers import Payload
from gitvs.adapters.linux.ipvs_codec.replies import Unnamed
from gitvs.adapters.linux.ipvs_decoder import IpvsDecoder
from gitvs.adapters.linux.netlink import DONE, Answer, Request, refused
from gitvs.adapters.linux.rtnetlink import RoutingMemory, Rtnetlink
from gitvs.adapters.linux.sockets import wildcard_listeners
from gitvs.adapters.linux.sysctl import read_sysctls, write_sysctl
from gitvs.core.errors import KernelUnavailable, KernelUnreadable
from gitvs.core.model.ledger import Incarnation
from gitvs.core.model.observation import Connections, Counters, Observation, Scope
from gitvs.core.model.resources import (
    DummyInterface,
    Key,
    Listener,
    LocalRoute,
    RealServer,
    Scheduler,
    SyncDaemon,
    Sysctl,
    Timeout,
    Vip,
    VirtualService,
)
from gitvs.core.model.state import State
from gitvs.core.planning.host_settings import settings_of
from gitvs.core.planning.kernel_refusals import explain
from gitvs.core.planning.plan import Change
from gitvs.ports import Outcome, Status

_SO_NETNS_COOKIE = 71  # Source: Linux include/uapi/asm-generic/socket.h, since 5.14
_COOKIE = Struct("=Q")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/net")
_MODULES = Path("/lib/modules")
_LOADED_MODULES = Path("/sys/module")
_SCHEDULER_MODULE = re.compile(r"/ip_vs_(\w+)\.ko")
_READINGS = 5

_NONE: frozenset[int] = frozenset()
_NOT_RUNNING = frozenset({errno.ESRCH})


class LinuxKernel:
    """The network namespace of this process.

    `mark` is the alias that a dummy interface gets when it is made here.
    """

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._decoder = IpvsDecoder()
        self._routing = RoutingMemory()
        self._written: list[RealServer] = []

    def incarnation(self) -> Incarnation:
        """Return which life of which network namespace this is."""
        return Incarnation(_BOOT_ID.read_text().strip(), _namespace_cookie())

    def observe(self, scope: Scope) -> Observation:
        """Read everything once; see `ports.Kernel`.

        IPVS comes first: `net.ipv4.vs.*` does not exist before its module is loaded.
        """
        try:
            return self._observe(scope)
        except OSError as error:  # no socket to be had, no memory
            name = errno.errorcode.get(error.errno or 0, str(error.errno))
            raise KernelUnreadable(f"the kernel could not be read: {error} ({name})") from error

    def _observe(self, scope: Scope) -> Observation:
        self._decoder.expect(self._written)
        self._written.clear()
        with Ipvs(self._decoder) as ipvs, Rtnetlink(self._routing) as routing:
            rules = _rules(ipvs) if scope.listeners is None else _rules_of(ipvs, scope.listeners)
            daemons, timeouts = ipvs.sync_daemons(), ipvs.timeouts()
            found = routing.observe()
        links = (found.links[name] for name in sorted(scope.interfaces) if name in found.links)
        dummies = [DummyInterface(link.name) for link in links if link.kind == "dummy"]
        vips = [vip for vip in found.vips if vip.interface in scope.interfaces]
        more = settings_of(found.links.values()) if scope.surroundings else frozenset()
        sysctls = read_sysctls(scope.sysctls | more)
        release = os.uname().release
        return Observation(
            State(
                [*sysctls, *timeouts, *daemons, *dummies, *vips, *found.local_routes, *rules.all]
            ),
            rules.connections,
            found.links,
            found.gateways,
            found.foreign_routes,
            missing_schedulers(_MODULES / release, _LOADED_MODULES),
            frozenset(rules.unnamed),
            release,
            rules.counters,
            wildcard_listeners() if scope.surroundings else frozenset(),
        )

    def execute(self, changes: Sequence[Change]) -> list[Outcome]:
        """Write changes in their order; see `ports.Kernel`."""
        outcomes: list[Outcome] = []
        for write, run in groupby(changes, key=self._writer_of):
            group = list(run)
            try:
                outcomes += _outcomes(group, write(group))
            except (KernelUnavailable, KernelUnreadable) as error:  # before anything was sent
                outcomes += [Outcome(c, Status.REFUSED, errno.EPERM, str(error)) for c in group]
            except OSError as error:  # no socket to be had
                outcomes += [_outcome(change, refused(error)) for change in group]
        self._written += (c.after for c in changes if isinstance(c.after, RealServer))
        return outcomes

    def _writer_of(self, change: Change) -> Callable[[Sequence[Change]], list[Answer]]:
        """Return what writes a change; consecutive ones of one writer go out together."""
        before, after = change.before, change.after
        if before is not None and before == after:
            return _write_nothing
        if after is None and isinstance(before, Sysctl | Timeout):
            return _write_nothing  # a setting is there or not; nobody can take it away
        match change.resource:
            case SyncDaemon() if before is not None and after is not None:
                return _replace_sync_daemons
            case VirtualService() | RealServer() | Timeout() | SyncDaemon():
                return _write_ipvs
            case Vip() | LocalRoute():
                return self._write_addresses
            case DummyInterface():
                return self._write_links
            case Sysctl():
                return _write_sysctls
            case _:
                assert_never(change.resource)

    def _write_addresses(self, changes: Sequence[Change]) -> list[Answer]:
        """Write addresses and local routes, those whose interface is missing apart."""
        prepared: list[list[Request] | Answer] = []
        for change in changes:
            try:
                prepared.append(_address_requests(change))
            except OSError as error:
                prepared.append(refused(error))
        with Rtnetlink(self._routing) as routing:
            answers = iter(routing.execute([p for p in prepared if not isinstance(p, Answer)]))
            routing.await_routes(c.after for c in changes if isinstance(c.after, Vip))
        return [p if isinstance(p, Answer) else next(answers) for p in prepared]

    def _write_links(self, changes: Sequence[Change]) -> list[Answer]:
        with Rtnetlink() as routing:
            return [
                routing.delete_link(_interface(change))
                if change.after is None
                else routing.add_dummy(_interface(change), self._mark)
                for change in changes
            ]


def ipvs_requests(changes: Iterable[Change]) -> Iterator[Payload]:
    """Yield the request of each change; real servers in a row share the part of their service."""
    listener: Listener | None = None
    service = b""
    for change in changes:
        resource = change.resource
        if not isinstance(resource, RealServer):
            yield _ipvs_request(change)
            continue
        if resource.listener is not listener:
            listener = resource.listener
            service = requests.service_part(listener)
        if change.after is None:
            yield requests.delete_real_server(resource, service)
        elif change.before is None:
            yield requests.new_real_server(resource, service)
        else:
            yield requests.set_real_server(resource, service)


def missing_schedulers(modules: Path, loaded: Path) -> frozenset[Scheduler]:
    """Return the schedulers that a kernel surely lacks: not loaded, not built in, no module.

    Where `modules`, the running kernel's folder, has no list (a container), nothing is sure.
    Source: modprobe(8), depmod(8): modules.dep, modules.builtin.
    """
    try:
        lists = [(modules / name).read_text() for name in ("modules.dep", "modules.builtin")]
    except OSError:
        return frozenset()
    known = {name for text in lists for name in _SCHEDULER_MODULE.findall(text)}
    return frozenset(s for s in Scheduler if s not in known and not _is_loaded(loaded, s))


def _is_loaded(loaded: Path, scheduler: Scheduler) -> bool:
    return (loaded / f"ip_vs_{scheduler}").exists()


def _namespace_cookie() -> int:
    """Return what tells this network namespace from others.

    Before Linux 5.14 that is its inode number, which a later namespace may get again.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            data = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, _COOKIE.size)
        except OSError:
            return _NAMESPACE.stat().st_ino
        return int(_COOKIE.unpack(data)[0])


@dataclass(slots=True)
class _Rules:
    """Virtual services and real servers as they are read, what is counted, what has no name."""

    all: list[VirtualService | RealServer] = field(default_factory=list)
    connections: dict[Key, Connections] = field(default_factory=dict)
    counters: dict[Key, Counters] = field(default_factory=dict)
    unnamed: set[str] = field(default_factory=set)


def _rules(ipvs: Ipvs) -> _Rules:
    """Read virtual services and their real servers.

    IPVS does not mark a dump that a change cut short, so the virtual services are read again
    at the end: a table that changed meanwhile is read anew.

    Raises:
        KernelUnreadable: it changed every time.
    """
    services = ipvs.services()
    for _ in range(_READINGS):
        rules = _Rules()
        for service, counters in services:
            if isinstance(service, Unnamed):
                rules.unnamed.add(service.text)
                continue
            rules.all.append(service)
            rules.counters[service.key] = counters
            _add_real_servers(rules, ipvs, service)
        again = ipvs.services()
        if _keys(again) == _keys(services):
            return rules
        services = again
    raise KernelUnreadable(f"IPVS changed while it was read, {_READINGS} times in a row: try again")


def _rules_of(ipvs: Ipvs, listeners: Iterable[Listener]) -> _Rules:
    """Read some virtual services alone, as far as they are there."""
    rules = _Rules()
    for listener in listeners:
        service, counters = ipvs.service(listener) or (None, None)
        if counters is None or not isinstance(service, VirtualService):
            continue
        rules.all.append(service)
        rules.counters[service.key] = counters
        _add_real_servers(rules, ipvs, service)
    return rules


def _keys(services: Iterable[tuple[VirtualService | Unnamed, Counters]]) -> set[str]:
    return {s.text if isinstance(s, Unnamed) else s.key for s, _ in services}


def _add_real_servers(rules: _Rules, ipvs: Ipvs, service: VirtualService) -> None:
    for server, connections, counters in ipvs.real_servers(service.listener):
        if isinstance(server, Unnamed):
            rules.unnamed.add(server.text)
            continue
        key = server.key
        rules.all.append(server)
        rules.connections[key] = connections
        rules.counters[key] = counters


def _write_nothing(changes: Sequence[Change]) -> list[Answer]:
    return [DONE] * len(changes)


def _write_ipvs(changes: Sequence[Change]) -> list[Answer]:
    with Ipvs() as ipvs:
        return ipvs.execute_single(ipvs_requests(changes))


def _ipvs_request(change: Change) -> Payload:
    """Return the request of a change of anything but a real server."""
    before, after = change.before, change.after
    match change.resource:
        case VirtualService(listener) as service:
            if after is None:
                return requests.delete_service(listener)
            make = requests.new_service if before is None else requests.set_service
            return make(service)
        case SyncDaemon(role) as daemon:
            if after is None:
                return requests.stop_sync_daemon(role)
            return requests.start_sync_daemon(daemon)
        case Timeout() as timeout:
            return requests.set_timeout(timeout)
        case _:
            raise AssertionError(f"{change.key} is not an object of IPVS")


def _replace_sync_daemons(changes: Sequence[Change]) -> list[Answer]:
    with Ipvs() as ipvs:
        return ipvs.execute([_replacement(_sync_daemon(change)) for change in changes])


def _replacement(daemon: SyncDaemon) -> list[tuple[Payload, frozenset[int]]]:
    """Return the requests that stop a sync daemon, if one runs, and start another in its role."""
    stop = requests.stop_sync_daemon(daemon.role)
    return [(stop, _NOT_RUNNING), (requests.start_sync_daemon(daemon), _NONE)]


def _address_requests(change: Change) -> list[Request]:
    match change.resource:
        case Vip() as vip:
            return _vip_requests(change, vip)
        case LocalRoute() as route:
            if change.after is None:
                return rtnetlink_messages.delete_local_route(route)
            return rtnetlink_messages.add_local_route(route)
        case _:
            raise AssertionError(f"{change.key} is neither an address nor a route")


def _vip_requests(change: Change, vip: Vip) -> list[Request]:
    if change.after is None:
        return rtnetlink_messages.delete_vip(vip)
    if change.before is None:
        return rtnetlink_messages.add_vip(vip)
    return (
        rtnetlink_messages.restore_vip_route(vip)
        if vip.has_route
        else rtnetlink_messages.delete_vip_route(vip)
    )


def _write_sysctls(changes: Sequence[Change]) -> list[Answer]:
    return [_write_sysctl(change) for change in changes]


def _write_sysctl(change: Change) -> Answer:
    assert isinstance(change.resource, Sysctl)
    try:
        write_sysctl(change.resource)
    except OSError as error:
        return refused(error)
    return DONE


def _interface(change: Change) -> str:
    assert isinstance(change.resource, DummyInterface)
    return change.resource.name


def _sync_daemon(change: Change) -> SyncDaemon:
    assert isinstance(change.resource, SyncDaemon)
    return change.resource


def _outcomes(changes: Sequence[Change], answers: Sequence[Answer]) -> list[Outcome]:
    done = Status.DONE
    return [
        Outcome(change, done) if answer is DONE else _outcome(change, answer)
        for change, answer in zip(changes, answers, strict=True)
    ]


def _outcome(change: Change, answer: Answer) -> Outcome:
    match answer.status:
        case Status.REFUSED:
            code = answer.errno or errno.EIO
            return Outcome(change, Status.REFUSED, code, explain(change, code))
        case Status.UNKNOWN:
            message = f"{change.key}: the kernel's answer got lost (ENOBUFS)"
            return Outcome(change, Status.UNKNOWN, None, message)
        case _:
            return Outcome(change, Status.DONE)
