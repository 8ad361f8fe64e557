"""A conversation over netlink: batches of requests, their answers by number, and dumps.

A plain socket, because an answer must never be taken for granted: the kernel drops replies
when the receive buffer is full, the final acknowledgement too (ENOBUFS, once), and marks a
dump that was cut short. What was not answered is `Status.UNKNOWN`. What the messages say is
the business of `ipvs` and `rtnetlink`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from struct import Struct
from types import TracebackType

from gitvs.core.errors import KernelUnreadable
from gitvs.ports import Status

# Source: Linux include/uapi/linux/netlink.h
NETLINK_ROUTE, NETLINK_GENERIC = 0, 16
CREATE, EXCLUSIVE, REPLACE, APPEND = 0x400, 0x200, 0x100, 0x800
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _DUMP, _DUMP_INTERRUPTED = 0x1, 0x4, 0x300, 0x10
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK = 270, 10, 12
# Source: Linux include/uapi/asm-generic/socket.h
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33

_HEADER = Struct("=IHHII")  # length, type, flags, sequence, port
_START = Struct("=IHHI")  # the same without the port
_ERROR = Struct("=i")
_ENDS = (_NLMSG_ERROR, _NLMSG_DONE)

BATCH_MESSAGES = 1000
"""Requests in one call of the kernel: more do not make it faster."""
_BUFFER_BYTES = 8 << 20
_REPLY_BYTES = 1024
"""What one error reply takes of the receive buffer: measured 769, a whole `sk_buff`."""
DATAGRAM_BYTES = 1 << 16
"""What is received at once, unless less will do."""
SHORT_DATAGRAM_BYTES = min(os.sysconf("SC_PAGE_SIZE"), 8192)
"""The least that holds a datagram of every dump, but for those of links.

For each datagram of a dump the kernel takes as much memory as it was offered, up to 32 KiB,
and clears it: that is half of what thousands of short dumps cost it.
Source: libmnl, MNL_SOCKET_BUFFER_SIZE; Linux net/netlink/af_netlink.c, netlink_dump.
"""
_TIMEOUT_SECONDS = 10
_TIMEOUT = Struct("@ll").pack(_TIMEOUT_SECONDS, 0)
"""A `struct timeval`. Source: socket(7), SO_RCVTIMEO."""
_READINGS = 5
"""How often a reading that was cut short is begun."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message to the kernel; `flags` come on top of NLM_F_REQUEST.

    `tolerated` are the errors that are as good as done (deleting what is gone).
    """

    type: int
    payload: bytes
    flags: int = 0
    tolerated: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the kernel said to one request; `errno` is positive and None unless refused."""

    status: Status
    errno: int | None = None


DONE, UNKNOWN = Answer(Status.DONE), Answer(Status.UNKNOWN)


def refused(error: OSError) -> Answer:
    """Return an `OSError` as an answer."""
    return Answer(Status.REFUSED, error.errno or errno.EIO)


class _CutShort(Exception):
    """A reading that has to be begun again."""


