"""Dumps decoded again and again say what each message says by itself, and share what stays."""

from __future__ import annotations

import sys
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.adapters.linux.attributes import pack_attribute, unpack_attributes
from gitvs.adapters.linux.ipvs_codec import replies, requests
from gitvs.adapters.linux.ipvs_decoder import IpvsDecoder
from gitvs.core.model.observation import ConnectionCounts, Counters
from gitvs.core.model.resources import RealServer, VirtualService
from gitvs.core.model.state import State
from tests.adapters.linux.test_ipvs_codec import WEB, real_servers, stats64, virtual_services

COUNT = st.integers(0, 2**32 - 1)
IDLE = (0, 0, 0, 0, 0)


def attribute(type_: int, value: int, size: int = 4) -> bytes:
    return pack_attribute(type_, value.to_bytes(size, sys.byteorder))


def counted(numbers: tuple[int, ...]) -> bytes:
    """STATS, which nobody reads, and STATS64."""
    return pack_attribute(10, bytes(72)) + pack_attribute(12, stats64(numbers))


def service_reply(service: VirtualService, numbers: tuple[int, ...] = IDLE) -> bytes:
    request = requests.new_service(service)
    attributes = unpack_attributes(request, 4)[1]
    return request[:4] + pack_attribute(1, attributes + counted(numbers))


def server_reply(
    server: RealServer, connections: tuple[int, ...] = (0, 0, 0), numbers: tuple[int, ...] = IDLE
) -> bytes:
    """A message as the kernel orders it: the address family stands behind the connections."""
    request = requests.new_real_server(server)
    found = unpack_attributes(unpack_attributes(request, 4)[2])
    family = pack_attribute(11, found.pop(11))
    configured = b"".join(pack_attribute(t, v) for t, v in found.items())
    counts = b"".join(attribute(t, n) for t, n in zip((7, 8, 9), connections, strict=True))
    body = configured + counts + family + counted(numbers)
    return request[:4] + pack_attribute(2, body)


CHANGEABLE = [
    "weight",
    "forwarding",
    "tunnel",
    "upper_threshold",
    "lower_threshold",
]


def in_kernel_order(server: RealServer) -> bytes:
    """An idle real server's message as Linux 6.1 orders it."""
    found = unpack_attributes(unpack_attributes(requests.new_real_server(server), 4)[2])
    configured = [pack_attribute(t, found[t]) for t in (1, 2, 3, 4, 13, 14, 15, 5, 6)]
    counts = [attribute(t, 0) for t in (7, 8, 9)]
    return message_of(2, *configured, *counts, pack_attribute(11, found[11]), counted(IDLE))


def message_of(type_: int, *parts: bytes) -> bytes:
    """The command's header, and the one attribute that holds an object."""
    return bytes(4) + pack_attribute(type_, b"".join(parts))


@given(real_servers(), st.tuples(*[COUNT] * 3), st.tuples(*[COUNT] * 5), st.booleans())
def test_a_real_server_in_the_order_of_the_kernel_is_as_the_codec_says(
    server: RealServer,
    connections: tuple[int, ...],
    numbers: tuple[int, ...],
    is_padded: bool,
) -> None:
    """Recorded on Linux 6.1; it pads where only aligned numbers can be read."""
    request = requests.new_real_server(server)
    found = unpack_attributes(unpack_attributes(request, 4)[2])
    ordered = [pack_attribute(t, found[t]) for t in (1, 2, 3, 4, 13, 14, 15, 5, 6, 11)]
    counts = [attribute(t, n) for t, n in zip((7, 8, 9), connections, strict=True)]
    stats = pack_attribute(10, bytes(92 if is_padded else 88))
    stats += pack_attribute(12, stats64(numbers, is_padded=is_padded))
    payload = message_of(2, *ordered[:-1], *counts, ordered[-1], stats)
    expected = (server, ConnectionCounts(*connections), Counters(*numbers, 11, 14, 15))
    assert replies.decode_real_server(payload, server.listener) == expected
    assert replies.decode_real_server_configuration(b"".join(ordered), server.listener) == server
    decoder = IpvsDecoder()
    for _ in range(2):
        assert decoder.decode_real_servers([payload], server.listener) == [expected]


@given(real_servers(), st.data())
def test_an_expected_real_server_is_taken_if_it_is_equal_and_only_then(
    server: RealServer, data: st.DataObject
) -> None:
    """Compared value by value: key, weight, forwarding, thresholds, tunnel."""
    other = data.draw(real_servers())
    similar = replace(
        server,
        **{name: getattr(other, name) for name in data.draw(st.sets(st.sampled_from(CHANGEABLE)))},
    )
    payload = in_kernel_order(server)
    for expected in (server, similar, other):
        decoder = IpvsDecoder()
        decoder.expect(State([expected]))
        [(found, _, _)] = decoder.decode_real_servers([payload], server.listener)
        assert found == server
        assert found is not expected or expected == server


