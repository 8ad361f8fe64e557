"""The conversation with IPVS: batches of requests, their answers by number, and dumps.

A plain netlink socket, because an answer must never be taken for granted: the kernel drops
replies when the receive buffer is full, the final acknowledgement too (ENOBUFS, once). What
was not answered is `Status.UNKNOWN`. What the messages say is the business of `ipvs_codec`.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct
from types import TracebackType
from typing import TypeVar

from gitvs.adapters import ipvs_codec as codec
from gitvs.adapters.ipvs_codec import Payload, Unnamed
from gitvs.core.errors import KernelUnavailable, KernelUnreadable
from gitvs.core.model import Connections, Listener, RealServer, SyncDaemon, Timeout, VirtualService
from gitvs.ports import Status

# Source: Linux include/uapi/linux/netlink.h
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_DUMP_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
_NETLINK_GENERIC = 16
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
# Source: Linux include/uapi/linux/genetlink.h
_GENL_ID_CTRL, _CTRL_CMD_GETFAMILY = 0x10, 3
_CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 1, 2
# Source: Linux include/uapi/asm-generic/socket.h
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33

_HEADER = Struct("=IHHII")  # length, type, flags, sequence, port
_ERROR = Struct("=i")

BATCH_MESSAGES = 1000
"""Requests in one call of the kernel: more do not make it faster."""
_BUFFER_BYTES = 8 << 20
_REPLY_BYTES = 1024
"""What one error reply takes of the receive buffer: measured 769, a whole `sk_buff`."""
_DATAGRAM_BYTES = 1 << 16
_TIMEOUT_SECONDS = 10
_READINGS = 5
"""How often a reading that was cut short is begun."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the kernel said to one request; `errno` is positive and None unless refused."""

    status: Status
    errno: int | None = None


