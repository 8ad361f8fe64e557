"""What to write instead of a value of the wrong shape, where it is clear what was meant.

A remedy is YAML that a person can copy, made of the value that is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gitvs.core.manifests.syntax.source_positions import value_text

_PORT = re.compile(
    r"(?P<port>[0-9]{1,5})(?::(?P<target>[0-9]{1,5}))?(?:/(?P<protocol>tcp|udp|sctp))?"
)
_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
_ADDRESS_AND_PORT = re.compile(
    r"(?P<address>[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?"
)
_DURATION = re.compile(r"[0-9]{1,10}(ms|s|m|h)?")
_TEMPLATE = re.compile(r"\{\{|\}\}|\$\{|<%|\{%")
_ADDRESS_RANGE = re.compile(
    r"[0-9]{1,3}(\.[0-9]{1,3}){3}-[0-9.]+|[0-9A-Fa-f:]+:[0-9A-Fa-f:]*-[0-9A-Fa-f]+"
)

TEMPLATE_HINT = (
    "; gitvs does not fill in templates: write the values, share them in Pools and"
    " Defaults, or fill the templates in before they are committed"
)


def is_template(text: str) -> bool:
    """Whether a text has the marks of Jinja, Go, ERB or the shell in it."""
    return _TEMPLATE.search(text) is not None


def remedy_for_type(field: str, value: Any, wanted: Collection[str]) -> str:
    """Return `; write …` for a value whose type is wrong; empty if nothing is clear.

    `field` is the name of the field, or of the list that the value is an item of; `wanted` are
    the types of JSON that the schema takes.
    """
    if isinstance(value, str) and is_template(value):
        return TEMPLATE_HINT
    if "array" in wanted and not isinstance(value, list):
        item = "" if isinstance(value, dict) else _ITEMS.get(field, _nothing)(value)
        text = "" if value is None else f"[{item or flow(value)}]"
    elif "object" in wanted and isinstance(value, list):
        text = _mapping_for_list(field, value)
    elif "object" in wanted and not isinstance(value, dict):
        text = (_ITEMS.get(field) or _MAPPINGS.get(field) or _nothing)(value)
    elif wanted == ["string"] and type(value) is int and field in _DURATION_FIELDS:
        text = f'"{value}s"'
    elif field.startswith("net.") and isinstance(value, bool):
        text = str(int(value))
    else:
        text = ""
    return f"; write {text}" if text and len(text) <= _MAX_CHARACTERS else ""


_MAX_CHARACTERS = 120
_DURATION_FIELDS = frozenset({"timeout", "tcp", "tcpFin", "udp", "interval", "retryInterval"})


def remedy_for_address(text: str) -> str:
    """Return a hint for a text that is no address; empty if nothing is clear."""
    if is_template(text):
        return TEMPLATE_HINT
    if _ADDRESS_RANGE.fullmatch(text):
        return (
            "; gitvs has no ranges of addresses: write each one (a Director's localRoutes make a"
            " whole prefix local)"
        )
    match = _ADDRESS_AND_PORT.fullmatch(text)
    if match is not None and match["port"]:
        return f"; the port is a field of its own: {_address(match)} and port {match['port']}"
    return ""


def flow(value: Any) -> str:
    """Return a value as YAML people write on one line: `{port: 80}`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", value):
        return value
    return value_text(value)


def _nothing(_: Any) -> str:
    return ""


def _port(value: Any) -> str:
    if (match := _RANGE.fullmatch(str(value))) is not None:
        return (
            f"{{port: {match[1]}}} and so on, each port; or mark the packets of the range in the"
            " firewall, and give firewallMark"
        )
    match = _PORT.fullmatch(str(value))
    if match is None or isinstance(value, bool):
        return ""
    parts = [f"port: {int(match['port'])}"]
    if match["protocol"] not in (None, "tcp"):
        parts.append(f"protocol: {match['protocol']}")
    if match["target"]:
        parts.append(f"targetPort: {int(match['target'])}")
    return "{" + ", ".join(parts) + "}"


def _real_server(value: Any) -> str:
    match = _ADDRESS_AND_PORT.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        port = f", port: {int(match['port'])}" if match["port"] else ""
        return f"{{address: {_address(match)}{port}}}"
    if isinstance(value, str) and re.fullmatch("[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", value):
        return f'{{address: "{value}"}}'
    return ""


def _address(match: re.Match[str]) -> str:
    return f'"{match["ipv6"]}"' if match["ipv6"] else match["address"]


def _timeout(value: Any) -> str:
    """Return `{timeout: 5m}` for whatever a person wrote instead."""
    if value is False or value is None:
        return "null, or leave it out"
    if isinstance(value, bool):
        return "{timeout: 5m}"
    match = _DURATION.fullmatch(str(value))
    if match is None:
        return "{timeout: 5m}"
    return f"{{timeout: {match[0] if match[1] else match[0] + 's'}}}"


def _names(value: Any) -> str:
    return f"{{names: [{flow(value)}]}}" if isinstance(value, str) else ""


def _mapping_for_list(field: str, value: list[Any]) -> str:
    if field == "directors" and all(isinstance(item, str) for item in value):
        return f"{{names: {flow(value)}}}"
    if field in ("labels", "matchLabels", "sysctls", "timeouts", "addresses"):
        if value and all(isinstance(item, dict) for item in value):
            return flow({key: v for item in value for key, v in item.items()})
        return "{key: value}, not a list"
    return ""


def _check(value: Any) -> str:
    return "{tcp: {}}" if value == "tcp" else ""


def _tcp(value: Any) -> str:
    if value is None or value is True:
        return "{}"
    return f"{{port: {value}}}" if type(value) is int else ""


def _health(value: Any) -> str:
    return "null, or leave it out" if value is False else "{checks: [{tcp: {}}]}"


_ITEMS: Mapping[str, Callable[[Any], str]] = {
    "ports": _port,
    "realServers": _real_server,
    "checks": _check,
}
_MAPPINGS: Mapping[str, Callable[[Any], str]] = {
    "persistence": _timeout,
    "drain": _timeout,
    "health": _health,
    "tcp": _tcp,
    "directors": _names,
    "tunnel": lambda value: f"{{type: {flow(value)}}}" if isinstance(value, str) else "",
}
