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


def _anyhow(_: Numbers) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting at first, and the range of each of its numbers."""

    value: Numbers
    lowest: int = _INT_MIN
    highest: int = _INT_MAX
    is_in_order: Callable[[Numbers], bool] = _anyhow
    is_kept_in_part: bool = True
    """Whether the numbers before a bad one are written all the same."""
    is_refusing: bool = True
    """Whether a bad value is refused; otherwise it is accepted and nothing comes of it."""


def _any(*value: int) -> Setting:
    return Setting(value)


def _is_range(numbers: Numbers) -> bool:
    low, high = numbers
    return low <= high


def _is_threshold(numbers: Numbers) -> bool:
    """Source: Linux net/netfilter/ipvs/ip_vs_ctl.c, proc_do_sync_threshold."""
    threshold, period = numbers
    return period == 0 or threshold < period


_GLOBAL: Mapping[str, Setting] = {
    "net.core.somaxconn": Setting((4096,), 0),
    "net.ipv4.ip_local_port_range": Setting((32768, 60999), 1, 65535, _is_range, False),
    "net.ipv4.ip_nonlocal_bind": Setting((0,), 0, 255),
    "net.ipv4.vs.am_droprate": _any(10),
    "net.ipv4.vs.amemthresh": _any(1024),
    "net.ipv4.vs.backup_only": _any(0),
    "net.ipv4.vs.cache_bypass": _any(0),
    "net.ipv4.vs.conn_reuse_mode": _any(1),
    "net.ipv4.vs.conntrack": _any(0),
    "net.ipv4.vs.drop_entry": Setting((0,), 0, 3),
    "net.ipv4.vs.drop_packet": Setting((0,), 0, 3),
    "net.ipv4.vs.expire_nodest_conn": _any(0),
    "net.ipv4.vs.expire_quiescent_template": _any(0),
    "net.ipv4.vs.ignore_tunneled": _any(0),
    "net.ipv4.vs.nat_icmp_send": _any(0),
    "net.ipv4.vs.pmtu_disc": _any(1),
    "net.ipv4.vs.run_estimation": _any(1),
    "net.ipv4.vs.schedule_icmp": _any(0),
    "net.ipv4.vs.secure_tcp": Setting((0,), 0, 3),
    "net.ipv4.vs.sloppy_sctp": _any(0),
    "net.ipv4.vs.sloppy_tcp": _any(0),
    "net.ipv4.vs.snat_reroute": _any(1),
    "net.ipv4.vs.sync_persist_mode": _any(0),
    "net.ipv4.vs.sync_refresh_period": _any(0),
    "net.ipv4.vs.sync_retries": Setting((0,), 0, 3),
    "net.ipv4.vs.sync_sock_size": _any(0),
    "net.ipv4.vs.sync_threshold": Setting((3, 50), 0, is_in_order=_is_threshold),
    "net.ipv4.vs.sync_version": Setting((1,), 0, 1),
}
_OF_EACH_LINK: Mapping[str, Mapping[str, int]] = {
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

    def __init__(self, more: Mapping[str, Setting]) -> None:
        self._settings: dict[str, Setting] = {**_GLOBAL, **more}
        self._set: set[str] = set()
        """Settings of links that follow `conf.default` no longer."""
        for family, key in _of_each_link():
            is_refusing = (family, key) not in _NEVER_REFUSING
            setting = Setting((_OF_EACH_LINK[family][key],), is_refusing=is_refusing)
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
        numbers, is_whole = _numbers(sysctl.value, setting)
        self._put(name, numbers)
        if not is_whole and setting.is_refusing:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), sysctl.value)
        self._set.add(name)
        if numbers != setting.value:
            self._spread(name, numbers)

    def add_link(self, link: str) -> None:
        """Give a new link its settings: those of `default`."""
        for family, key in _of_each_link():
            self._settings[name_of(family, link, key)] = self._settings[f"{family}.default.{key}"]

    def remove_link(self, link: str) -> None:
        """Take a link's settings away."""
        for family, key in _of_each_link():
            name = name_of(family, link, key)
            del self._settings[name]
            self._set.discard(name)

    def settle(self, link: str) -> None:
        """Note that a link got an IPv4 address: from then on it follows `default` no longer.

        Source: Linux net/ipv4/devinet.c, ipv4_devconf_setall.
        """
        self._set.update(name_of(family, link, key) for family, key in _of_each_link())

    def is_on(self, name: str) -> bool:
        """Whether a setting is not 0."""
        return self._settings[name].value != (0,)

    def _put(self, name: str, numbers: Numbers) -> None:
        self._settings[name] = replace(self._settings[name], value=numbers)

    def _spread(self, name: str, numbers: Numbers) -> None:
        """Change what a change of this setting changes."""
        family, scope, key = name.rsplit(".", 2)
        if scope == "all" and key in ("forwarding", "disable_ipv6"):
            self._switch(family, key, numbers)
        elif scope == "default" and family == "net.ipv4.conf":
            for other in self._of_links(family, key):
                if other not in self._set:
                    self._put(other, numbers)

    def _switch(self, family: str, key: str, numbers: Numbers) -> None:
        """Set a switch for every link.

        Source: Linux net/ipv4/devinet.c, inet_forward_change; net/ipv6/addrconf.c,
        addrconf_fixup_forwarding and addrconf_disable_ipv6.
        """
        for other in (f"{family}.default.{key}", *self._of_links(family, key)):
            self._put(other, numbers)
            self._set.add(other)
        if family == "net.ipv4.conf":
            self._put("net.ipv4.conf.all.accept_redirects", (int(numbers == (0,)),))

    def _of_links(self, family: str, key: str) -> list[str]:
        shared = (f"{family}.all.{key}", f"{family}.default.{key}")
        names = (n for n in self._settings if n.startswith(f"{family}.") and n.endswith(f".{key}"))
        return [name for name in names if name not in shared]


def name_of(family: str, link: str, key: str) -> str:
    """Return the name of a link's setting, a dot in the link's as `/`. Source: sysctl(8)."""
    return f"{family}.{link.replace('.', '/')}.{key}"


def _of_each_link() -> Iterator[tuple[str, str]]:
    return ((family, key) for family, keys in _OF_EACH_LINK.items() for key in keys)


def _numbers(text: str, setting: Setting) -> tuple[Numbers, bool]:
    """Return what a text makes of a setting, and whether it was good to the end.

    Fewer numbers set the first ones, and what comes behind enough of them is ignored.
    Source: Linux kernel/sysctl.c, __do_proc_dointvec.
    """
    written: list[int] = []
    words = text.split()[: len(setting.value)]
    for word in words:
        number = _number(word)
        if number is None or not _INT_MIN <= number <= _INT_MAX:
            break
        written.append(number)
    numbers = (*written, *setting.value[len(written) :])
    is_valid = all(setting.lowest <= n <= setting.highest for n in written)
    if not is_valid or not setting.is_in_order(numbers):
        return setting.value, False
    is_whole = bool(words) and len(written) == len(words)
    return (numbers if is_whole or setting.is_kept_in_part else setting.value), is_whole


def _number(word: str) -> int | None:
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
