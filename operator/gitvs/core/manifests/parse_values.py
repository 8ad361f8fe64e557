"""Parses values of documents that passed their schema: addresses, durations, selectors.

A value that the schema allows and that is still invalid becomes a problem. Building whole
documents is left to `parse_services` and `parse_directors`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

from gitvs.core.checkpoint import Checkpoint, checked, no_checkpoint
from gitvs.core.durations import parse_milliseconds
from gitvs.core.manifests.defaults import SpecFields
from gitvs.core.manifests.messages.remedies import remedy_for_address
from gitvs.core.manifests.syntax.sound_part import LEFT_OUT
from gitvs.core.manifests.syntax.source_positions import Origin, value_text
from gitvs.core.manifests.types import DirectorSelector, LabelMatch
from gitvs.core.model.resources import IPAddress, IPNetwork, Tunnel, TunnelChecksum, TunnelType
from gitvs.core.problems import Problem, printable

MAX_INTERFACE_NAME_BYTES = 15
_INTERFACE_NAME = re.compile(r"(?!-)[^\s/:%]+")
_RESERVED_INTERFACE_NAMES = frozenset({".", "..", "all", "default"})


class InvalidValue(Exception):
    """A value that cannot be parsed; its problem is already recorded."""


@dataclass(slots=True)
class ValueParser:
    """Parses values and records the problems with them."""

    checkpoint: Checkpoint = no_checkpoint
    problems: list[Problem] = field(default_factory=list)

    def reject(self, origin: Origin, rule: str, message: str) -> InvalidValue:
        """Record a problem; return the exception to raise if there is no usable value."""
        self.problems.append(origin.problem(rule, message))
        return InvalidValue()

    def parse_address(self, origin: Origin, text: str) -> IPAddress:
        """Parse an address.

        Raises:
            InvalidValue: `text` is invalid; the problem is recorded.
        """
        try:
            address = parse_ip_address(text)
        except ValueError:
            raise self.reject(origin, "bad-address", _bad_address_message(text)) from None
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            message = f"{text} names an interface after %; give the address alone"
            raise self.reject(origin, "bad-address", message)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            message = f"{text} is an IPv4 address in IPv6 notation; write {address.ipv4_mapped}"
            raise self.reject(origin, "bad-address", message)
        return address

    def parse_prefix(self, origin: Origin, text: str) -> IPNetwork:
        """Parse a prefix; an address alone is a prefix of full length.

        Raises:
            InvalidValue: `text` is invalid; the problem is recorded.
        """
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            message = f"{value_text(text)} is not a prefix such as 10.20.0.0/24"
            raise self.reject(origin, "bad-prefix", message) from None
        address, _, length = text.partition("/")
        if "/" in text and not (length.isascii() and length.isdecimal()):
            message = f"{value_text(text)}: write the length as a number, {network}"
            raise self.reject(origin, "bad-prefix", message)
        if ip_address(address) != network.network_address:
            message = f"{text} has bits set after its prefix length; write {network}"
            raise self.reject(origin, "bad-prefix", message)
        return network

    def parse_whole_seconds(self, origin: Origin, text: str) -> int:
        """Parse a duration that the kernel takes in whole seconds; it is never rounded.

        Raises:
            InvalidValue: `text` is invalid; the problem is recorded.
        """
        seconds, rest = divmod(parse_milliseconds(text), 1000)
        if rest:
            message = f"{text} is not a whole number of seconds, and the kernel takes only those"
            raise self.reject(origin, "whole-seconds", message)
        return seconds

    def parse_interface(self, origin: Origin, name: str) -> str:
        """Parse the name of a network interface.

        Source: dev_valid_name().

        Raises:
            InvalidValue: `name` is invalid; the problem is recorded.
        """
        size = len(name.encode())
        if size > MAX_INTERFACE_NAME_BYTES:
            message = f"interface name {value_text(name)} has {size} bytes; the kernel allows "
            message += f"{MAX_INTERFACE_NAME_BYTES}"
            raise self.reject(origin, "interface-name", message)
        is_plain = name.isprintable() and _INTERFACE_NAME.fullmatch(name)
        if not is_plain or name in _RESERVED_INTERFACE_NAMES:
            message = (
                f"{value_text(name)} is not an interface name: no white space, control characters,"
            )
            message += " /, : or %, no - at the beginning, and not all or default"
            raise self.reject(origin, "interface-name", message)
        return name

    def parse_dummy_interface(self, origin: Origin, name: str) -> str:
        """Parse the name of the interface that holds the VIPs.

        Raises:
            InvalidValue: `name` is invalid; the problem is recorded.
        """
        if name == "lo":
            message = "lo is not a dummy interface; give an unused name, such as gitvs0"
            raise self.reject(origin, "interface-name", message)
        return self.parse_interface(origin, name)

    def parse_tunnel(self, origin: Origin, data: Mapping[str, Any]) -> Tunnel:
        """Parse a tunnel, and check the options of its type.

        Source: ipvsadm(8) --tun-type.
        """
        tunnel = Tunnel(
            TunnelType(data.get("type", "ipip")),
            data.get("port", 0),
            TunnelChecksum(data.get("checksum", "none")),
        )
        if tunnel.type is TunnelType.GUE and not tunnel.port:
            message = "a gue tunnel needs the UDP port of the real server's listener; give port"
            self.reject(origin, "gue-without-port", message)
        if tunnel.type is not TunnelType.GUE and tunnel.port:
            message = f"port {tunnel.port} is for gue; a tunnel of type {tunnel.type} has none"
            self.reject(origin / "port", "tunnel-port-without-gue", message)
        if tunnel.checksum not in _CHECKSUMS_BY_TUNNEL_TYPE[tunnel.type]:
            allowed = ", ".join(_CHECKSUMS_BY_TUNNEL_TYPE[tunnel.type])
            message = f"checksum {tunnel.checksum} is not for {tunnel.type}; it takes {allowed}"
            self.reject(origin / "checksum", "tunnel-checksum", message)
        return tunnel


_CHECKSUMS_BY_TUNNEL_TYPE = {
    TunnelType.IPIP: (TunnelChecksum.NONE,),
    TunnelType.GRE: (TunnelChecksum.NONE, TunnelChecksum.FULL),
    TunnelType.GUE: tuple(TunnelChecksum),
}


def parse_ip_address(text: str) -> IPAddress:
    """Do what `ip_address` does, in a fifth of the time.

    Raises:
        ValueError: `text` is not an address.
    """
    try:
        if ":" in text:
            return IPv6Address(inet_pton(AF_INET6, text))
        return IPv4Address(inet_pton(AF_INET, text))
    except (OSError, ValueError):  # `text` may have a scope, or be invalid
        return ip_address(text)


def _bad_address_message(text: str) -> str:
    if remedy := remedy_for_address(text):
        return f"{value_text(text)} is not one address{remedy}"
    address, _, length = text.partition("/")
    if length:
        return f"{value_text(text)} has a prefix length; write {printable(address)} alone"
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", text):
        parts = [str(int(part)) if len(part) < 5 else part for part in text.split(".")]
        hint = "; write it without leading zeros" if ".".join(parts) != text else ""
        return f"{value_text(text)} is not an IPv4 address{hint}"
    return f"{value_text(text)} is not an IPv4 or IPv6 address (names are not looked up)"


def parse_selector(origin: Origin, data: Mapping[str, Any] | None) -> DirectorSelector | None:
    """Parse a director selector."""
    if data is None:
        return None
    names = data.get("names")
    return DirectorSelector(
        origin,
        None if names is None else tuple(names),
        parse_label_match(data.get("matchLabels")),
    )


def parse_label_match(data: Mapping[str, Any] | None) -> LabelMatch:
    """Parse `matchLabels`; a text is a list of one."""
    return tuple(
        (key, frozenset([wanted] if isinstance(wanted, str) else wanted))
        for key, wanted in (data or {}).items()
    )


def list_items(fields: SpecFields, name: str) -> list[tuple[Origin, Any]]:
    """Return the items of a list field that were not left out, each with its origin."""
    values = fields.values.get(name)
    if not values:
        return []
    origin = fields.origins.get(name) or fields.origin / name
    return [(origin / index, value) for index, value in enumerate(values) if value is not LEFT_OUT]


def parse_list(parser: ValueParser, fields: SpecFields, name: str, parse_item: Any) -> list[Any]:
    """Parse each item of a list; invalid items are left out."""
    result = []
    for origin, data in checked(list_items(fields, name), parser.checkpoint):
        with contextlib.suppress(InvalidValue):
            result.append(parse_item(parser, origin, data))
    return result


def optional_enum(enum_type: Any, value: str | None) -> Any:
    """Return a word as a member of an enum; None stays None."""
    return None if value is None else enum_type(value)