_DONE, _UNKNOWN = Answer(Status.DONE), Answer(Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Message:
    type: int
    flags: int
    sequence: int
    payload: bytes


class _CutShort(Exception):
    """A reading that has to be begun again."""


class Ipvs:
    """A socket to the IPVS of the network namespace in which it was made.

    Raises:
        KernelUnavailable: no IPVS in this kernel, or no right to ask it.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC
        )
        self._sequence = 0
        try:
            self._socket.bind((0, 0))
            self._socket.settimeout(_TIMEOUT_SECONDS)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
            self._batch_messages, self._batch_bytes = self._make_room()
            self._family = self._look_up()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Ipvs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def execute(self, requests: Sequence[Payload]) -> list[Answer]:
        """Send requests in their order, many at a time, and return one answer each."""
        answers: list[Answer] = []
        for batch in self._batches(requests):
            answers += self._execute_batch(batch)
        return answers

    def services(self) -> list[VirtualService | Unnamed]:
        """Read the virtual services."""
        return self._read(codec.get_services(), codec.service_from)

    def real_servers(self, listener: Listener) -> list[tuple[RealServer | Unnamed, Connections]]:
        """Read the real servers of one virtual service; none if that is gone by now."""
        request = codec.get_real_servers(listener)
        return self._read(request, lambda payload: codec.real_server_from(payload, listener))

    def sync_daemons(self) -> list[SyncDaemon]:
        """Read the sync daemons that run."""
        return self._read(codec.get_sync_daemons(), codec.sync_daemon_from)

    def timeouts(self) -> list[Timeout]:
        """Read the connection timeouts."""
        replies = self._read(codec.get_timeouts(), codec.timeouts_from, _REQUEST | _ACK)
        return [timeout for reply in replies for timeout in reply]

    def version(self) -> str:
        """Read the version of IPVS."""
        return self._read(codec.get_info(), codec.version_from, _REQUEST | _ACK)[0]

    def _make_room(self) -> tuple[int, int]:
        """Size the buffers to a batch, and the batch to the buffers where that is refused.

        Returns how many requests and how many bytes fit. The kernel doubles what it is told,
        for its own bookkeeping. Source: socket(7), SO_RCVBUF.
        """
        for option in (_SO_RCVBUFFORCE, _SO_SNDBUFFORCE):
            with suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        received = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        sent = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        return min(BATCH_MESSAGES, received // _REPLY_BYTES - 1), sent // 2

    def _look_up(self) -> int:
        """Return the number of the family `IPVS`. Asking for it loads the module ip_vs."""
        name = codec.FAMILY_NAME.encode() + b"\0"
        request = bytes((_CTRL_CMD_GETFAMILY, 1, 0, 0)) + codec.pack_attribute(
            _CTRL_ATTR_FAMILY_NAME, name
        )
        try:
            reply = self._ask(_GENL_ID_CTRL, _REQUEST | _ACK, request)[0]
        except OSError as error:
            raise _unavailable(error) from error
        family = codec.unpack_attributes(reply, 4)[_CTRL_ATTR_FAMILY_ID]
        return int.from_bytes(family, sys.byteorder)

    def _batches(self, requests: Sequence[Payload]) -> Iterator[list[Payload]]:
        batch: list[Payload] = []
        size = 0
        for request in requests:
            length = _HEADER.size + len(request)
            if batch and (len(batch) == self._batch_messages or size + length > self._batch_bytes):
                yield batch
                batch, size = [], 0
            batch.append(request)
            size += length
        if batch:
            yield batch

    def _execute_batch(self, batch: Sequence[Payload]) -> list[Answer]:
        first = self._sequence + 1
        self._sequence += len(batch)
        last = self._sequence
        data = bytearray()
        for number, request in enumerate(batch, first):
            flags = _REQUEST | _ACK if number == last else _REQUEST
            data += _HEADER.pack(_HEADER.size + len(request), self._family, flags, number, 0)
            data += request
        try:
            self._socket.send(data)
        except OSError as error:  # as a whole: the kernel has seen none of it
            return [Answer(Status.REFUSED, error.errno)] * len(batch)
        return self._answers(first, last)

    def _answers(self, first: int, last: int) -> list[Answer]:
        """Collect the errors and the last one's acknowledgement.

        The kernel runs a batch within `send`, in order, so the last answer says that no other
        comes; unless one was dropped. Then whatever has no answer is unknown.
        """
        errors: dict[int, int] = {}
        dropped = False
        while last not in errors:
            try:
                for message in self._receive():
                    if message.type == _NLMSG_ERROR and first <= message.sequence <= last:
                        errors[message.sequence] = -_ERROR.unpack_from(message.payload)[0]
            except OSError as error:
                dropped = True
                if error.errno != errno.ENOBUFS:  # a time-out: nothing more will come
                    break
                self._socket.settimeout(0)  # what was queued before the drop is there already
        self._socket.settimeout(_TIMEOUT_SECONDS)
        silent = _UNKNOWN if dropped else _DONE
        return [_answer(errors.get(number), silent) for number in range(first, last + 1)]

    def _read(
        self, request: Payload, decode: Callable[[bytes], _T], flags: int = _REQUEST | _DUMP
    ) -> list[_T]:
        """Ask and decode, again where it was cut short.

        Raises:
            KernelUnavailable: no right to ask.
            KernelUnreadable: cut short every time, or no answer.
        """
        for _ in range(_READINGS):
            try:
                return [decode(payload) for payload in self._ask(self._family, flags, request)]
            except _CutShort:
                continue
            except OSError as error:
                if error.errno == errno.EPERM:
                    raise _unavailable(error) from error
                raise KernelUnreadable(f"IPVS could not be read: {_words(error)}") from error
        raise KernelUnreadable(
            f"IPVS changed while it was read, {_READINGS} times in a row: try again"
        )

    def _ask(self, family: int, flags: int, request: bytes) -> list[bytes]:
        """Send one request and return the payloads of its replies."""
        self._sequence += 1
        number = self._sequence
        length = _HEADER.size + len(request)
        self._socket.send(_HEADER.pack(length, family, flags, number, 0) + request)
        replies: list[bytes] = []
        interrupted = False
        while True:
            for message in self._receive_all():
                if message.sequence != number:
                    continue  # the rest of a reading that was given up
                interrupted |= bool(message.flags & _DUMP_INTERRUPTED)
                if message.type not in (_NLMSG_ERROR, _NLMSG_DONE):
                    replies.append(message.payload)
                    continue
                code = -_ERROR.unpack_from(message.payload)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                if interrupted:
                    raise _CutShort
                return replies

    def _receive_all(self) -> Iterator[_Message]:
        try:
            yield from self._receive()
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise _CutShort from error
            raise

    def _receive(self) -> Iterator[_Message]:
        """Receive one datagram and return its messages."""
        data = self._socket.recv(_DATAGRAM_BYTES)
        at = 0
        while at + _HEADER.size <= len(data):
            length, type_, flags, sequence, _ = _HEADER.unpack_from(data, at)
            yield _Message(type_, flags, sequence, data[at + _HEADER.size : at + length])
            at += length + 3 & ~3


def _answer(code: int | None, silent: Answer) -> Answer:
    if code is None:
        return silent
    return Answer(Status.REFUSED, code) if code else _DONE


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_TIMEOUT_SECONDS} s"
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    return f"{os.strerror(error.errno or 0)} ({name})"


def _unavailable(error: OSError) -> KernelUnavailable:
    match error.errno:
        case errno.ENOENT:
            return KernelUnavailable(
                "this kernel has no IPVS: load it with `modprobe ip_vs`, or run a kernel that has"
                " this module (a container has its host's)"
            )
        case errno.EPERM | errno.EACCES:
            return KernelUnavailable(
                "no right to ask IPVS (EPERM): it takes CAP_NET_ADMIN, and not in a user namespace"
            )
        case _:
            return KernelUnavailable(f"IPVS does not answer: {_words(error)}")
