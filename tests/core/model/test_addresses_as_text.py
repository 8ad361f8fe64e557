"""Addresses are written as `ipaddress` writes them, whatever they look like."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.core.model.resources import address_text

GROUPS = st.sampled_from([0, 0, 0, 1, 0xA, 0xFF, 0x203, 0xFFFF])
"""Groups of an IPv6 address, in which zeros and short numbers are common."""


@given(st.integers(0, 2**32 - 1))
def test_ipv4(number: int) -> None:
    assert address_text(IPv4Address(number)) == str(IPv4Address(number))


@given(st.integers(0, 2**128 - 1) | st.lists(GROUPS, min_size=8, max_size=8))
def test_ipv6(number: int | list[int]) -> None:
    if isinstance(number, list):
        number = int.from_bytes(b"".join(group.to_bytes(2, "big") for group in number))
    assert address_text(IPv6Address(number)) == str(IPv6Address(number))


@pytest.mark.parametrize(
    "text", ["::", "::1", "::203:113", "::ffff:c000:201", "64:ff9b::c000:201", "fe80::1%eth0"]
)
def test_ipv6_with_an_ipv4_address_or_a_zone(text: str) -> None:
    address = IPv6Address(text)
    assert address_text(address) == str(address)
