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
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
_ERROR = Struct("=i")

BATCH_MESSAGES = 1000
"""Requests in one call of the kernel: more do not make it faster."""
_BUFFER_BYTES = 8 << 20
_REPLY_BYTES = 1024
"""What one error reply takes of the receive buffer: measured 769, a whole `sk_buff`."""
_DATAGRAM_BYTES = 1 << 16
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


_Message = tuple[int, int, int, bytes]
"""Type, flags, sequence, payload."""


class _CutShort(Exception):
    """A reading that has to be begun again."""


class Netlink:
    """A netlink socket of the network namespace in which it was made."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        self._sequence = 0
        try:
            self._socket.bind((0, 0))
            # The kernel's own time-out: Python's would cost one more call for each send and recv.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEOUT)
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
        answers: list[Answer] = []
        for batch in self._batches(requests):
            answers += self._execute_batch(batch)
        return answers

    def execute_groups(self, groups: Sequence[Sequence[Request]]) -> list[Answer]:
        """Send groups of requests as `execute` does, and return one answer for each group."""
        answers = iter(self.execute([request for group in groups for request in group]))
        return [_combined([next(answers) for _ in group]) for group in groups]

    def dump(self, request: Request) -> list[bytes]:
        """Return the payloads that a dump gives, begun again where it was cut short.

        Raises:
            OSError: the kernel refused.
            KernelUnreadable: cut short every time, or no answer.
        """
        return self._read(request, _REQUEST | _DUMP)

    def ask(self, request: Request) -> bytes:
        """Return the payload of the one reply to a question.

        Raises:
            OSError, KernelUnreadable: as `dump`.
        """
        return self._read(request, _REQUEST | _ACK)[0]

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

    def _batches(self, requests: Sequence[Request]) -> Iterator[list[Request]]:
        batch: list[Request] = []
        size = 0
        for request in requests:
            length = _HEADER.size + len(request.payload)
            if batch and (len(batch) == self._batch_messages or size + length > self._batch_bytes):
                yield batch
                batch, size = [], 0
            batch.append(request)
            size += length
        if batch:
            yield batch

    def _execute_batch(self, batch: Sequence[Request]) -> list[Answer]:
        first = self._sequence + 1
        self._sequence += len(batch)
        last = self._sequence
        data = bytearray()
        for number, request in enumerate(batch, first):
            flags = request.flags | (_REQUEST | _ACK if number == last else _REQUEST)
            length = _HEADER.size + len(request.payload)
            data += _HEADER.pack(length, request.type, flags, number, 0)
            data += request.payload
        try:
            self._socket.send(data)
        except OSError as error:  # as a whole: the kernel has seen none of it
            return [refused(error)] * len(batch)
        return self._answers(batch, first)

    def _answers(self, batch: Sequence[Request], first: int) -> list[Answer]:
        """Collect the errors and the last one's acknowledgement.

        The kernel runs a batch within `send`, in order, so the last answer says that no other
        comes; unless one was dropped. Then whatever has no answer is unknown.
        """
        last = first + len(batch) - 1
        errors: dict[int, int] = {}
        dropped = False
        while last not in errors:
            try:
                # What was queued before a drop is there already.
                for type_, _, number, payload in self._receive(has_to_be_there=dropped):
                    if type_ == _NLMSG_ERROR and first <= number <= last:
                        errors[number] = -_ERROR.unpack_from(payload)[0]
            except OSError as error:
                dropped = True
                if error.errno != errno.ENOBUFS:  # a time-out: nothing more will come
                    break
        silent = UNKNOWN if dropped else DONE
        return [_answer(r, errors.get(n), silent) for n, r in enumerate(batch, first)]

    def _read(self, request: Request, flags: int) -> list[bytes]:
        for _ in range(_READINGS):
            try:
                return self._read_once(request, flags)
            except _CutShort:
                continue
            except BlockingIOError as error:
                message = f"the kernel did not answer within {_TIMEOUT_SECONDS} s"
                raise KernelUnreadable(message) from error
        raise KernelUnreadable(
            f"the kernel changed while it was read, {_READINGS} times in a row: try again"
        )

    def _read_once(self, request: Request, flags: int) -> list[bytes]:
        """Send one request and return the payloads of its replies."""
        self._sequence += 1
        number = self._sequence
        length = _HEADER.size + len(request.payload)
        header = _HEADER.pack(length, request.type, flags, number, 0)
        self._socket.send(header + request.payload)
        replies: list[bytes] = []
        interrupted = False
        while True:
            try:
                messages = self._receive()
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise _CutShort from error
                raise
            for type_, flags_of, sequence, payload in messages:
                if sequence != number:
                    continue  # the rest of a reading that was given up
                interrupted |= bool(flags_of & _DUMP_INTERRUPTED)
                if type_ not in (_NLMSG_ERROR, _NLMSG_DONE):
                    replies.append(payload)
                    continue
                code = -_ERROR.unpack_from(payload)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                if interrupted:
                    raise _CutShort
                return replies

    def _receive(self, *, has_to_be_there: bool = False) -> list[_Message]:
        """Receive one datagram and return its messages."""
        data = self._socket.recv(_DATAGRAM_BYTES, socket.MSG_DONTWAIT if has_to_be_there else 0)
        messages = []
        at, end = 0, len(data) - _HEADER.size
        while at <= end:
            length, type_, flags, sequence, _ = _HEADER.unpack_from(data, at)
            messages.append((type_, flags, sequence, data[at + _HEADER.size : at + length]))
            at += length + 3 & ~3
        return messages


def _answer(request: Request, code: int | None, silent: Answer) -> Answer:
    if code is None:
        return silent
    return DONE if code == 0 or code in request.tolerated else Answer(Status.REFUSED, code)


def _combined(answers: Sequence[Answer]) -> Answer:
    """Return the answer to a change that took several requests: the worst of theirs."""
    for status in (Status.REFUSED, Status.UNKNOWN):
        for answer in answers:
            if answer.status is status:
                return answer
    return DONE
