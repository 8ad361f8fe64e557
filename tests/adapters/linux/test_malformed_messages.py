"""Whatever bytes come from the kernel: objects, or `KernelUnreadable`, and nothing else."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from struct import pack
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitvs.adapters.linux.attributes import (
    HEADER,
    name_text,
    pack_attribute,
    split_messages,
    unpack_attributes,
)
from gitvs.adapters.linux.ipvs import _decode_family_id
from gitvs.adapters.linux.ipvs_codec import replies, requests
from gitvs.adapters.linux.ipvs_decoder import IpvsDecoder
from gitvs.adapters.linux.kernel_events import KernelEvent, KernelEvents
from gitvs.adapters.linux.netlink import _decode_error_code
from gitvs.adapters.linux.rtnetlink_codec.numbers import RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE
from gitvs.adapters.linux.rtnetlink_codec.replies import (
    decode_address,
    decode_gateways,
    decode_link,
    decode_route,
)
from gitvs.core.errors import KernelUnreadable
from gitvs.core.model.resource_json import resource_json
from gitvs.core.model.resources import (
    RealServer,
    Resource,
    SyncDaemon,
    SyncRole,
    Timeout,
    TimeoutName,
)
from tests.adapters.linux.test_ipvs_codec import WEB, real_servers, virtual_services
from tests.adapters.linux.test_ipvs_decoder import server_reply, service_reply
from tests.support.effort import examples

LINK = pack("=BxHiII", 0, 1, 7, 1, 0)
IPV4, IPV6 = socket.AF_INET, socket.AF_INET6


def attributes_of(*attributes: tuple[int, bytes]) -> bytes:
    return b"".join(pack_attribute(type_, value) for type_, value in attributes)


def link_message(name: bytes = b"eth0\0", alias: bytes = b"the uplink\0") -> bytes:
    kind = attributes_of((1, b"dummy\0"))
    return LINK + attributes_of((3, name), (18, kind), (20, alias))


def address_message(family: int, packed: bytes) -> bytes:
    labels = attributes_of((1, packed), (2, packed), (3, b"eth0\0"), (8, bytes(4)))
    return pack("=BBBBI", family, 24, 0, 0, 7) + labels


def route_message(family: int, packed: bytes) -> bytes:
    hop = attributes_of((5, packed), (18, pack("=H", IPV6) + bytes(15) + b"\1"))
    hops = pack("=HBBI", 8 + len(hop), 0, 0, 7) + hop
    attributes = [(1, packed), (4, pack("=I", 7)), (5, packed), (7, packed), (9, hops)]
    header = pack("=BBBBBBBBI", family, 8 * len(packed), 0, 0, 255, 2, 254, 2, 0)
    return header + attributes_of(*attributes, (15, pack("=I", 255)))


V4, V6 = ip_address("192.0.2.1").packed, ip_address("2001:db8::1").packed
ROUTING = [
    link_message(),
    address_message(IPV4, V4),
    address_message(IPV6, V6),
    route_message(IPV4, V4),
    route_message(IPV6, V6),
]
SERVER = RealServer(WEB, ip_address("10.0.0.1"), 80)
OTHERS = [
    requests.start_sync_daemon(SyncDaemon(SyncRole.PRIMARY, "eth0", 1)),
    requests.set_timeout(Timeout(TimeoutName.TCP, 900)),
    bytes(4) + attributes_of((1, pack("=I", 0x010201)), (2, pack("=I", 4096))),
    pack("=i", -2) + bytes(16),
]


def datagram(*messages: tuple[int, bytes]) -> bytes:
    whole = b""
    for type_, payload in messages:
        padding = bytes(-len(payload) % 4)
        whole += HEADER.pack(HEADER.size + len(payload), type_, 0, 1, 0) + payload + padding
    return whole


DATAGRAMS = [
    datagram(*zip([RTM_NEWLINK, RTM_NEWADDR, RTM_NEWADDR, RTM_NEWROUTE], ROUTING, strict=False)),
    datagram((2, pack("=i", 0) + bytes(16)), (3, bytes(4))),
]


@st.composite
def damaged(draw: st.DrawFn, message: bytes) -> bytes:
    """A message with attributes shuffled, resized or left out, bits flipped, or cut short."""
    for offset in draw(st.lists(st.sampled_from([4, 8, 12, 16]), max_size=2)):
        try:
            attributes = list(unpack_attributes(message, offset).items())
        except ValueError:
            continue
        chosen = draw(st.permutations(attributes))
        chosen = chosen[draw(st.integers(0, len(chosen))) :] if draw(st.booleans()) else chosen
        if chosen and draw(st.booleans()):
            one = draw(st.integers(0, len(chosen) - 1))
            type_, value = chosen[one]
            chosen[one] = type_, value[: draw(st.integers(0, 20))] + draw(st.binary(max_size=4))
        message = message[:offset] + attributes_of(*chosen)
    data = bytearray(message)
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(data)))
    return bytes(data[:cut] if draw(st.booleans()) else data)


def check(decode: Callable[[], Any]) -> None:
    """What is decoded can be shown; what is not is unreadable."""
    try:
        decoded = decode()
    except KernelUnreadable:
        return
    for resource in resources_in(decoded):
        assert resource.key
        resource_json(resource)


def resources_in(decoded: Any) -> Iterator[Resource]:
    if isinstance(decoded, list | tuple):
        for part in decoded:
            yield from resources_in(part)
    elif hasattr(decoded, "key") and not hasattr(decoded, "addresses"):
        yield decoded


fuzzed = settings(max_examples=examples(300))


@given(data=st.data())
@fuzzed
def test_any_virtual_service(data: st.DataObject) -> None:
    message = data.draw(damaged(service_reply(data.draw(virtual_services()))))
    check(lambda: replies.decode_service(message))
    decoder = IpvsDecoder()
    for messages in ([message], [service_reply(data.draw(virtual_services())), message]):
        check(lambda messages=messages: decoder.decode_services(messages))  # type: ignore[misc]


@given(data=st.data())
@fuzzed
def test_any_real_server(data: st.DataObject) -> None:
    message = data.draw(damaged(server_reply(data.draw(real_servers()))))
    check(lambda: replies.decode_real_server(message, WEB))
    decoder = IpvsDecoder()
    for messages in ([message], [server_reply(SERVER), message], [message, server_reply(SERVER)]):
        check(lambda messages=messages: decoder.decode_real_servers(messages, WEB))  # type: ignore[misc]


DECODERS: list[Callable[[bytes], Any]] = [
    replies.decode_sync_daemon,
    replies.decode_timeouts,
    replies.decode_version,
    _decode_family_id,
    _decode_error_code,
    decode_link,
    decode_address,
    decode_route,
    decode_gateways,
    split_messages,
]


@given(
    message=st.sampled_from([*OTHERS, *ROUTING, *DATAGRAMS]).flatmap(damaged)
    | st.binary(max_size=80)
)
@example(message=bytes(64))
@example(message=pack("=i", -(2**31)))
@example(message=pack("=i", 5))
@example(message=HEADER.pack(16, 2, 0, 1, 0))
@fuzzed
def test_any_other_message(message: bytes) -> None:
    for decode in DECODERS:
        check(lambda decode=decode: decode(message))  # type: ignore[misc]


@pytest.fixture(scope="module")
def events() -> Iterator[KernelEvents]:
    watched = KernelEvents({"lo"}, print)
    watched.start()
    yield watched
    watched.stop()


@given(data=st.sampled_from(DATAGRAMS).flatmap(damaged) | st.binary(max_size=80))
@example(data=bytes(64))
@example(data=datagram((RTM_NEWLINK, b"")))
@example(data=datagram((RTM_NEWROUTE, b"\2")))
@fuzzed
def test_any_event(events: KernelEvents, data: bytes) -> None:
    assert events._event_in(data) in (None, *KernelEvent)


def test_an_event_that_is_not_understood_counts_as_a_change(events: KernelEvents) -> None:
    assert events._event_in(DATAGRAMS[0][:-4]) is KernelEvent.NOT_UNDERSTOOD
    assert events._event_in(datagram((RTM_NEWROUTE, ROUTING[3]))) is KernelEvent.LOCAL_ROUTE
    assert events._event_in(datagram((RTM_NEWLINK, link_message(b"lo\0")))) is KernelEvent.LINK


@pytest.mark.parametrize(
    ("type_", "value"),
    [(1, b""), (1, bytes(3)), (2, b"\xff" * 4), (7, None)],
    ids=["no address", "short address", "long port", "no connections"],
)
def test_what_is_wrong_with_one_attribute_is_no_error_of_another_type(
    type_: int, value: bytes | None
) -> None:
    found = unpack_attributes(unpack_attributes(server_reply(SERVER), 4)[2])
    changed = {**found, type_: value}
    body = attributes_of(*((t, v) for t, v in changed.items() if v is not None))
    message = bytes(4) + attributes_of((2, body))
    with pytest.raises(KernelUnreadable, match="cannot be understood"):
        replies.decode_real_server(message, WEB)
    with pytest.raises(KernelUnreadable, match="cannot be understood"):
        IpvsDecoder().decode_real_servers([message], WEB)


def test_a_real_server_without_its_weight_is_not_taken_for_one_of_weight_0() -> None:
    found = unpack_attributes(unpack_attributes(server_reply(SERVER), 4)[2])
    cut_short = attributes_of(*((t, v) for t, v in found.items() if t != 4))
    with pytest.raises(KernelUnreadable, match="a real server cannot be understood"):
        replies.decode_real_server(bytes(4) + attributes_of((2, cut_short)), WEB)


@pytest.mark.parametrize("code", [-(2**31), -4096, 1])
def test_a_number_that_is_no_error_of_the_kernel_is_not_understood(code: int) -> None:
    assert _decode_error_code(pack("=i", -2)) == 2
    with pytest.raises(KernelUnreadable):
        _decode_error_code(pack("=i", code))


def test_what_is_well_formed_is_understood() -> None:
    assert decode_link(ROUTING[0])[1].alias == "the uplink"
    for message, packed in zip(ROUTING[1:3], (V4, V6), strict=True):
        index, address = decode_address(message)
        assert address is not None
        assert (index, address.address.packed, address.prefix_length) == (7, packed, 24)
    for message, packed in zip(ROUTING[3:], (V4, V6), strict=True):
        index, route = decode_route(message)
        assert route is not None
        assert (index, route.is_local, route.scope, route.protocol) == (7, True, 254, 2)
        assert route.prefix.network_address.packed == packed
        assert route.source_address == ip_address(packed)
        assert decode_gateways(message)[1] == {ip_address(packed), ip_address("::1")}


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"eth0\0", "eth0"),
        (b"caf\xc3\xa9", "café"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"a\x1b[31mb", r"a\u001b[31mb"),
        (b"\xc2\x9b", r"\u009b"),
        ("\u202egitvs0".encode(), r"\u202egitvs0"),
        (b"two\nlines", r"two\u000alines"),
        (b"", ""),
    ],
)
def test_a_name_is_text_that_is_safe_to_show(raw: bytes, shown: str) -> None:
    assert name_text(raw) == shown
    assert decode_link(link_message(raw, raw))[1].name == shown
    assert decode_link(link_message(b"eth0\0", raw))[1].alias == shown


def test_the_byte_order_of_a_link_is_this_machine_s() -> None:
    assert int.from_bytes(LINK[4:8], sys.byteorder) == 7
