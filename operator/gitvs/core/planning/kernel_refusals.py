"""The kernel's refusals in words: what one errno means for one change, and what to do.

The kernel has a few numbers for many reasons; which reason it is depends on the change.
Each was tried on Linux 6.1 (tests/kernel/test_linux_kernel.py). The text does not say what
happens next: only the caller knows that.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from gitvs.core.model.kinds import facts_of, is_setting
from gitvs.core.model.resources import (
    AddressFamily,
    DummyInterface,
    Forwarding,
    LocalRoute,
    RealServer,
    SyncDaemon,
    Sysctl,
    Timeout,
    TunnelType,
    Vip,
    VirtualService,
    family_of,
)
from gitvs.core.planning.plan import Change


@dataclass(frozen=True, slots=True)
class _Reason:
    """What a refusal means, and what to check; the text names the errno in between."""

    meaning: str
    remedy: str = ""


_ALREADY_EXISTS = _Reason(
    "it exists already", "another program made it since gitvs read the kernel"
)

_GENERAL_REASONS: Mapping[int, _Reason] = {
    errno.EPERM: _Reason(
        "no permission to change it", "is CAP_NET_ADMIN there, outside of a user namespace?"
    ),
    errno.EACCES: _Reason("no permission to change it", "is CAP_NET_ADMIN there?"),
    errno.ENOMEM: _Reason("the kernel has no memory left for it", "see dmesg and /proc/meminfo"),
    errno.ENOBUFS: _Reason("the kernel has no room for the request", "try again"),
    errno.EMSGSIZE: _Reason(
        "the request is larger than the socket's buffer", "see net.core.wmem_max"
    ),
    errno.EBUSY: _Reason("the kernel is busy with it", "try again"),
    errno.EAGAIN: _Reason("the kernel is busy with it", "try again"),
    errno.ENODEV: _Reason(
        "its interface does not exist", "was it removed since gitvs read the kernel?"
    ),
    errno.EAFNOSUPPORT: _Reason("this kernel lacks its address family", "is module ipv6 loaded?"),
}


def refusal_message(change: Change, code: int) -> str:
    """Return a refusal as text without a full stop; `code` is positive, as `errno.ENOENT`.

    `virtual service tcp 192.0.2.7:443: scheduler mh is unknown to this kernel (ENOENT; is
    module ip_vs_mh there?)`
    """
    reason = next((r for c, r in _reasons(change) if c == code), None) or _GENERAL_REASONS.get(code)
    if reason is None:
        verb = "set" if is_setting(change.resource) else str(change.action)
        reason = _Reason(f"the kernel refused to {verb} it: {os.strerror(code)}")
    name = errno_name(code)
    detail = f"{name}; {reason.remedy}" if reason.remedy else name
    subject = f"{facts_of(change.resource).label} {_key_text(change)}".lstrip()
    return f"{subject}: {reason.meaning} ({detail})"


def errno_name(code: int) -> str:
    """Return the kernel's name of an errno; Python calls EOPNOTSUPP ENOTSUP."""
    return "EOPNOTSUPP" if code == errno.EOPNOTSUPP else errno.errorcode.get(code, f"error {code}")


def _key_text(change: Change) -> str:
    return change.resource.name if isinstance(change.resource, DummyInterface) else change.key


def _reasons(change: Change) -> Iterator[tuple[int, _Reason]]:
    """What each errno means for this change; the first reason of an errno applies."""
    match change.resource:
        case VirtualService() as service:
            return _service_reasons(change, service)
        case RealServer() as server:
            return _real_server_reasons(change, server)
        case Vip() as vip:
            return _vip_reasons(change, vip)
        case LocalRoute() as route:
            return _local_route_reasons(change, route)
        case DummyInterface() as interface:
            return _interface_reasons(change, interface)
        case SyncDaemon() as daemon:
            return _sync_daemon_reasons(change, daemon)
        case Sysctl() as sysctl:
            return _sysctl_reasons(sysctl)
        case Timeout() as timeout:
            return _timeout_reasons(timeout)
        case _:
            assert_never(change.resource)


