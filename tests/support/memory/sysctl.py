"""Kernel settings as Linux keeps them: what they are at first, which values they take, and
what writing one does to others.

A setting holds whole numbers, one or several; what is not in the table does not exist here.
Source: Linux Documentation/networking/ip-sysctl.rst and ipvs-sysctl.rst, kernel/sysctl.c.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gitvs.core.model.resources import Sysctl

_INTEGER = re.compile(r"-?(0[xX][0-9a-fA-F]+|[0-9]+)")
_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1

Numbers = tuple[int, ...]


def _is_always_valid(_: Numbers) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class SysctlSetting:
    """A setting at first, and the range of each of its numbers."""

    value: Numbers
    lowest: int = _INT_MIN
    highest: int = _INT_MAX
    is_valid: Callable[[Numbers], bool] = _is_always_valid
    is_partly_written: bool = True
    """Whether the numbers before a bad one are written all the same."""
    refuses_bad_values: bool = True
    """Whether a bad value is refused; otherwise it is accepted and nothing comes of it."""


def _unlimited(*value: int) -> SysctlSetting:
    return SysctlSetting(value)


def _is_ascending(numbers: Numbers) -> bool:
    low, high = numbers
    return low <= high


def _is_sync_threshold(numbers: Numbers) -> bool:
    """Source: Linux net/netfilter/ipvs/ip_vs_ctl.c, proc_do_sync_threshold."""
    threshold, period = numbers
    return period == 0 or threshold < period


_GLOBAL_SETTINGS: Mapping[str, SysctlSetting] = {
    "net.core.somaxconn": SysctlSetting((4096,), 0),
    "net.ipv4.ip_local_port_range": SysctlSetting((32768, 60999), 1, 65535, _is_ascending, False),
    "net.ipv4.ip_nonlocal_bind": SysctlSetting((0,), 0, 255),
    "net.ipv4.vs.am_droprate": _unlimited(10),
    "net.ipv4.vs.amemthresh": _unlimited(1024),
    "net.ipv4.vs.backup_only": _unlimited(0),
    "net.ipv4.vs.cache_bypass": _unlimited(0),
    "net.ipv4.vs.conn_reuse_mode": _unlimited(1),
    "net.ipv4.vs.conntrack": _unlimited(0),
    "net.ipv4.vs.drop_entry": SysctlSetting((0,), 0, 3),
    "net.ipv4.vs.drop_packet": SysctlSetting((0,), 0, 3),
    "net.ipv4.vs.expire_nodest_conn": _unlimited(0),
    "net.ipv4.vs.expire_quiescent_template": _unlimited(0),
    "net.ipv4.vs.ignore_tunneled": _unlimited(0),
    "net.ipv4.vs.nat_icmp_send": _unlimited(0),
    "net.ipv4.vs.pmtu_disc": _unlimited(1),
    "net.ipv4.vs.run_estimation": _unlimited(1),
    "net.ipv4.vs.schedule_icmp": _unlimited(0),
    "net.ipv4.vs.secure_tcp": SysctlSetting((0,), 0, 3),
    "net.ipv4.vs.sloppy_sctp": _unlimited(0),
    "net.ipv4.vs.sloppy_tcp": _unlimited(0),
    "net.ipv4.vs.snat_reroute": _unlimited(1),
    "net.ipv4.vs.sync_persist_mode": _unlimited(0),
    "net.ipv4.vs.sync_refresh_period": _unlimited(0),
    "net.ipv4.vs.sync_retries": SysctlSetting((0,), 0, 3),
    "net.ipv4.vs.sync_sock_size": _unlimited(0),
    "net.ipv4.vs.sync_threshold": SysctlSetting((3, 50), 0, is_valid=_is_sync_threshold),
    "net.ipv4.vs.sync_version": SysctlSetting((1,), 0, 1),
}
_LINK_SETTINGS: Mapping[str, Mapping[str, int]] = {
    "net.ipv4.conf": {
        "accept_local": 0,
        "accept_redirects": 1,
        "arp_announce": 0,
        "arp_filter": 0,
        "arp_ignore": 0,
        "arp_notify": 0,
        "forwarding": 0,
        "log_martians": 0,
        "promote_secondaries": 0,
        "route_localnet": 0,
        "rp_filter": 0,
        "send_redirects": 1,
    },
    "net.ipv6.conf": {
        "accept_ra": 1,
        "accept_redirects": 1,
        "autoconf": 1,
        "disable_ipv6": 0,
        "forwarding": 0,
    },
}
_NEVER_REFUSING = {("net.ipv6.conf", "disable_ipv6"), ("net.ipv6.conf", "forwarding")}
"""Their writers drop the error. Source: Linux net/ipv6/addrconf.c, addrconf_sysctl_forward and
addrconf_sysctl_disable."""
_ALIASES = {"net.ipv4.ip_forward": "net.ipv4.conf.all.forwarding"}


class MemorySysctls:
    """The settings of one network namespace; those of a link come and go with it."""

    def __init__(self, extra: Mapping[str, SysctlSetting]) -> None:
        self._settings: dict[str, SysctlSetting] = {**_GLOBAL_SETTINGS, **extra}
        self._detached: set[str] = set()
        """Settings of links that follow `conf.default` no longer."""
        for family, key in _link_setting_keys():
            refuses_bad_values = (family, key) not in _NEVER_REFUSING
            setting = SysctlSetting(
                (_LINK_SETTINGS[family][key],), refuses_bad_values=refuses_bad_values
            )
            self._settings[f"{family}.all.{key}"] = setting
            self._settings[f"{family}.default.{key}"] = setting

    def read(self, names: Iterable[str]) -> Iterator[Sysctl]:
        """Yield the settings that exist, by name, with single spaces."""
        for name in sorted(names):
            setting = self._settings.get(_ALIASES.get(name, name))
            if setting is not None:
                yield Sysctl(name, " ".join(str(number) for number in setting.value))

    def write(self, sysctl: Sysctl) -> None:
        """Write one setting.

        Raises:
            OSError: ENOENT, no such setting; EINVAL, no such value.
        """
        name = _ALIASES.get(sysctl.name, sysctl.name)
        setting = self._settings.get(name)
        if setting is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), sysctl.name)
        numbers, is_complete = _parse_value(sysctl.value, setting)
        self._set_value(name, numbers)
        if not is_complete and setting.refuses_bad_values:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), sysctl.value)
        self._detached.add(name)
        if numbers != setting.value:
            self._propagate(name, numbers)

    def add_link(self, link: str) -> None:
        """Give a new link its settings: those of `default`."""
        for family, key in _link_setting_keys():
            self._settings[sysctl_name(family, link, key)] = self._settings[
                f"{family}.default.{key}"
            ]

    def remove_link(self, link: str) -> None:
        """Take a link's settings away."""
        for family, key in _link_setting_keys():
            name = sysctl_name(family, link, key)
            del self._settings[name]
            self._detached.discard(name)

    def rename_link(self, link: str, new_link: str) -> None:
        """Move a link's settings to its new name."""
        for family, key in _link_setting_keys():
            old, new = sysctl_name(family, link, key), sysctl_name(family, new_link, key)
            self._settings[new] = self._settings.pop(old)
            if old in self._detached:
                self._detached.add(new)
                self._detached.discard(old)

    def detach_from_default(self, link: str) -> None:
        """Note that a link got an IPv4 address: from then on it follows `default` no longer.

        Source: Linux net/ipv4/devinet.c, ipv4_devconf_setall.
        """
        self._detached.update(
            sysctl_name(family, link, key) for family, key in _link_setting_keys()
        )

    def is_on(self, name: str) -> bool:
        """Whether a setting is not 0."""
        return self._settings[name].value != (0,)

    def _set_value(self, name: str, numbers: Numbers) -> None:
        self._settings[name] = replace(self._settings[name], value=numbers)

    def _propagate(self, name: str, numbers: Numbers) -> None:
        """Change what a change of this setting changes."""
        family, scope, key = name.rsplit(".", 2)
        if scope == "all" and key in ("forwarding", "disable_ipv6"):
            self._switch_all_links(family, key, numbers)
        elif scope == "default" and family == "net.ipv4.conf":
            for other in self._names_of_links(family, key):
                if other not in self._detached:
                    self._set_value(other, numbers)

    def _switch_all_links(self, family: str, key: str, numbers: Numbers) -> None:
        """Set a switch for every link.

        Source: Linux net/ipv4/devinet.c, inet_forward_change; net/ipv6/addrconf.c,
        addrconf_fixup_forwarding and addrconf_disable_ipv6.
        """
        for other in (f"{family}.default.{key}", *self._names_of_links(family, key)):
            self._set_value(other, numbers)
            self._detached.add(other)
        if family == "net.ipv4.conf":
            self._set_value("net.ipv4.conf.all.accept_redirects", (int(numbers == (0,)),))

    def _names_of_links(self, family: str, key: str) -> list[str]:
        shared = (f"{family}.all.{key}", f"{family}.default.{key}")
        names = (n for n in self._settings if n.startswith(f"{family}.") and n.endswith(f".{key}"))
        return [name for name in names if name not in shared]


