"""What netlink messages consist of: their split, their attributes, and names in them.

A message that no kernel sends is `KernelUnreadable`, never another error and never a guess.
"""

from __future__ import annotations

from collections.abc import Callable
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
ATTRIBUTE = Struct("=HH")
"""Length without padding, type. Source: linux/netlink.h, struct nlattr."""
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


def pack_attribute(type_: int, value: bytes) -> bytes:
    """Return one attribute, padded to four bytes; its length field does not count the padding."""
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, type_) + value + bytes(-length % 4)


def unpack_attributes(data: bytes, offset: int = 0) -> Attributes:
    """Return the attributes from `offset` on, by type.

    Raises:
        ValueError: an attribute is shorter than its header, or longer than the message.
    """
    found = {}
    end = len(data)
    while offset + 4 <= end:
        length, type_ = ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            raise ValueError(f"attribute {type_ & _TYPE_MASK} of {length} bytes")
        found[type_ & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += length + 3 & ~3
    return found


@decodes("its answer")
def split_messages(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Return the messages of a datagram: type, flags, sequence number and payload."""
    unpack_header, header_bytes = HEADER.unpack_from, HEADER.size
    messages = []
    offset, end = 0, len(data)
    while offset < end:
        length, type_, flags, number, _ = unpack_header(data, offset)
        if length < header_bytes or offset + length > end:
            raise ValueError(f"message of {length} bytes")
        messages.append((type_, flags, number, data[offset + header_bytes : offset + length]))
        offset += length + 3 & ~3
    return messages


def name_text(value: bytes) -> str:
    """Return a name or an alias, up to its first NUL, as text that is safe to show.

    The kernel accepts nearly every byte. Those that are not UTF-8, or that do not print, are
    escaped, so such a name never equals a name in a manifest.
    Source: Linux net/core/dev.c, dev_valid_name and dev_set_alias.
    """
    return printable(value.split(b"\0", 1)[0].decode(errors="backslashreplace"))