def _service_reasons(change: Change, service: VirtualService) -> Iterator[tuple[int, _Reason]]:
    deleted = _Reason(
        "there is no such virtual service", "another program deleted it since gitvs read the kernel"
    )
    yield errno.ESRCH, deleted
    if change.after is None:
        return
    yield errno.EEXIST, _ALREADY_EXISTS
    engine = service.persistence.engine if service.persistence else None
    names = f"scheduler {service.scheduler}"
    modules = f"ip_vs_{service.scheduler}"
    if engine is not None:
        names += f" or persistence engine {engine}"
        modules += f" or ip_vs_pe_{engine}"
    yield errno.ENOENT, _Reason(f"{names} is unknown to this kernel", f"is module {modules} there?")
    if service.listener.family is AddressFamily.IPV6:
        yield errno.EAFNOSUPPORT, _Reason("this kernel's IPVS has no IPv6", "CONFIG_IP_VS_IPV6")
    yield errno.EINVAL, _Reason("the kernel rejects this scheduler, port or persistence prefix")


def _real_server_reasons(change: Change, server: RealServer) -> Iterator[tuple[int, _Reason]]:
    remedy = "another program deleted it since gitvs read the kernel"
    yield errno.ESRCH, _Reason(f"there is no virtual service {server.listener}", remedy)
    yield errno.ENOENT, _Reason("the virtual service has no such real server", remedy)
    if change.after is None:
        return
    yield errno.EEXIST, _ALREADY_EXISTS
    yield errno.ERANGE, _out_of_range_reason(server)
    yield errno.EINVAL, _invalid_real_server_reason(server)


def _out_of_range_reason(server: RealServer) -> _Reason:
    if server.lower_threshold > server.upper_threshold:
        return _Reason(
            f"the lower threshold {server.lower_threshold} is above the upper"
            f" {server.upper_threshold}"
        )
    return _Reason(f"weight {server.weight} or a threshold is out of range")


def _invalid_real_server_reason(server: RealServer) -> _Reason:
    """The reason for EINVAL, the kernel's one answer to five mistakes.

    The last reason is what remains if the others are ruled out.
    Without a routing table `local` every IPv4 address counts as broadcast.
    Source: Linux fib_frontend.c, __inet_dev_addr_type.
    """
    tunnel = server.tunnel
    if server.address.is_multicast:
        return _Reason(f"{server.address} is a multicast address")
    if tunnel is not None and tunnel.type is TunnelType.GUE and tunnel.port == 0:
        return _Reason("a GUE tunnel needs a port")
    family = family_of(server.address)
    if family is not server.listener.family:
        if server.forwarding is not Forwarding.TUN:
            return _Reason(
                f"forwarding {server.forwarding} cannot lead from {server.listener.family}"
                f" to {family}",
                "only tun crosses address families",
            )
        return _Reason(
            "a real server of another address family cannot be added while a sync daemon runs",
            "the sync protocol has one family only",
        )
    if server.address.version == 6:
        return _Reason(f"the kernel takes {server.address} for no host's address")
    return _Reason(
        f"the kernel takes {server.address} for a broadcast address",
        "it is one of a network of this host; or lo is down and there is no address at all:"
        " bring lo up",
    )


def _vip_reasons(change: Change, vip: Vip) -> Iterator[tuple[int, _Reason]]:
    yield errno.ENODEV, _Reason(f"interface {vip.interface} does not exist")
    yield (
        errno.EACCES,
        _Reason(
            f"IPv6 is disabled on {vip.interface}",
            f"see net.ipv6.conf.{vip.interface.replace('.', '/')}.disable_ipv6",
        )
        if vip.address.version == 6
        else _GENERAL_REASONS[errno.EACCES],
    )
    if change.after is None:
        yield (
            errno.EADDRNOTAVAIL,
            _Reason(
                f"{vip.interface} has no such address",
                "another program removed it since gitvs read the kernel",
            ),
        )
    yield errno.EADDRNOTAVAIL, _Reason(f"{vip.address} cannot be an interface's address")
    yield errno.EEXIST, _ALREADY_EXISTS
    yield errno.EINVAL, _Reason(f"{vip.address} cannot be an address of {vip.interface}")
    yield (
        errno.ESRCH,
        _Reason(
            "its local route is gone", "another program removed it since gitvs read the kernel"
        ),
    )