def test_what_was_expected_is_the_same_object() -> None:
    for address in ("10.0.0.1", "2001:db8::1"):
        decoder = IpvsDecoder()
        server = RealServer(WEB, ip_address(address), 80, 5)
        decoder.expect(State([server]))
        [(found, _, _)] = decoder.decode_real_servers([in_kernel_order(server)], WEB)
        assert found is server


def service_in_kernel_order(service: VirtualService) -> bytes:
    """A virtual service's message as Linux 6.1 orders it, and with the flag that it adds."""
    found = unpack_attributes(unpack_attributes(requests.new_service(service), 4)[1])
    flags = int.from_bytes(found[7][:4], sys.byteorder) | 0x2
    found[7] = flags.to_bytes(4, sys.byteorder) + found[7][4:]
    configured = [
        pack_attribute(t, found[t]) for t in (1, 5, 2, 3, 4, 6, 11, 7, 8, 9) if t in found
    ]
    return message_of(1, *configured, counted(IDLE))


@given(virtual_services(), virtual_services())
def test_an_expected_virtual_service_is_taken_if_it_is_equal_and_only_then(
    service: VirtualService, other: VirtualService
) -> None:
    similar = replace(service, is_one_packet=not service.is_one_packet)
    payload = service_in_kernel_order(service)
    for expected in (service, similar, other):
        decoder = IpvsDecoder()
        decoder.expect(State([expected]))
        for _ in range(2):
            [(found, _)] = decoder.decode_services([payload])
            assert found == service
            assert (found is expected) == (expected == service)


@given(st.lists(st.tuples(virtual_services(), st.tuples(*[COUNT] * 5)), max_size=4))
def test_services_are_as_each_message_says(
    rows: list[tuple[VirtualService, tuple[int, ...]]],
) -> None:
    decoder = IpvsDecoder()
    for counted in (IDLE, *(counts for _, counts in rows)):
        payloads = [service_reply(service, counted) for service, _ in rows]
        assert decoder.decode_services(payloads) == [replies.decode_service(p) for p in payloads]


@given(
    st.lists(
        st.tuples(real_servers(), st.tuples(*[COUNT] * 3), st.tuples(*[COUNT] * 5)), max_size=4
    )
)
def test_real_servers_are_as_each_message_says(
    rows: list[tuple[RealServer, tuple[int, ...], tuple[int, ...]]],
) -> None:
    decoder = IpvsDecoder()
    for is_idle in (True, False, True):
        payloads = [
            server_reply(server) if is_idle else server_reply(server, connections, numbers)
            for server, connections, numbers in rows
        ]
        assert decoder.decode_real_servers(payloads, WEB) == [
            replies.decode_real_server(p, WEB) for p in payloads
        ]


def test_what_stays_is_the_same_object_and_what_changes_is_not() -> None:
    decoder = IpvsDecoder()
    server = RealServer(WEB, ip_address("10.0.0.1"), 80, 5)
    other = RealServer(WEB, ip_address("10.0.0.1"), 80, 6)
    decoder.decode_services([service_reply(VirtualService(WEB))])
    [(first, _, _)] = decoder.decode_real_servers([server_reply(server)], WEB)
    [(again, connections, counters)] = decoder.decode_real_servers(
        [server_reply(server, (1, 2, 3), (4, 5, 6, 7, 8))], WEB
    )
    assert again is first
    assert (connections.inactive, counters) == (2, Counters(4, 5, 6, 7, 8, 11, 14, 15))
    [(changed, _, _)] = decoder.decode_real_servers([server_reply(other)], WEB)
    assert changed == other


def test_nothing_is_kept_of_a_service_that_left() -> None:
    decoder = IpvsDecoder()
    reply = server_reply(RealServer(WEB, ip_address("10.0.0.1"), 80))
    [(first, _, _)] = decoder.decode_real_servers([reply], WEB)
    decoder.decode_services([])
    [(again, _, _)] = decoder.decode_real_servers([reply], WEB)
    assert again is not first
    assert again == first


@pytest.mark.parametrize(
    "end",
    [b"", pack_attribute(99, b"x"), pack_attribute(10, bytes(8)), pack_attribute(99, bytes(196))],
)
def test_a_message_of_another_shape_is_read_by_the_codec(end: bytes) -> None:
    """Older and newer kernels, and those that pad: no counters, no family, more attributes."""
    request = requests.new_real_server(RealServer(WEB, ip_address("10.0.0.1"), 80))
    counts = b"".join(attribute(t, n) for t, n in ((7, 1), (8, 2), (9, 3)))
    body = unpack_attributes(request, 4)[2] + counts + end
    reply = request[:4] + pack_attribute(2, body)
    decoder = IpvsDecoder()
    decoder.decode_real_servers([server_reply(RealServer(WEB, ip_address("10.0.0.2"), 80))], WEB)
    for _ in range(2):
        assert decoder.decode_real_servers([reply], WEB) == [replies.decode_real_server(reply, WEB)]
