"""What is remembered of routing messages: each is decoded once, while it stays."""

from __future__ import annotations

from gitvs.adapters.linux.rtnetlink import RoutingCache


def test_a_message_is_decoded_once_while_it_stays() -> None:
    decoded = []

    def decode(payload: bytes) -> str:
        decoded.append(payload)
        return payload.decode()

    memory = RoutingCache()
    assert memory.decode(1, [b"a", b"b"], decode) == ["a", "b"]
    assert memory.decode(2, [b"b"], decode) == ["b"], "another dump has a memory of its own"
    assert memory.decode(1, [b"a", b"c"], decode) == ["a", "c"]
    assert memory.decode(1, [b"b"], decode) == ["b"], "what was gone is forgotten"
    assert decoded == [b"a", b"b", b"b", b"c", b"b"]
