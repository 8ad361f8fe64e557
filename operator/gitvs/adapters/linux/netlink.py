"""Netlink sockets: batches of requests, their answers by sequence number, and dumps.

A plain socket is used, because answers may get lost. The kernel drops replies when the receive
buffer is full, even the final acknowledgement (it reports ENOBUFS once), and flags a dump that
was cut short. A request without an answer is `WriteStatus.UNKNOWN`. The content of messages is
left to `ipvs` and `rtnetlink`.
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

from gitvs.adapters.linux.attributes import HEADER, decodes, split_messages
from gitvs.core.errors import KernelUnreadable
from gitvs.ports import WriteStatus

# Source: Linux include/uapi/linux/netlink.h
NETLINK_ROUTE, NETLINK_GENERIC = 0, 16
CREATE, EXCLUSIVE, REPLACE, APPEND = 0x400, 0x200, 0x100, 0x800
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _DUMP, _DUMP_INTERRUPTED = 0x1, 0x4, 0x300, 0x10
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK = 270, 10, 12
# Source: Linux include/uapi/asm-generic/socket.h
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33

_ERROR_CODE = Struct("=i")
_MAX_ERRNO = 4095  # Source: Linux include/linux/err.h
_END_TYPES = (_NLMSG_ERROR, _NLMSG_DONE)

MAX_BATCH_MESSAGES = 1000
"""Requests in one system call; more are not faster."""
_SOCKET_BUFFER_BYTES = 8 << 20
_ERROR_REPLY_BYTES = 1024
"""Space of one error reply in the receive buffer: measured 769, a whole `sk_buff`."""
DATAGRAM_BYTES = 1 << 16
"""Receive buffer for one call, unless a smaller one is enough."""
SHORT_DATAGRAM_BYTES = min(os.sysconf("SC_PAGE_SIZE"), 8192)
"""Smallest safe receive buffer for dumps, except of links.

For each datagram of a dump, the kernel allocates as much memory as the receiver offers, up to
32 KiB, and clears it. For thousands of short dumps, this is half of the kernel's cost.
Source: libmnl, MNL_SOCKET_BUFFER_SIZE; Linux net/netlink/af_netlink.c, netlink_dump.
"""
_TIMEOUT_SECONDS = 10
_TIMEOUT = Struct("@ll").pack(_TIMEOUT_SECONDS, 0)
"""A `struct timeval`. Source: socket(7), SO_RCVTIMEO."""
_MAX_READ_ATTEMPTS = 5
"""How often a read that was cut short is tried in total."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message to the kernel; `flags` are added to NLM_F_REQUEST.

    `tolerated_errors` are errors that count as done (deleting what is already gone).
    """

    type: int
    payload: bytes
    flags: int = 0
    tolerated_errors: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """The kernel's answer to one request; `errno` is positive, and None unless refused."""

    status: WriteStatus
    errno: int | None = None


ANSWER_DONE, ANSWER_UNKNOWN = Answer(WriteStatus.DONE), Answer(WriteStatus.UNKNOWN)


def refused_answer(error: OSError) -> Answer:
    """Return the answer for an `OSError`."""
    return Answer(WriteStatus.REFUSED, error.errno or errno.EIO)


