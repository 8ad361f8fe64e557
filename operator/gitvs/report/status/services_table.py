"""Virtual services and their real servers as a table: those that need attention come first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from gitvs.core.model.resource_json import resource_from_json
from gitvs.core.model.resources import Kind, RealServer, VirtualService
from gitvs.core.status.traffic_shares import traffic_shares, unpredictable_reason
from gitvs.report.status.health_text import server_health_notes, service_health_notes
from gitvs.report.text.counts import bytes_text, count_text
from gitvs.report.text.fields import forwarding_text, nondefault_fields
from gitvs.report.text.tables import Table, add_row, content_width, new_table, table_text
from gitvs.report.text.times import time_left_text

MAX_SERVICES = 50
"""How many services are shown that need no attention."""

MAX_SERVERS = 20
"""How many real servers of one service are shown that need no attention."""

MIN_WIDTH_WITH_SHARES = 110
"""From so many columns on, a bar shows which share of new connections a real server gets.

Rates are shown too, as the kernel estimates them, where the table still fits.
"""

_BAR_CELLS = 10
_INDENT = 2

JsonObject = Mapping[str, Any]


def services_text(
    services: Sequence[JsonObject], *, show_all: bool, width: int | None = None
) -> Text:
    """Return virtual services as tables, and how many were left out; empty if there are none."""
    text = Text()
    urgent = [s for s in services if needs_attention(s)]
    others = [s for s in services if not needs_attention(s)]
    shown_others = others if show_all else others[:MAX_SERVICES]
    for title, group in (
        (f"{count_text(len(urgent), 'virtual service')} to look at", urgent),
        (_others_title(len(shown_others), len(others), len(services)), shown_others),
    ):
        if group:
            text.append(f"\n{title}\n", "bold")
            table = _widest_table(group, show_all, width)
            text.append_text(table_text(table, _INDENT, width))
    if len(shown_others) < len(others):
        hidden_count = len(others) - len(shown_others)
        text.append(
            f"{count_text(hidden_count, 'more virtual service')} without anything to look at:"
        )
        text.append(" `gitvs status --all` shows them\n")
    return text


def needs_attention(service: JsonObject) -> bool:
    """Whether a service has no real server, or one that drains or has weight 0."""
    servers, health = service["realServers"], service.get("health")
    is_troubled = health is not None and health["isTroubled"]
    return is_troubled or not servers or any(_is_notable(server) for server in servers)


def _is_notable(server: JsonObject) -> bool:
    return (
        server["object"]["weight"] == 0
        or server["drainingSeconds"] is not None
        or server["isDrainedByHand"]
    )


def _others_title(shown_count: int, other_count: int, total_count: int) -> str:
    if shown_count < other_count:
        return f"{shown_count} of {count_text(other_count, 'other virtual service')}"
    return count_text(
        other_count, "virtual service" if other_count == total_count else "other virtual service"
    )


def _widest_table(services: Sequence[JsonObject], show_all: bool, width: int | None) -> Table:
    """Return the table with as many columns as there is room for."""
    if width is not None and width < MIN_WIDTH_WITH_SHARES:
        return _services_table(services, show_all)
    table = _services_table(services, show_all, has_shares=True, has_rates=True)
    if width is None or content_width(table) <= width - _INDENT:
        return table
    return _services_table(services, show_all, has_shares=True)


def _services_table(
    services: Sequence[JsonObject],
    show_all: bool,
    *,
    has_shares: bool = False,
    has_rates: bool = False,
) -> Table:
    """Return the table; the column of shares is left out if no share is known."""
    shares = [_share_texts(service) if has_shares else {} for service in services]
    share_column = ("Share",) if any(shares) else ()
    columns = ("Service, real servers", "Name", "How", "Weight>", *share_column)
    rate_columns = ("Conns/s>", "In/s>", "Out/s>") if has_rates else ()
    services_table = new_table(*columns, "Active>", "Inactive>", *rate_columns, cut="Name")
    for service, service_shares in zip(services, shares, strict=True):
        for row in (_service_row(service), *_server_rows(service, show_all)):
            share = (service_shares.get(row.key, ""),) if share_column else ()
            rates = row.rates if has_rates else ()
            cells = [*row.settings, *share, *row.counts, *rates]
            add_row(services_table, cells, row.note, row.style)
    return services_table


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table: columns before and after the share, and what is to be noted."""

    settings: list[str]
    counts: list[str]
    rates: list[str]
    note: str = ""
    style: str = ""
    key: str = ""


