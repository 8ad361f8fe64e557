"""The state of a host, for people: owned and foreign objects apart, servers with connections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from gitvs.core.durations import duration_text
from gitvs.core.model.kinds import Role, facts_of, is_setting, kind_of
from gitvs.core.model.observation import ConnectionCounts
from gitvs.core.model.resources import (
    DummyInterface,
    Key,
    Kind,
    RealServer,
    Resource,
    VirtualService,
    host_and_port,
)
from gitvs.core.model.state import State
from gitvs.report.host.observation_json import ObservedHost
from gitvs.report.host.state_json import in_display_order
from gitvs.report.text.fields import fields_of, fields_text, nondefault_fields, thresholds_text
from gitvs.report.text.lines import Line, aligned, line, lines_text


def observation_text(host: ObservedHost) -> Text:
    """Return an observation as text."""
    owned = host.owned_state()
    foreign = host.observation.state.with_changes(drop=owned)
    settings = [r for r in in_display_order(host.observation.state) if is_setting(r)]
    lines = [line(_title(host), style="bold"), *_settings_lines(host, settings)]
    lines += _group_lines(host, "gitvs's", owned)
    lines += _group_lines(host, "Foreign: not gitvs's, never touched", foreign)
    if host.observation.unknown_objects:
        lines += [
            line(""),
            line("Foreign, with settings that gitvs does not support", style="bold"),
        ]
        lines += [line(name, indent=2) for name in sorted(host.observation.unknown_objects)]
    return lines_text(lines)


def _title(host: ObservedHost) -> str:
    applied = "nothing applied yet"
    if host.applied is not None:
        commit = f"commit {host.commit[:12]}" if host.commit else "a work tree"
        applied = f"{commit} applied as {host.applied.director}"
    return f"{host.name}: Linux {host.observation.kernel_release}, {applied}"


def _settings_lines(host: ObservedHost, settings: Sequence[Resource]) -> Iterator[Line]:
    """Yield the settings, which nobody owns, with a note on those that gitvs has set."""
    if not settings:
        return
    yield line("")
    yield line("Settings", style="bold")
    rows = []
    for setting in settings:
        note = ""
        saved = host.ledger.saved_settings.get(setting.key)
        if saved is not None:
            note = "kept by gitvs"
            if saved != setting:
                note = f"set by gitvs, was {', '.join(fields_of(saved).values())}"
        rows.append(line(setting.key, ", ".join(fields_of(setting).values()), note, indent=2))
    yield from aligned(rows)


def _group_lines(host: ObservedHost, title: str, state: State) -> Iterator[Line]:
    resources = [r for r in in_display_order(state) if not is_setting(r)]
    if not resources:
        return
    yield line("")
    yield line(title, style="bold")
    others = [r for r in resources if facts_of(r).role is not Role.RULE]
    yield from aligned([_other_line(host, r) for r in others])
    servers: dict[Key, list[RealServer]] = {}
    for server in (r for r in resources if isinstance(r, RealServer)):
        servers.setdefault(server.service_key, []).append(server)
    for service in (r for r in resources if isinstance(r, VirtualService)):
        yield from _service_lines(host, service, servers.get(service.key, []))


def _other_line(host: ObservedHost, resource: Resource) -> Line:
    notes = []
    if kind_of(resource) is Kind.VIP and fields_of(resource)["route"] == "missing":
        notes.append("its route in table local is missing: it receives nothing")
    if kind_of(resource) is Kind.SYNC_DAEMON:
        notes += [f"{name} {value}" for name, value in fields_of(resource).items()]
    if isinstance(resource, DummyInterface) and (link := host.observation.links.get(resource.name)):
        notes.append("UP" if link.is_up else "DOWN")
    return line(resource.key, ", ".join(notes), indent=2)


def _service_lines(
    host: ObservedHost, service: VirtualService, servers: list[RealServer]
) -> Iterator[Line]:
    yield line(f"{service.key}  {fields_text(nondefault_fields(service))}", indent=2)
    yield from aligned([_server_line(host, server) for server in servers])


def _server_line(host: ObservedHost, server: RealServer) -> Line:
    connections = host.observation.connections.get(server.key, ConnectionCounts())
    fields = fields_of(server)
    note = ""
    drain = host.ledger.drains.get(server.key)
    if drain is not None:
        seconds_left = max(0.0, drain.deadline_seconds - host.boottime_seconds)
        note = f"draining, {duration_text(round(seconds_left))} left"
    return line(
        host_and_port(server.address, server.port),
        fields["forwarding"] + (" (local)" if _is_local(host, server) else ""),
        f"weight {server.weight}",
        f"{connections.active} active",
        f"{connections.inactive} inactive",
        thresholds_text(fields),
        note,
        indent=4,
    )


def _is_local(host: ObservedHost, server: RealServer) -> bool:
    links = host.observation.links.values()
    return server.address.is_loopback or any(server.address in x.addresses for x in links)
