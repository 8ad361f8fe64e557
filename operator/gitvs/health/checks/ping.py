"""An ICMP echo request, without any privilege.

The kernel gives such a socket answers to its own requests alone. Source: icmp(7).
"""

from __future__ import annotations

import errno
import socket

from gitvs.core.model.health import Failure, Probe
from gitvs.health.checks.connecting import NotConnected
from gitvs.health.checks.results import PASS, Check, Result
from gitvs.health.checks.udp import receive, send, socket_to

# Source: RFC 792, RFC 4443: type, code; checksum, identifier (both the kernel's), sequence number.
_REQUESTS = {4: bytes([8, 0, 0, 0, 0, 0, 0, 1]), 6: bytes([128, 0, 0, 0, 0, 0, 0, 1])}
_REPLIES = {4: 0, 6: 129}
_FORBIDDEN = (
    "this process may not ping: net.ipv4.ping_group_range does not have its group; set it to"
    ' "0 2147483647"'
)


def check_ping(probe: Probe) -> Check:
    """Ask a host whether it is there."""
    version = probe.address.version
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    try:
        with socket_to(probe, socket.SOCK_DGRAM, protocol) as connection:
            send(connection, _REQUESTS[version])
            while (answer := (yield from receive(connection))) is not None:
                if answer[:1] == bytes([_REPLIES[version]]):
                    return PASS
            return Result(Failure.CONNECT_TIMEOUT, "no answer in time")
    except NotConnected as failed:
        is_forbidden = isinstance(failed.__cause__, PermissionError)
        if is_forbidden and failed.__cause__.errno == errno.EACCES:  # type: ignore[union-attr]
            return Result(text=_FORBIDDEN, is_void=True)
        return failed.result
