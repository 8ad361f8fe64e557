"""Finds values by prefix for an address, with one look-up for each prefix length in use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from gitvs.core.model.resources import IPAddress, IPNetwork

T = TypeVar("T")


class PrefixIndex(Generic[T]):
    """A mapping from prefixes to values."""

    def __init__(self) -> None:
        self._values: dict[tuple[int, int], dict[int, tuple[IPNetwork, T]]] = {}

    def put(self, prefix: IPNetwork, value: T) -> None:
        """Set the value of a prefix."""
        key = (prefix.version, prefix.prefixlen)
        self._values.setdefault(key, {})[int(prefix.network_address)] = prefix, value

    def get(self, prefix: IPNetwork) -> T | None:
        """Return the value of exactly this prefix."""
        by_address = self._values.get((prefix.version, prefix.prefixlen), {})
        found = by_address.get(int(prefix.network_address))
        return None if found is None else found[1]

    def covering(self, address: IPAddress) -> Iterator[tuple[IPNetwork, T]]:
        """Yield every prefix that contains an address, with its value."""
        if not self._values:
            return
        number, bits = int(address), address.max_prefixlen
        for (version, length), by_address in self._values.items():
            if version == address.version:
                host_bits = bits - length
                found = by_address.get(number >> host_bits << host_bits)
                if found is not None:
                    yield found
