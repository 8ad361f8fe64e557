"""The port `Kernel` on Linux: reads and writes one network namespace.

This module converts changes to requests, in order, in as few calls as possible, and answers to
write results. The content of messages is left to `ipvs_codec`, `rtnetlink_codec` and `sysctl`.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import assert_never

from gitvs.adapters.linux.change_requests import ipvs_requests, replacement_requests
from gitvs.adapters.linux.ipvs import Ipvs
from gitvs.adapters.linux.ipvs_decoder import IpvsDecoder
from gitvs.adapters.linux.ipvs_rules import read_rules, read_rules_of
from gitvs.adapters.linux.listening_sockets import read_wildcard_listeners
from gitvs.adapters.linux.netlink import (
    ANSWER_DONE,
    ANSWER_UNKNOWN,
    Answer,
    Request,
    refused_answer,
)
from gitvs.adapters.linux.rtnetlink import RoutingCache, Rtnetlink
from gitvs.adapters.linux.sysctl import read_sysctls, write_sysctl
from gitvs.adapters.process.network_namespace import namespace_cookie, namespace_file_status
from gitvs.adapters.process.witness_file import WitnessFile
from gitvs.core.errors import GitvsError, KernelUnavailable, KernelUnreadable
from gitvs.core.model.grouped import Grouped
from gitvs.core.model.kinds import is_setting
from gitvs.core.model.ledger import Incarnation
from gitvs.core.model.observation import Observation, Scope
from gitvs.core.model.resources import (
    DummyInterface,
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
from gitvs.core.planning.kernel_refusals import refusal_message
from gitvs.core.planning.ownership import OWNER_ALIAS_PREFIX, number_in_alias, numbered_alias
from gitvs.core.planning.plan import Change
from gitvs.core.planning.risks.host_settings import host_sysctls
from gitvs.ports import WriteResult, WriteStatus

log = logging.getLogger(__name__)

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_MODULES_FOLDER = Path("/lib/modules")
_LOADED_MODULES_FOLDER = Path("/sys/module")
_SCHEDULER_MODULE = re.compile(r"/ip_vs_(\w+)\.ko")


class LinuxKernel:
    """The network namespace of this process.

    `owner_alias` is the alias that a dummy interface gets when it is made here, followed by the
    number of the store. The number is also kept in a file of `witness_folder`, if that is given.
    """

    def __init__(self, owner_alias: str, witness_folder: Path | None = None) -> None:
        self._owner_alias = owner_alias
        self._witness_folder = witness_folder
        self._store_number: int | None = None
        self._decoder = IpvsDecoder()
        self._routing_cache = RoutingCache()

    def incarnation(self) -> Incarnation:
        """Return the incarnation: the current boot and network namespace."""
        return Incarnation(_BOOT_ID_FILE.read_text().strip(), _namespace_cookie())

    def observe(self, scope: Scope) -> Observation:
        """Read everything once; see `ports.Kernel`.

        IPVS is read first: `net.ipv4.vs.*` does not exist before its module is loaded.
        """
        try:
            return self._observe(scope)
        except OSError as error:  # no socket or no memory available
            name = errno.errorcode.get(error.errno or 0, str(error.errno))
            raise KernelUnreadable(f"the kernel could not be read: {error} ({name})") from error

    def _observe(self, scope: Scope) -> Observation:
        self._decoder.expect(scope.expected)
        with Ipvs(self._decoder) as ipvs, Rtnetlink(self._routing_cache) as routing:
            rules = (
                read_rules(ipvs)
                if scope.listeners is None
                else read_rules_of(ipvs, scope.listeners)
            )
            daemons, timeouts = ipvs.read_sync_daemons(), ipvs.read_timeouts()
            observed_routing = routing.observe()
            gateways = routing.read_gateways() if scope.includes_gateways else frozenset()
        links = (
            observed_routing.links[name]
            for name in sorted(scope.interfaces)
            if name in observed_routing.links
        )
        dummies = [DummyInterface(link.name) for link in links if link.kind == "dummy"]
        vips = [vip for vip in observed_routing.vips if vip.interface in scope.interfaces]
        host_setting_names = (
            host_sysctls(observed_routing.links.values())
            if scope.includes_host_settings
            else frozenset()
        )
        sysctls = read_sysctls(scope.sysctls | host_setting_names)
        release = os.uname().release
        others = State(
            [*sysctls, *timeouts, *daemons, *dummies, *vips, *observed_routing.local_routes]
        )
        return Observation(
            others.with_groups(rules.resources),
            Grouped(rules.connections),
            observed_routing.links,
            gateways,
            observed_routing.foreign_routes,
            missing_schedulers(_MODULES_FOLDER / release, _LOADED_MODULES_FOLDER),
            frozenset(rules.unnamed),
            release,
            Grouped(rules.counters),
            read_wildcard_listeners() if scope.includes_host_settings else frozenset(),
        )

    def read_witness(self) -> int | None:
        """Return the newest number that was recorded outside the store; see `ports.Kernel`."""
        with Rtnetlink() as routing:
            aliases = [link.alias for link in routing.read_links() if link.kind == "dummy"]
        numbers = [number_in_alias(alias, self._owner_alias) for alias in aliases]
        if (file := self._witness_file()) is not None:
            numbers.append(file.read())
        return max((number for number in numbers if number is not None), default=None)

    def write_witness(self, number: int, adopted_interface: str | None = None) -> None:
        """Record the store's number outside it; see `ports.Kernel`."""
        self._store_number = number
        try:
            self._write_aliases(adopted_interface)
            if (file := self._witness_file()) is not None:
                file.write(number)
                if adopted_interface is not None:
                    file.supersede_others()
        except (GitvsError, OSError) as error:
            log.warning("number not recorded number=%d reason=%s", number, error)

    def _write_aliases(self, adopted_interface: str | None) -> None:
        with Rtnetlink() as routing:
            for link in routing.read_links():
                is_ours = number_in_alias(link.alias, self._owner_alias) is not None
                is_adopted = link.name == adopted_interface and link.alias.startswith(
                    OWNER_ALIAS_PREFIX
                )
                if link.kind == "dummy" and (is_ours or is_adopted):
                    routing.set_alias(link.name, self._alias())

    def _alias(self) -> str:
        """Return the alias of an interface that is made now."""
        if self._store_number is None:
            return self._owner_alias
        return numbered_alias(self._owner_alias, self._store_number)

    def _witness_file(self) -> WitnessFile | None:
        if self._witness_folder is None:
            return None
        here = self.incarnation()
        store_id = self._owner_alias.removeprefix(OWNER_ALIAS_PREFIX)
        name = f"{store_id}.{here.namespace_cookie}"
        return WitnessFile(self._witness_folder, name, here.boot_id)

    def execute(self, changes: Sequence[Change]) -> list[WriteResult]:
        """Write changes in their order; see `ports.Kernel`."""
        results: list[WriteResult] = []
        for write, consecutive in groupby(changes, key=self._writer_for):
            group = list(consecutive)
            try:
                results += _write_results(group, write(group))
            except KernelUnavailable as error:  # before anything was sent
                results += [
                    WriteResult(c, WriteStatus.REFUSED, errno.EPERM, str(error)) for c in group
                ]
            except (KernelUnreadable, OSError) as error:  # busy, or no socket available
                results += [
                    WriteResult(c, WriteStatus.UNKNOWN, None, f"{c.key}: {error}") for c in group
                ]
        return results

    def _writer_for(self, change: Change) -> Callable[[Sequence[Change]], list[Answer]]:
        """Return the function that writes a change; consecutive changes of one go out together."""
        before, after = change.before, change.after
        if before is not None and before == after:
            return _write_nothing
        if after is None and is_setting(before):
            return _write_nothing  # the kernel cannot remove a setting
        match before if after is None else after:
            case RealServer() | VirtualService() | Timeout():
                return _write_ipvs
            case SyncDaemon():
                is_running = before is not None and after is not None
                return _replace_sync_daemons if is_running else _write_ipvs
            case Vip() | LocalRoute():
                return self._write_addresses
            case DummyInterface():
                return self._write_links
            case Sysctl():
                return _write_sysctls
            case None:
                raise AssertionError("a change has a before or an after")
            case resource:
                assert_never(resource)

    def _write_addresses(self, changes: Sequence[Change]) -> list[Answer]:
        """Write addresses and local routes; if an interface is missing, only its changes fail."""
        encoder = routing_encoder()
        prepared: list[list[Request] | Answer] = []
        for change in changes:
            try:
                prepared.append(encoder.address_requests(change))
            except OSError as error:
                prepared.append(refused_answer(error))
        with Rtnetlink(self._routing_cache) as routing:
            answers = iter(
                routing.execute_groups([p for p in prepared if not isinstance(p, Answer)])
            )
            unknown_keys = routing.wait_for_routes(
                c.after for c in changes if isinstance(c.after, Vip)
            )
        answered = [p if isinstance(p, Answer) else next(answers) for p in prepared]
        return [
            ANSWER_UNKNOWN if change.key in unknown_keys and answer == ANSWER_DONE else answer
            for change, answer in zip(changes, answered, strict=True)
        ]

    def _write_links(self, changes: Sequence[Change]) -> list[Answer]:
        encoder = routing_encoder()
        with Rtnetlink() as routing:
            return [
                routing.execute(encoder.delete_link(_interface_name(change)))
                if change.after is None
                else self._add_dummy(routing, encoder.add_dummy(_interface_name(change)), change)
                for change in changes
            ]

    def _add_dummy(self, routing: Rtnetlink, request: Request, change: Change) -> Answer:
        """Make a dummy interface, DOWN, with the alias of this store."""
        answer = routing.execute(request)
        if answer != ANSWER_DONE or not self._alias():
            return answer
        return routing.set_alias(_interface_name(change), self._alias())


