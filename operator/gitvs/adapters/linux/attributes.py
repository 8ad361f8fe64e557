"""What netlink messages consist of: their split, their attributes, and names in them.

A message that no kernel sends is `KernelUnreadable`, never another error and never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from struct import Struct
from struct import error as StructError
from typing import ParamSpec, TypeVar

from gitvs.core.errors import KernelUnreadable
from gitvs.core.problems import printable

P = ParamSpec("P")
R = TypeVar("R")

Attributes = dict[int, bytes]
"""The values of attributes by their types."""

HEADER = Struct("=IHHII")
"""Length, type, flags, sequence, port. Source: linux/netlink.h, struct nlmsghdr."""
_ATTRIBUTE = Struct("=HH")  # length without padding, type
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

_MALFORMED_ERRORS = (LookupError, ValueError, ArithmeticError, StructError)


def decodes(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a decoder raise `KernelUnreadable` for a message that it cannot decode."""

    def decorate(decode: Callable[P, R]) -> Callable[P, R]:
        @wraps(decode)
        def decode_or_refuse(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return decode(*args, **kwargs)
            except _MALFORMED_ERRORS as error:
                raise KernelUnreadable(
                    f"the kernel's message about {what} cannot be understood ({error!r}). It is"
                    " read again; if this stays, gitvs does not know this kernel's messages"
                ) from error

        return decode_or_refuse

    return decorate


def unpack_attributes(data: bytes, offset: int = 0) -> Attributes:
    """Return the attributes from `offset` on, by type.

    Raises:
        ValueError: an attribute is shorter than its header, or longer than the message.
    """
    found = {}
    end = len(data)
    while offset + 4 <= end:
        length, type_ = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            raise ValueError(f"attribute {type_ & _TYPE_MASK} of {length} bytes")
        found[type_ & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += length + 3 & ~3
    return found


@decodes("its answer")
def split_messages(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Return the messages of a datagram: type, flags, sequence number and payload."""
    return list(_messages(data))


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    offset = 0
    while offset < len(data):
        length, type_, flags, number, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            raise ValueError(f"message of {length} bytes")
        yield type_, flags, number, data[offset + HEADER.size : offset + length]
        offset += length + 3 & ~3


def name_text(value: bytes) -> str:
    """Return a name or an alias, up to its first NUL, as text that is safe to show.

    The kernel accepts nearly every byte. Those that are not UTF-8, or that do not print, are
    escaped, so such a name never equals a name in a manifest.
    Source: Linux net/core/dev.c, dev_valid_name and dev_set_alias.
    """
    return printable(value.split(b"\0", 1)[0].decode(errors="backslashreplace"))
