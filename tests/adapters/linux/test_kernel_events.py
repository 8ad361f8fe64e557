"""What of a link message is news. Source: rtnetlink(7), linux/if_link.h."""

from __future__ import annotations

import struct

from gitvs.adapters.linux.kernel_events import _important_part


def message(flags: int = 0x82, changed: int = 0, **attributes: bytes) -> bytes:
    """A link message with attributes by number, `a3=b"gitvs0"`."""
    payload = struct.pack("=BxHiII", 0, 1, 7, flags, changed)
    for name, value in attributes.items():
        attribute = struct.pack("=HH", 4 + len(value), int(name[1:])) + value
        payload += attribute + bytes(-len(attribute) % 4)
    return payload


FORMER = message(a3=b"gitvs0\0", a7=b"1", a20=b"gitvs:x:1", a23=b"1", a26=b"1", a10=b"\0\0\0\0")


def test_counters_and_the_alias_are_no_news() -> None:
    for other in (
        message(a3=b"gitvs0\0", a7=b"2", a20=b"gitvs:x:12", a23=b"2", a26=b"2", a10=b"\0\0\0\0"),
        message(changed=1, a3=b"gitvs0\0", a10=b"\0\0\0\0"),
    ):
        assert _important_part(other) == _important_part(FORMER)


def test_flags_name_and_master_are_news() -> None:
    for other in (
        message(flags=0x83, a3=b"gitvs0\0", a10=b"\0\0\0\0"),
        message(a3=b"dummy9\0", a10=b"\0\0\0\0"),
        message(a3=b"gitvs0\0", a10=b"\1\0\0\0"),
        message(a3=b"gitvs0\0"),
    ):
        assert _important_part(other) != _important_part(FORMER)