def routing_encoder() -> ModuleType:
    """Return the module that makes requests for links, addresses and routes.

    It loads pyroute2, which takes 150 ms and 20 MB; a director that only reads goes without.

    Raises:
        KernelUnavailable: it cannot be loaded; nothing was sent.
    """
    try:
        return import_module("gitvs.adapters.linux.rtnetlink_codec.requests")
    except ImportError as error:
        raise KernelUnavailable(
            "the code that writes links, addresses and routes cannot be loaded"
            f" ({error}): if gitvs was just upgraded, restart its agent"
        ) from error


def missing_schedulers(modules_folder: Path, loaded_folder: Path) -> frozenset[Scheduler]:
    """Return the schedulers that a kernel certainly lacks: not loaded, not built in, no module.

    If `modules_folder`, the running kernel's folder, has no list (in a container), this is
    unknown, and the result is empty.
    Source: modprobe(8), depmod(8): modules.dep, modules.builtin.
    """
    try:
        module_lists = [
            (modules_folder / name).read_text() for name in ("modules.dep", "modules.builtin")
        ]
    except OSError:
        return frozenset()
    known = {name for text in module_lists for name in _SCHEDULER_MODULE.findall(text)}
    return frozenset(s for s in Scheduler if s not in known and not _is_loaded(loaded_folder, s))


