"""Virtual services and their real servers as a table: those that need a look come first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from gitvs.core.model.resource_json import resource_from
from gitvs.core.model.resources import Kind, RealServer
from gitvs.report.text.fields import forwarding_text, set_fields
from gitvs.report.text.problems import counted
from gitvs.report.text.tables import Table, add_row, table, text_of_table
from gitvs.report.text.times import left

MOST_SERVICES = 50
"""How many services are shown that need no attention."""

MOST_SERVERS = 20
"""How many real servers of one service are shown that are in no way special."""

Document = Mapping[str, Any]


def services_text(services: Sequence[Document], *, show_all: bool) -> Text:
    """Return virtual services as tables, and what was left out; nothing where there is none."""
    text = Text()
    urgent = [s for s in services if needs_attention(s)]
    others = [s for s in services if not needs_attention(s)]
    shown = others if show_all else others[:MOST_SERVICES]
    for title, group in (
        (f"{counted(len(urgent), 'virtual service')} to look at", urgent),
        (_title(len(shown), len(others), len(services)), shown),
    ):
        if group:
            text.append(f"\n{title}\n", "bold")
            text.append_text(text_of_table(_table(group, show_all), indent=2))
    if len(shown) < len(others):
        missing = len(others) - len(shown)
        text.append(f"{counted(missing, 'more virtual service')} without anything to look at:")
        text.append(" `gitvs status --all` shows them\n")
    return text


def needs_attention(service: Document) -> bool:
    """Whether a service drains, has a server at weight 0, or none that takes connections."""
    servers = service["realServers"]
    return not servers or any(_is_special(server) for server in servers)


def _is_special(server: Document) -> bool:
    return (
        server["object"]["weight"] == 0
        or server["drainingSeconds"] is not None
        or server["isDrainedByHand"]
    )


def _title(shown: int, others: int, all_of_them: int) -> str:
    if shown < others:
        return f"{shown} of {counted(others, 'other virtual service')}"
    return counted(others, "virtual service" if others == all_of_them else "other virtual service")


def _table(services: Sequence[Document], show_all: bool) -> Table:
    found = table("Service, real servers", "Name", "How", "Weight>", "Active>", "Inactive>", "")
    for service in services:
        add_row(found, _service_cells(service), "bold")
        for cells, style in _server_rows(service["realServers"], show_all):
            add_row(found, cells, style)
    return found


def _service_cells(service: Document) -> list[str]:
    servers = service["realServers"]
    resource = resource_from(Kind.VIRTUAL_SERVICE, service["object"])
    scheduler, *options = [
        value if name == "scheduler" else f"{name} {value}"
        for name, value in set_fields(resource).items()
    ]
    note = ""
    if not any(s["object"]["weight"] for s in servers):
        note = "no active real server: clients are refused" if servers else "no real server"
    notes = ", ".join([*options, *([note] if note else [])])
    name = service["service"] or "left the manifests"
    return [service["key"], name, scheduler, "", *_sums(servers), notes]


def _server_rows(servers: Sequence[Document], show_all: bool) -> Iterator[tuple[list[str], str]]:
    """Yield cells and style of each real server; of very many alike, the sum of the rest."""
    rest = []
    plain = 0
    for server in servers:
        plain += not _is_special(server)
        if show_all or _is_special(server) or plain <= MOST_SERVERS:
            yield _server_cells(server), "magenta" if _is_special(server) else ""
        else:
            rest.append(server)
    if rest:
        yield [f"  and {len(rest)} more", "", "", "", *_sums(rest), "active, see --all"], ""


def _server_cells(server: Document) -> list[str]:
    resource = resource_from(Kind.REAL_SERVER, server["object"])
    assert isinstance(resource, RealServer), "it was read as one"
    return [
        f"  {server['address']}",
        server["name"] or "",
        forwarding_text(resource) + (" (local)" if server["isLocal"] else ""),
        str(resource.weight),
        str(server["connections"]["active"]),
        str(server["connections"]["inactive"]),
        ", ".join(_notes(server)),
    ]


def _notes(server: Document) -> Iterator[str]:
    if server["isDrainedByHand"]:
        yield "drained by hand"
    if server["drainingSeconds"] is not None:
        yield f"draining, {left(server['drainingSeconds'])}"
    for word in ("upper", "lower"):
        if server["object"][f"{word}Threshold"]:
            yield f"{word} threshold {server['object'][f'{word}Threshold']}"


def _sums(servers: Sequence[Document]) -> list[str]:
    return [str(sum(s["connections"][which] for s in servers)) for which in ("active", "inactive")]