def _share_texts(service: JsonObject) -> Mapping[str, str]:
    """Return the share of new connections of each real server, as a bar; none if it is a guess."""
    virtual_service = resource_from_json(Kind.VIRTUAL_SERVICE, service["object"])
    assert isinstance(virtual_service, VirtualService), "it was read as one"
    if unpredictable_reason(virtual_service):
        return {}
    shares = traffic_shares(virtual_service, [_real_server(s) for s in service["realServers"]])
    return {str(key): _bar_text(share) for key, share in shares.items()}


def _bar_text(share: float) -> str:
    """Return a bar and the share in percent, such as `█████░░░░░  50 %`."""
    filled = round(share * _BAR_CELLS)
    return "█" * filled + "░" * (_BAR_CELLS - filled) + f" {share * 100:3.0f} %"


def _real_server(server: JsonObject) -> RealServer:
    resource = resource_from_json(Kind.REAL_SERVER, server["object"])
    assert isinstance(resource, RealServer), "it was read as one"
    return resource


def _service_row(service: JsonObject) -> _Row:
    servers = service["realServers"]
    resource = resource_from_json(Kind.VIRTUAL_SERVICE, service["object"])
    scheduler, *options = [
        value if name == "scheduler" else f"{name} {value}"
        for name, value in nondefault_fields(resource).items()
    ]
    note = ""
    if not any(s["object"]["weight"] for s in servers):
        note = "no active real server: clients are refused" if servers else "no real server"
    health = service.get("health")
    health_notes = [] if health is None else list(service_health_notes(health))
    notes = ", ".join([*options, *([note] if note else []), *health_notes])
    name = service["service"] or "left the manifests"
    settings = [service["key"], name, scheduler, ""]
    return _Row(settings, _connection_sums(servers), _rates([service]), notes, "bold")


def _server_rows(service: JsonObject, show_all: bool) -> Iterator[_Row]:
    """Yield a row for each real server; after `MAX_SERVERS` ordinary ones, their sum.

    At the end are those that health has removed from the kernel.
    """
    servers, health = service["realServers"], service.get("health")
    healths = {} if health is None else {each["key"]: each for each in health["realServers"]}
    hidden_servers = []
    ordinary_count = 0
    for server in servers:
        notes = list(server_health_notes(healths.pop(server["key"], None) or _NO_HEALTH))
        is_notable = bool(notes) or _is_notable(server)
        ordinary_count += not is_notable
        if show_all or is_notable or ordinary_count <= MAX_SERVERS:
            yield _server_row(server, notes)
        else:
            hidden_servers.append(server)
    if hidden_servers:
        settings = [f"  and {len(hidden_servers)} more", "", "", ""]
        counts = _connection_sums(hidden_servers)
        yield _Row(settings, counts, _rates(hidden_servers), "active, see --all")
    for gone in healths.values():
        if notes := list(server_health_notes(gone)):
            settings = [f"  {gone['address']}", "", "", ""]
            note = ", ".join(["removed", *notes])
            yield _Row(settings, ["", ""], ["", "", ""], note, "magenta", gone["key"])


_NO_HEALTH: JsonObject = {"reason": None, "standing": "unknown"}


def _server_row(server: JsonObject, health_notes: Sequence[str]) -> _Row:
    resource = _real_server(server)
    return _Row(
        [
            f"  {server['address']}",
            server["name"] or "",
            forwarding_text(resource) + (" (local)" if server["isLocal"] else ""),
            str(resource.weight),
        ],
        _connection_sums([server]),
        _rates([server]),
        ", ".join([*health_notes, *_server_notes(server)]),
        "magenta" if health_notes or _is_notable(server) else "",
        server["key"],
    )


def _server_notes(server: JsonObject) -> Iterator[str]:
    if server["isDrainedByHand"]:
        yield "drained by hand"
    if server["drainingSeconds"] is not None:
        yield f"draining, {time_left_text(server['drainingSeconds'])}"
    for word in ("upper", "lower"):
        if server["object"][f"{word}Threshold"]:
            yield f"{word} threshold {server['object'][f'{word}Threshold']}"


def _rates(objects: Sequence[JsonObject]) -> list[str]:
    """Return connections, bytes in and bytes out a second; an older agent has none."""
    names = ("connectionsPerSecond", "bytesInPerSecond", "bytesOutPerSecond")
    if not all(name in each["counters"] for each in objects for name in names):
        return ["", "", ""]
    connections, *bytes_ = (sum(each["counters"][name] for each in objects) for name in names)
    return [str(connections), *map(bytes_text, bytes_)]


def _connection_sums(servers: Sequence[JsonObject]) -> list[str]:
    return [str(sum(s["connections"][which] for s in servers)) for which in ("active", "inactive")]