def _is_loaded(loaded_folder: Path, scheduler: Scheduler) -> bool:
    return (loaded_folder / f"ip_vs_{scheduler}").exists()


def _namespace_cookie() -> int:
    """Return a number that identifies this network namespace.

    Before Linux 5.14 it is the inode number, which a later namespace may get again.
    """
    cookie = namespace_cookie()
    return namespace_file_status().st_ino if cookie is None else cookie


def _write_nothing(changes: Sequence[Change]) -> list[Answer]:
    return [ANSWER_DONE] * len(changes)


def _write_ipvs(changes: Sequence[Change]) -> list[Answer]:
    with Ipvs() as ipvs:
        return ipvs.execute_payloads(ipvs_requests(changes))


def _replace_sync_daemons(changes: Sequence[Change]) -> list[Answer]:
    with Ipvs() as ipvs:
        return ipvs.execute_groups(
            [replacement_requests(_sync_daemon_of(change)) for change in changes]
        )


def _write_sysctls(changes: Sequence[Change]) -> list[Answer]:
    return [_write_sysctl(change) for change in changes]


def _write_sysctl(change: Change) -> Answer:
    assert isinstance(change.resource, Sysctl)
    try:
        write_sysctl(change.resource)
    except OSError as error:
        return refused_answer(error)
    return ANSWER_DONE


def _interface_name(change: Change) -> str:
    assert isinstance(change.resource, DummyInterface)
    return change.resource.name


def _sync_daemon_of(change: Change) -> SyncDaemon:
    assert isinstance(change.resource, SyncDaemon)
    return change.resource


def _write_results(changes: Sequence[Change], answers: Sequence[Answer]) -> list[WriteResult]:
    done = WriteStatus.DONE
    return [
        WriteResult(change, done) if answer is ANSWER_DONE else _write_result(change, answer)
        for change, answer in zip(changes, answers, strict=True)
    ]


def _write_result(change: Change, answer: Answer) -> WriteResult:
    match answer.status:
        case WriteStatus.REFUSED:
            code = answer.errno or errno.EIO
            return WriteResult(change, WriteStatus.REFUSED, code, refusal_message(change, code))
        case WriteStatus.UNKNOWN:
            message = f"{change.key}: the kernel's answer got lost"
            return WriteResult(change, WriteStatus.UNKNOWN, None, message)
        case _:
            return WriteResult(change, WriteStatus.DONE)