class Netlink:
    """A netlink socket of the network namespace in which it was made."""

    def __init__(self, protocol: int, datagram_bytes: int = DATAGRAM_BYTES) -> None:
        self._datagram_bytes = datagram_bytes
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        self._sequence = 0
        try:
            self._socket.bind((0, 0))
            # The kernel's own time-out: Python's would cost one more call for each send and recv.
            # Sending needs none: the kernel runs what it is sent within the call.
            # Source: Linux net/netlink/af_netlink.c, netlink_unicast_kernel.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
            self._batch_messages, self._batch_bytes = self._make_room()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        """Send requests in their order, many at a time, and return one answer each."""
        first = self._number_for(len(requests))
        messages = [
            _message(request.type, request.payload, request.flags | _REQUEST, number)
            for number, request in enumerate(requests, first)
        ]
        answers = self._execute(messages, first)
        return [
            DONE if answer.errno in request.tolerated else answer
            for request, answer in zip(requests, answers, strict=True)
        ]

    def execute_alike(self, type_: int, payloads: Iterable[bytes]) -> list[Answer]:
        """Send requests of one type as `execute` does, without an object for each.

        They are made as they are sent, so that each batch has the memory of the one before.
        """
        pack, header_bytes = _HEADER.pack, _HEADER.size
        left = iter(payloads)
        answers: list[Answer] = []
        while batch := list(islice(left, self._batch_messages)):
            first = self._number_for(len(batch))
            messages = [
                pack(header_bytes + len(payload), type_, _REQUEST, number, 0) + payload
                for number, payload in enumerate(batch, first)
            ]
            answers += self._execute(messages, first)
        return answers

    def execute_groups(self, groups: Sequence[Sequence[Request]]) -> list[Answer]:
        """Send groups of requests as `execute` does, and return one answer for each group."""
        answers = iter(self.execute([request for group in groups for request in group]))
        return [_combined([next(answers) for _ in group]) for group in groups]

    def dump(self, type_: int, payload: bytes) -> list[bytes]:
        """Return the payloads that a dump gives, begun again where it was cut short.

        Raises:
            OSError: the kernel refused.
            KernelUnreadable: cut short every time, or no answer.
        """
        return self._read(type_, payload, _REQUEST | _DUMP)

    def ask(self, type_: int, payload: bytes) -> bytes:
        """Return the payload of the one reply to a question.

        Raises:
            OSError, KernelUnreadable: as `dump`.
        """
        return self._read(type_, payload, _REQUEST | _ACK)[0]

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

    def _number_for(self, messages: int) -> int:
        """Return the sequence number of the first of some messages."""
        first = self._sequence + 1
        self._sequence += messages
        return first

    def _execute(self, messages: Sequence[bytes], first: int) -> list[Answer]:
        longest = max(map(len, messages), default=1)
        count = max(1, min(self._batch_messages, self._batch_bytes // longest))
        answers: list[Answer] = []
        for at in range(0, len(messages), count):
            answers += self._execute_batch(messages[at : at + count], first + at)
        return answers

    def _execute_batch(self, messages: Sequence[bytes], first: int) -> list[Answer]:
        try:
            self._socket.send(b"".join(messages[:-1]) + _acknowledged(messages[-1]))
        except OSError as error:  # as a whole: the kernel has seen none of it
            return [refused(error)] * len(messages)
        return self._answers(first, len(messages))

    def _answers(self, first: int, count: int) -> list[Answer]:
        """Collect the errors and the last one's acknowledgement.

        The kernel runs a batch within `send`, in order, so the last answer says that no other
        comes; unless one was dropped. Then whatever has no answer is unknown.
        """
        last = first + count - 1
        errors: dict[int, int] = {}
        dropped = False
        while last not in errors:
            try:
                # What was queued before a drop is there already.
                data = self._socket.recv(
                    self._datagram_bytes, socket.MSG_DONTWAIT if dropped else 0
                )
            except OSError as error:
                dropped = True
                if error.errno != errno.ENOBUFS:  # a time-out: nothing more will come
                    break
                continue
            _, type_, _, number = _START.unpack_from(data)
            if type_ == _NLMSG_ERROR and first <= number <= last:
                errors[number] = -_ERROR.unpack_from(data, _HEADER.size)[0]
        answers = [UNKNOWN if dropped else DONE] * count
        for number, code in errors.items():
            answers[number - first] = Answer(Status.REFUSED, code) if code else DONE
        return answers

    def _read(self, type_: int, payload: bytes, flags: int) -> list[bytes]:
        for _ in range(_READINGS):
            try:
                return self._read_once(type_, payload, flags)
            except _CutShort:
                continue
            except BlockingIOError as error:
                message = f"the kernel did not answer within {_TIMEOUT_SECONDS} s"
                raise KernelUnreadable(message) from error
        raise KernelUnreadable(
            f"the kernel changed while it was read, {_READINGS} times in a row: try again"
        )

    def _read_once(self, type_: int, payload: bytes, flags: int) -> list[bytes]:
        """Send one request and return the payloads of its replies."""
        wanted = self._number_for(1)
        self._socket.send(_message(type_, payload, flags, wanted))
        replies: list[bytes] = []
        all_flags = 0
        while True:
            try:
                data = self._socket.recv(self._datagram_bytes)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise _CutShort from error
                raise
            at, end = 0, len(data)
            while at < end:
                length, kind, flags_of, number = _START.unpack_from(data, at)
                if number == wanted:  # and not the rest of a reading that was given up
                    all_flags |= flags_of
                    if kind in _ENDS:
                        _check_end(_ERROR.unpack_from(data, at + _HEADER.size)[0], all_flags)
                        return replies
                    replies.append(data[at + _HEADER.size : at + length])
                at += length + 3 & ~3


def _message(type_: int, payload: bytes, flags: int, number: int) -> bytes:
    return _HEADER.pack(_HEADER.size + len(payload), type_, flags, number, 0) + payload


def _acknowledged(message: bytes) -> bytes:
    """Return a message that is answered even if nothing is wrong."""
    length, type_, flags, number, port = _HEADER.unpack_from(message)
    header = _HEADER.pack(length, type_, flags | _ACK, number, port)
    return header + message[_HEADER.size :]


def _check_end(code: int, flags: int) -> None:
    """Raise what kept a reading from being whole."""
    if code:
        raise OSError(-code, os.strerror(-code))
    if flags & _DUMP_INTERRUPTED:
        raise _CutShort


def _combined(answers: Sequence[Answer]) -> Answer:
    """Return the answer to a change that took several requests: the worst of theirs."""
    for status in (Status.REFUSED, Status.UNKNOWN):
        for answer in answers:
            if answer.status is status:
                return answer
    return DONE