class _IncompleteRead(Exception):
    """A read was cut short and has to be repeated."""


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
            # The kernel's time-out, as Python's costs one more call for each send and recv.
            # Sending needs none: the kernel processes the messages within the call.
            # Source: Linux net/netlink/af_netlink.c, netlink_unicast_kernel.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
            self._batch_messages, self._batch_bytes = self._size_buffers()
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
        """Send requests in their order, many in one call, and return one answer for each."""
        first_number = self._reserve_sequence_numbers(len(requests))
        messages = [
            _pack_message(request.type, request.payload, request.flags | _REQUEST, number)
            for number, request in enumerate(requests, first_number)
        ]
        answers = self._send_in_batches(messages, first_number)
        return [
            ANSWER_DONE if answer.errno in request.tolerated_errors else answer
            for request, answer in zip(requests, answers, strict=True)
        ]

    def execute_payloads(self, type_: int, payloads: Iterable[bytes]) -> list[Answer]:
        """Send requests of one type as `execute` does, without an object for each.

        Payloads are made as they are sent, so that each batch reuses the memory of the one
        before.
        """
        pack, header_bytes = HEADER.pack, HEADER.size
        remaining = iter(payloads)
        answers: list[Answer] = []
        while batch := list(islice(remaining, self._batch_messages)):
            first_number = self._reserve_sequence_numbers(len(batch))
            messages = [
                pack(header_bytes + len(payload), type_, _REQUEST, number, 0) + payload
                for number, payload in enumerate(batch, first_number)
            ]
            answers += self._send_in_batches(messages, first_number)
        return answers

    def execute_groups(self, groups: Sequence[Sequence[Request]]) -> list[Answer]:
        """Send groups of requests as `execute` does, and return one answer for each group."""
        answers = iter(self.execute([request for group in groups for request in group]))
        return [_worst_answer([next(answers) for _ in group]) for group in groups]

    def dump(self, type_: int, payload: bytes) -> list[bytes]:
        """Return the payloads of a dump, which is repeated if it was cut short.

        Raises:
            OSError: the kernel refused.
            KernelUnreadable: it was cut short every time, or there was no answer.
        """
        return self._read_with_retries(type_, payload, _REQUEST | _DUMP)

    def query(self, type_: int, payload: bytes) -> bytes:
        """Return the payload of the one reply to a query.

        Raises:
            OSError, KernelUnreadable: as `dump`.
        """
        replies = self._read_with_retries(type_, payload, _REQUEST | _ACK)
        if not replies:
            raise KernelUnreadable("the kernel acknowledged a query, but did not answer it")
        return replies[0]

    def _size_buffers(self) -> tuple[int, int]:
        """Set the buffer sizes for a full batch; if the kernel refuses, reduce the batch instead.

        Returns how many requests and how many bytes fit. The kernel doubles the value that is
        set, for its own bookkeeping. Source: socket(7), SO_RCVBUF.
        """
        for option in (_SO_RCVBUFFORCE, _SO_SNDBUFFORCE):
            with suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER_BYTES)
        received = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        sent = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        return min(MAX_BATCH_MESSAGES, received // _ERROR_REPLY_BYTES - 1), sent // 2

    def _reserve_sequence_numbers(self, count: int) -> int:
        """Reserve sequence numbers for `count` messages, and return the first."""
        first = self._sequence + 1
        self._sequence += count
        return first

    def _send_in_batches(self, messages: Sequence[bytes], first_number: int) -> list[Answer]:
        longest = max(map(len, messages), default=1)
        count = max(1, min(self._batch_messages, self._batch_bytes // longest))
        answers: list[Answer] = []
        for start in range(0, len(messages), count):
            answers += self._send_batch(messages[start : start + count], first_number + start)
        return answers

    def _send_batch(self, messages: Sequence[bytes], first_number: int) -> list[Answer]:
        try:
            self._socket.send(b"".join(messages[:-1]) + _with_ack_flag(messages[-1]))
        except OSError as error:  # the whole batch failed: nothing was processed
            return [refused_answer(error)] * len(messages)
        return self._collect_answers(first_number, len(messages))

    def _collect_answers(self, first_number: int, count: int) -> list[Answer]:
        """Collect the errors, and the acknowledgement of the last request.

        The kernel processes a batch within `send`, in order, so no other answer comes after the
        last one. If an answer was dropped, all requests without an answer are unknown.
        """
        last_number = first_number + count - 1
        errors: dict[int, int] = {}
        is_answer_lost = False
        while last_number not in errors:
            try:
                # Replies that were queued before a drop can be read without waiting.
                data = self._socket.recv(
                    self._datagram_bytes, socket.MSG_DONTWAIT if is_answer_lost else 0
                )
            except OSError as error:
                is_answer_lost = True
                if error.errno != errno.ENOBUFS:  # a time-out: nothing more will come
                    break
                continue
            try:
                for type_, _, number, reply in split_messages(data):
                    if type_ == _NLMSG_ERROR and first_number <= number <= last_number:
                        errors[number] = _decode_error_code(reply)
            except KernelUnreadable:
                is_answer_lost = True
        answers = [ANSWER_UNKNOWN if is_answer_lost else ANSWER_DONE] * count
        for number, code in errors.items():
            answers[number - first_number] = (
                Answer(WriteStatus.REFUSED, code) if code else ANSWER_DONE
            )
        return answers

    def _read_with_retries(self, type_: int, payload: bytes, flags: int) -> list[bytes]:
        for _ in range(_MAX_READ_ATTEMPTS):
            try:
                return self._read_once(type_, payload, flags)
            except _IncompleteRead:
                continue
            except BlockingIOError as error:
                message = f"the kernel did not answer within {_TIMEOUT_SECONDS} s"
                raise KernelUnreadable(message) from error
        raise KernelUnreadable(
            f"the kernel changed while it was read, {_MAX_READ_ATTEMPTS} times in a row: try again"
        )

    def _read_once(self, type_: int, payload: bytes, flags: int) -> list[bytes]:
        """Send one request and return the payloads of its replies."""
        request_number = self._reserve_sequence_numbers(1)
        self._socket.send(_pack_message(type_, payload, flags, request_number))
        replies: list[bytes] = []
        all_flags = 0
        while True:
            try:
                data = self._socket.recv(self._datagram_bytes)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise _IncompleteRead from error
                raise
            for message_type, message_flags, number, reply in split_messages(data):
                if number != request_number:  # from a read that was given up
                    continue
                all_flags |= message_flags
                if message_type in _END_TYPES:
                    _raise_if_incomplete(_decode_error_code(reply), all_flags)
                    return replies
                replies.append(reply)


@decodes("the end of its answer")
def _decode_error_code(reply: bytes) -> int:
    """Return the error code of a last message; positive, and 0 for none."""
    code: int = _ERROR_CODE.unpack_from(reply)[0]
    if not -_MAX_ERRNO <= code <= 0:
        raise ValueError(f"error code {code}")
    return -code


def _pack_message(type_: int, payload: bytes, flags: int, number: int) -> bytes:
    return HEADER.pack(HEADER.size + len(payload), type_, flags, number, 0) + payload


def _with_ack_flag(message: bytes) -> bytes:
    """Return a message that is acknowledged even if there is no error."""
    length, type_, flags, number, port = HEADER.unpack_from(message)
    header = HEADER.pack(length, type_, flags | _ACK, number, port)
    return header + message[HEADER.size :]


def _raise_if_incomplete(code: int, flags: int) -> None:
    """Raise the error that made a read incomplete, if there is one."""
    if code:
        raise OSError(code, os.strerror(code))
    if flags & _DUMP_INTERRUPTED:
        raise _IncompleteRead


def _worst_answer(answers: Sequence[Answer]) -> Answer:
    """Return the answer to a change that took several requests: the worst of their answers."""
    for status in (WriteStatus.REFUSED, WriteStatus.UNKNOWN):
        for answer in answers:
            if answer.status is status:
                return answer
    return ANSWER_DONE
