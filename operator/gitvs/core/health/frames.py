"""Messages on a stream socket: each has its length before it, four bytes, the highest first."""

from __future__ import annotations

from collections.abc import Iterator

from gitvs.core.health.messages import MAX_FRAME_BYTES, BadMessage

_LENGTH_BYTES = 4


def framed(message: bytes) -> bytes:
    """Return a message with its length before it."""
    return len(message).to_bytes(_LENGTH_BYTES, "big") + message


class FrameReader:
    """Assembles messages from the bytes of a stream."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the messages that are complete with more bytes.

        Raises:
            BadMessage: one is longer than any may be.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if length > MAX_FRAME_BYTES:
                raise BadMessage(f"a message of {length} bytes")
            end = _LENGTH_BYTES + length
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[_LENGTH_BYTES:end])
            del self._buffer[:end]
            yield message
