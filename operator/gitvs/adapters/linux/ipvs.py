"""IPVS of one network namespace: reads its content, and sends it requests in batches.

The content of messages is left to `ipvs_codec`, sending and receiving to `netlink`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from types import TracebackType

from gitvs.adapters.linux.attributes import decodes, pack_attribute, unpack_attributes
from gitvs.adapters.linux.ipvs_codec import numbers, replies, requests
from gitvs.adapters.linux.ipvs_codec.numbers import Payload
from gitvs.adapters.linux.ipvs_codec.replies import Unnamed
from gitvs.adapters.linux.ipvs_decoder import IpvsDecoder
from gitvs.adapters.linux.netlink import (
    NETLINK_GENERIC,
    SHORT_DATAGRAM_BYTES,
    Answer,
    Netlink,
    Request,
)
from gitvs.core.errors import KernelUnavailable, KernelUnreadable
from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resources import Listener, RealServer, SyncDaemon, Timeout, VirtualService

# Source: Linux include/uapi/linux/genetlink.h
_GENL_ID_CTRL, _CTRL_CMD_GETFAMILY = 0x10, 3
_CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 1, 2


class Ipvs:
    """A socket to the IPVS of the network namespace in which it was made.

    Raises:
        KernelUnavailable: this kernel has no IPVS, or gitvs has no permission to access it.
    """

    def __init__(self, decoder: IpvsDecoder | None = None) -> None:
        """A decoder that is used again decodes unchanged objects only once."""
        self._decoder = decoder or IpvsDecoder()
        self._netlink = Netlink(NETLINK_GENERIC, SHORT_DATAGRAM_BYTES)
        try:
            self._family_id = self._resolve_family_id()
        except BaseException:
            self._netlink.close()
            raise

    def __enter__(self) -> Ipvs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._netlink.close()

    def execute_groups(
        self, groups: Sequence[Sequence[tuple[Payload, frozenset[int]]]]
    ) -> list[Answer]:
        """Send the requests of each change, many in one call; return one answer for each change.

        Each request comes with the errors that count as done.
        """
        return self._netlink.execute_groups(
            [
                [
                    Request(self._family_id, payload, tolerated_errors=tolerated_errors)
                    for payload, tolerated_errors in requests
                ]
                for requests in groups
            ]
        )

    def execute_payloads(self, payloads: Iterable[Payload]) -> list[Answer]:
        """Send one request for each change; for thousands, it is cheaper than `execute_groups`."""
        return self._netlink.execute_payloads(self._family_id, payloads)

    def read_services(self) -> list[tuple[VirtualService | Unnamed, Counters]]:
        """Read the virtual services and their counters."""
        return self._decoder.decode_services(self._dump(requests.get_services()))

    def read_service(self, listener: Listener) -> tuple[VirtualService | Unnamed, Counters] | None:
        """Read one virtual service and its counters; None if it does not exist."""
        try:
            reply = self._netlink.query(self._family_id, requests.get_service(listener))
        except OSError as error:
            if error.errno == errno.ESRCH:
                return None
            raise KernelUnreadable(f"IPVS could not be read: {_errno_text(error)}") from error
        return replies.decode_service(reply)

    def read_real_servers(
        self, listener: Listener
    ) -> list[tuple[RealServer | Unnamed, ConnectionCounts, Counters]]:
        """Read the real servers of one virtual service; none if it no longer exists."""
        payloads = self._dump(requests.get_real_servers(listener))
        return self._decoder.decode_real_servers(payloads, listener)

    def read_sync_daemons(self) -> list[SyncDaemon]:
        """Read the sync daemons that are running."""
        return [replies.decode_sync_daemon(p) for p in self._dump(requests.get_sync_daemons())]

    def read_timeouts(self) -> list[Timeout]:
        """Read the connection timeouts."""
        return replies.decode_timeouts(
            self._netlink.query(self._family_id, requests.get_timeouts())
        )

    def read_version(self) -> str:
        """Read the version of IPVS."""
        return replies.decode_version(self._netlink.query(self._family_id, requests.get_info()))

    def _resolve_family_id(self) -> int:
        """Return the number of the family `IPVS`; the query loads the module ip_vs."""
        name = numbers.FAMILY_NAME.encode() + b"\0"
        header = bytes((_CTRL_CMD_GETFAMILY, 1, 0, 0))
        request = header + pack_attribute(_CTRL_ATTR_FAMILY_NAME, name)
        try:
            reply = self._netlink.query(_GENL_ID_CTRL, request)
        except OSError as error:
            raise _unavailable_error(error) from error
        return _decode_family_id(reply)

    def _dump(self, payload: Payload) -> list[bytes]:
        """Return the messages of a dump.

        Raises:
            KernelUnavailable: gitvs has no permission.
            KernelUnreadable: the dump was cut short every time, or there was no answer.
        """
        try:
            return self._netlink.dump(self._family_id, payload)
        except OSError as error:
            if error.errno == errno.EPERM:
                raise _unavailable_error(error) from error
            raise KernelUnreadable(f"IPVS could not be read: {_errno_text(error)}") from error


@decodes("the family IPVS")
def _decode_family_id(reply: bytes) -> int:
    return int.from_bytes(unpack_attributes(reply, 4)[_CTRL_ATTR_FAMILY_ID], sys.byteorder)


def _errno_text(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    return f"{os.strerror(error.errno or 0)} ({name})"


def _unavailable_error(error: OSError) -> KernelUnavailable:
    match error.errno:
        case errno.ENOENT:
            return KernelUnavailable(
                "this kernel has no IPVS: load it with `modprobe ip_vs`, or run a"
                " kernel that has this module (a container uses the kernel of its host)"
            )
        case errno.EPERM | errno.EACCES:
            return KernelUnavailable(
                "no permission to read IPVS (EPERM): it needs CAP_NET_ADMIN, outside of"
                " a user namespace"
            )
        case _:
            return KernelUnavailable(f"IPVS does not answer: {_errno_text(error)}")
