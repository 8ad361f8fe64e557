"""What a host has, for people: gitvs's and foreign objects apart, connections beside servers."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from gitvs.core.durations import duration_text
from gitvs.core.model.observation import Connections
from gitvs.core.model.resources import (
    Key,
    Kind,
    RealServer,
    Resource,
    VirtualService,
    host_and_port,
    kind_of,
)
from gitvs.core.model.state import State
from gitvs.report.host.observation_json import Seen
from gitvs.report.host.state_json import ordered
from gitvs.report.text.fields import fields_of, fields_text, set_fields, thresholds_text
from gitvs.report.text.lines import Line, aligned, line, text_of

_SETTINGS = (Kind.SYSCTL, Kind.TIMEOUTS)
_IPVS = (Kind.VIRTUAL_SERVICE, Kind.REAL_SERVER)


def state_text(seen: Seen) -> Text:
    """Return an observation as text."""
    owned = seen.owned()
    rest = seen.observation.state.with_changes(drop=owned)
    settings = [r for r in ordered(seen.observation.state) if kind_of(r) in _SETTINGS]
    lines = [line(_title(seen), style="bold"), *_settings_lines(seen, settings)]
    lines += _group_lines(seen, "gitvs's", owned)
    lines += _group_lines(seen, "Foreign: not gitvs's, never touched", rest)
    if seen.observation.unnamed:
        lines += [line(""), line("Foreign, and beyond what gitvs has words for", style="bold")]
        lines += [line(name, indent=2) for name in sorted(seen.observation.unnamed)]
    return text_of(lines)


def _title(seen: Seen) -> str:
    applied = "nothing applied yet"
    if seen.applied is not None:
        commit = f"commit {seen.commit[:12]}" if seen.commit else "a work tree"
        applied = f"{commit} applied as {seen.applied.director}"
    return f"{seen.host}: Linux {seen.observation.release}, {applied}"


def _settings_lines(seen: Seen, settings: list[Resource]) -> Iterator[Line]:
    """Every host has settings: they are nobody's, and gitvs's mark tells which it has set."""
    if not settings:
        return
    yield line("")
    yield line("Settings", style="bold")
    rows = []
    for setting in settings:
        note = ""
        former = seen.ledger.saved.get(setting.key)
        if former is not None:
            note = "kept by gitvs"
            if former != setting:
                note = f"set by gitvs, was {', '.join(fields_of(former).values())}"
        rows.append(line(setting.key, ", ".join(fields_of(setting).values()), note, indent=2))
    yield from aligned(rows)


def _group_lines(seen: Seen, title: str, state: State) -> Iterator[Line]:
    resources = [r for r in ordered(state) if kind_of(r) not in _SETTINGS]
    if not resources:
        return
    yield line("")
    yield line(title, style="bold")
    others = [r for r in resources if kind_of(r) not in _IPVS]
    yield from aligned([_other_line(seen, r) for r in others])
    servers: dict[Key, list[RealServer]] = {}
    for server in (r for r in resources if isinstance(r, RealServer)):
        servers.setdefault(server.service_key, []).append(server)
    for service in (r for r in resources if isinstance(r, VirtualService)):
        yield from _service_lines(seen, service, servers.get(service.key, []))


def _other_line(seen: Seen, resource: Resource) -> Line:
    notes = []
    if kind_of(resource) is Kind.VIP and fields_of(resource)["route"] == "missing":
        notes.append("its route in table local is missing: it receives nothing")
    if kind_of(resource) is Kind.SYNC_DAEMON:
        notes += [f"{name} {value}" for name, value in fields_of(resource).items()]
    link = seen.observation.links.get(str(resource.key).removeprefix("dummy "))
    if link is not None and kind_of(resource) is Kind.DUMMY_INTERFACE:
        notes.append("UP" if link.is_up else "DOWN")
    return line(resource.key, ", ".join(notes), indent=2)


def _service_lines(
    seen: Seen, service: VirtualService, servers: list[RealServer]
) -> Iterator[Line]:
    yield line(f"{service.key}  {fields_text(set_fields(service))}", indent=2)
    yield from aligned([_server_line(seen, server) for server in servers])


def _server_line(seen: Seen, server: RealServer) -> Line:
    counted = seen.observation.connections.get(server.key, Connections())
    fields = fields_of(server)
    note = ""
    drain = seen.ledger.drains.get(server.key)
    if drain is not None:
        left = max(0.0, drain.deadline_seconds - seen.boottime)
        note = f"draining, {duration_text(round(left))} left"
    return line(
        host_and_port(server.address, server.port),
        fields["forwarding"] + (" (local)" if _is_local(seen, server) else ""),
        f"weight {server.weight}",
        f"{counted.active} active",
        f"{counted.inactive} inactive",
        thresholds_text(fields),
        note,
        indent=4,
    )


def _is_local(seen: Seen, server: RealServer) -> bool:
    links = seen.observation.links.values()
    return server.address.is_loopback or any(server.address in x.addresses for x in links)