def _local_route_reasons(change: Change, route: LocalRoute) -> Iterator[tuple[int, _Reason]]:
    yield errno.ESRCH, _Reason("there is no such route", "another program removed it")
    yield errno.EEXIST, _ALREADY_EXISTS
    yield errno.ENETDOWN, _Reason("interface lo is down", "ip link set lo up")
    yield errno.EINVAL, _Reason(f"the kernel cannot make {route.prefix} local", "is lo up?")
    yield errno.EACCES, _Reason("IPv6 is disabled on lo", "see net.ipv6.conf.lo.disable_ipv6")


def _interface_reasons(change: Change, interface: DummyInterface) -> Iterator[tuple[int, _Reason]]:
    yield errno.ENODEV, _Reason("there is no such interface", "another program removed it")
    yield errno.EEXIST, _ALREADY_EXISTS
    yield (
        errno.EOPNOTSUPP,
        _Reason("this kernel makes no dummy interfaces", "is module dummy there?")
        if change.after is not None
        else _Reason("interfaces of its kind cannot be removed"),
    )
    yield errno.EINVAL, _Reason(f"{interface.name!r} is not a valid interface name")
    yield errno.ERANGE, _Reason(f"{interface.name!r} is too long for an interface", "15 bytes")


def _sync_daemon_reasons(change: Change, daemon: SyncDaemon) -> Iterator[tuple[int, _Reason]]:
    yield errno.ESRCH, _Reason(f"no {daemon.role} sync daemon runs", "another program stopped it")
    yield (
        errno.EEXIST,
        _Reason(f"a {daemon.role} sync daemon runs already", "another program started it"),
    )
    yield errno.ENODEV, _Reason(f"interface {daemon.interface} does not exist")
    yield (
        errno.ENETUNREACH,
        _Reason(
            f"interface {daemon.interface} is down"
            + (" or has no IPv6" if daemon.group.version == 6 else ""),
            f"ip link set {daemon.interface} up",
        ),
    )
    yield (
        errno.EADDRNOTAVAIL,
        _Reason(f"interface {daemon.interface} has no address to send to {daemon.group} from"),
    )
    yield (
        errno.EINVAL,
        _Reason(
            f"the kernel rejects a sync daemon with id {daemon.id} on {daemon.interface}",
            "its group is a multicast address, and no real server may be of another address"
            " family than its virtual service",
        ),
    )


def _sysctl_reasons(sysctl: Sysctl) -> Iterator[tuple[int, _Reason]]:
    module = "is module ip_vs there?" if sysctl.name.startswith("net.ipv4.vs.") else ""
    yield errno.ENOENT, _Reason("this kernel has no such setting", module)
    yield errno.EINVAL, _Reason(f"the kernel rejects value {sysctl.value!r}")
    yield errno.ERANGE, _Reason(f"value {sysctl.value!r} is out of range")
    rights = _Reason(
        "no permission to write it",
        "CAP_NET_ADMIN, and no ProtectKernelTunables= without ReadWritePaths=/proc/sys/net?",
    )
    yield errno.EACCES, rights
    yield errno.EPERM, rights
    yield errno.EROFS, _Reason("/proc/sys is mounted read-only here")


def _timeout_reasons(timeout: Timeout) -> Iterator[tuple[int, _Reason]]:
    yield errno.EINVAL, _Reason(f"{timeout.seconds} s is out of range", "0 keeps the former value")
