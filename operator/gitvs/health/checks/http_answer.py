"""Reads an HTTP/1 answer piece by piece, and no more of it than counts.

Source: RFC 9112. Where it is lenient, a line may end with LF alone.
"""

from __future__ import annotations

import re
from enum import Enum, auto

MAX_HEAD_BYTES = 32 * 1024
"""How long the heads of an answer may be, those of interim answers included."""

MAX_BODY_BYTES = 64 * 1024
"""How much of a body counts."""

_MAX_LINE_BYTES = 1024
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: |$)")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;|$)")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_WITHOUT_BODY = (204, 304)
_SWITCHING = 101


class BadAnswer(ValueError):
    """It is no answer of HTTP/1."""


class _Framing(Enum):
    """How the end of the body is known."""

    LENGTH = auto()
    CHUNKS = auto()
    CLOSE = auto()


class HttpAnswer:
    """`status` is None until the head is read; `body` is decoded, and cut at 64 KiB."""

    def __init__(self, *, has_body: bool = True) -> None:
        """Begin; `has_body` is False for an answer to HEAD."""
        self.status: int | None = None
        self.body = bytearray()
        self.is_complete = False
        self._has_body = has_body
        self._unread = bytearray()
        self._head_bytes = 0
        self._framing = _Framing.CLOSE
        self._left = 0
        """How many bytes of the body, or of the present chunk, are still to come."""
        self._is_in_chunk = False

    def feed(self, data: bytes) -> None:
        """Read more.

        Raises:
            BadAnswer: this is no answer of HTTP/1, or its head is too long.
        """
        self._unread += data
        while self.status is None and self._read_head():
            pass
        if self.status is not None and not self.is_complete:
            self._read_body()

    def end(self) -> None:
        """Read that nothing more comes.

        Raises:
            BadAnswer: it ended too soon.
        """
        if self.status is None:
            raise BadAnswer("it ended before the head did" if self._unread else "it said nothing")
        if self.is_complete:
            return
        if self._framing is not _Framing.CLOSE:
            raise BadAnswer("it ended before the body did")
        self.is_complete = True

    def _read_head(self) -> bool:
        """Read a head if it is whole; return whether it was an interim one."""
        found = _HEAD_END.search(self._unread)
        length = len(self._unread) if found is None else found.end()
        if self._head_bytes + length > MAX_HEAD_BYTES:
            raise BadAnswer(f"its head is longer than {MAX_HEAD_BYTES} bytes")
        if found is None:
            if not b"HTTP/1.".startswith(self._unread[:7]):
                raise BadAnswer(f"it is no HTTP/1: {_shown(self._unread)}")
            return False
        self._head_bytes += length
        first, *lines = bytes(self._unread[: found.start()]).splitlines() or [b""]
        del self._unread[:length]
        status_line = _STATUS_LINE.match(first)
        if status_line is None:
            raise BadAnswer(f"it is no HTTP/1: {_shown(first)}")
        status = int(status_line[1])
        if status < 200 and status != _SWITCHING:
            return True
        self._take_framing(status, lines)
        self.status = status
        return False

    def _take_framing(self, status: int, lines: list[bytes]) -> None:
        fields: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip()
        length = fields.get(b"content-length")
        if not self._has_body or status in _WITHOUT_BODY or status == _SWITCHING:
            self.is_complete = True
        elif fields.get(b"transfer-encoding", b"").lower().endswith(b"chunked"):
            self._framing = _Framing.CHUNKS
        elif length is not None:
            if not _LENGTH.fullmatch(length):
                raise BadAnswer(f"its Content-Length is {_shown(length)}")
            self._framing, self._left = _Framing.LENGTH, int(length)

    def _read_body(self) -> None:
        if self._framing is _Framing.CHUNKS:
            while not self.is_complete and self._read_chunk():
                pass
        elif self._framing is _Framing.LENGTH:
            self._take(self._left)
            self.is_complete = self.is_complete or self._left == 0
        else:
            self._take(len(self._unread))

    def _read_chunk(self) -> bool:
        """Read a size, or what there is of a chunk; return whether there may be more to read."""
        if self._is_in_chunk:
            self._take(self._left)
            if self._left:
                return False
            self._is_in_chunk = False
        line, newline, _ = self._unread.partition(b"\n")
        if len(line) > _MAX_LINE_BYTES:
            raise BadAnswer("the size of a chunk is too long")
        if not newline:
            return False
        del self._unread[: len(line) + 1]
        text = bytes(line).strip()
        if not text and self.body:
            return True  # the end of a chunk
        size = _CHUNK_SIZE.match(text)
        if size is None:
            raise BadAnswer(f"the size of a chunk is {_shown(text)}")
        self._left = int(size[1], 16)
        self._is_in_chunk = self._left > 0
        self.is_complete = self.is_complete or self._left == 0
        return True

    def _take(self, count: int) -> None:
        """Move bytes to the body, as long as they count."""
        part = self._unread[:count]
        self.body += part[: MAX_BODY_BYTES - len(self.body)]
        del self._unread[: len(part)]
        if self._framing is not _Framing.CLOSE:
            self._left -= len(part)
        if len(self.body) >= MAX_BODY_BYTES:
            self.is_complete = True


def _shown(data: bytes | bytearray) -> str:
    return repr(bytes(data[:40]).decode("utf-8", "replace"))
