"""The sockets of this network namespace that listen on every address.

They are read from /proc, which needs no netlink module and no privileges. SCTP sockets are
listed in another format, and left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from pathlib import Path

from gitvs.adapters.linux.sysctl import read_sysctls
from gitvs.core.model.observation import WildcardListener
from gitvs.core.model.resources import AddressFamily, Protocol

_PROC_NET = Path("/proc/thread-self/net")
_STATE_LISTENING, _STATE_UNCONNECTED = "0A", "07"
_ANY_PEER = "0000"
_IPV6_ONLY_SYSCTL, _CLIENT_PORTS_SYSCTL = "net.ipv6.bindv6only", "net.ipv4.ip_local_port_range"


def read_wildcard_listeners() -> frozenset[WildcardListener]:
    """Return the sockets that listen on every address of this network namespace.

    A socket on `::` counts for IPv4 too, unless this host separates the families. UDP ports in
    the range for clients are left out, because they come and go.
    """
    settings = {s.name: s.value for s in read_sysctls([_IPV6_ONLY_SYSCTL, _CLIENT_PORTS_SYSCTL])}
    low, high = (int(n) for n in settings.get(_CLIENT_PORTS_SYSCTL, "32768 60999").split())
    listeners = set()
    for protocol in (Protocol.TCP, Protocol.UDP):
        for family, suffix in ((AddressFamily.IPV4, ""), (AddressFamily.IPV6, "6")):
            ports = set(_read_ports(_PROC_NET / f"{protocol}{suffix}", protocol))
            if protocol is Protocol.UDP:
                ports -= set(range(low, high + 1))
            families = {family}
            if family is AddressFamily.IPV6 and settings.get(_IPV6_ONLY_SYSCTL) == "0":
                families.add(AddressFamily.IPV4)
            listeners |= {WildcardListener(protocol, f, port) for f in families for port in ports}
    return frozenset(listeners)


def _read_ports(file: Path, protocol: Protocol) -> Iterator[int]:
    try:
        with file.open(encoding="ascii") as lines:
            yield from parse_wildcard_ports(lines, protocol)
    except OSError:  # no IPv6 here
        return


def parse_wildcard_ports(lines: Iterable[str], protocol: Protocol) -> Iterator[int]:
    """Yield the ports that are open on every address, from a table of sockets.

    A TCP table begins with the listening sockets. The connections after them are not read,
    however many there are.
    Source: proc(5), /proc/net/tcp; Linux net/ipv4/tcp_ipv4.c, tcp_get_idx.
    """
    state = _STATE_LISTENING if protocol is Protocol.TCP else _STATE_UNCONNECTED
    rows: Iterator[list[str]] = (line.split(maxsplit=4) for line in islice(lines, 1, None))
    if protocol is Protocol.TCP:
        rows = takewhile(lambda row: row[3] == state, rows)
    for _, local, peer, row_state, *_ in rows:
        address, _, port = local.partition(":")
        if row_state == state and not int(address, 16) and peer.endswith(_ANY_PEER):
            yield int(port, 16)