def sysctl_name(family: str, link: str, key: str) -> str:
    """Return the name of a link's setting, a dot in the link's as `/`. Source: sysctl(8)."""
    return f"{family}.{link.replace('.', '/')}.{key}"


def _link_setting_keys() -> Iterator[tuple[str, str]]:
    return ((family, key) for family, keys in _LINK_SETTINGS.items() for key in keys)


def _parse_value(text: str, setting: SysctlSetting) -> tuple[Numbers, bool]:
    """Return what a text makes of a setting, and whether it was good to the end.

    Fewer numbers set the first ones, and what comes behind enough of them is ignored.
    Source: Linux kernel/sysctl.c, __do_proc_dointvec.
    """
    parsed: list[int] = []
    words = text.split()[: len(setting.value)]
    for word in words:
        number = _parse_number(word)
        if number is None or not _INT_MIN <= number <= _INT_MAX:
            break
        parsed.append(number)
    numbers = (*parsed, *setting.value[len(parsed) :])
    is_valid = all(setting.lowest <= n <= setting.highest for n in parsed)
    if not is_valid or not setting.is_valid(numbers):
        return setting.value, False
    is_complete = bool(words) and len(parsed) == len(words)
    return (numbers if is_complete or setting.is_partly_written else setting.value), is_complete


def _parse_number(word: str) -> int | None:
    """Return a number as C reads it, or None: 0x10 is 16, 010 is 8."""
    if _INTEGER.fullmatch(word) is None:
        return None
    digits = word.removeprefix("-")
    base = 8 if digits.startswith("0") and digits.isdecimal() else 0
    try:
        number = int(digits, base)
    except ValueError:  # 08
        return None
    return -number if word.startswith("-") else number
