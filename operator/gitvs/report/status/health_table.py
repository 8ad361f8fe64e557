"""`gitvs health`: every check of every real server, as the agent knows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from gitvs.report.status.health_text import failure_text, server_health_notes, service_health_notes
from gitvs.report.text.tables import add_row, new_table, table_text
from gitvs.report.text.times import span_text

JsonObject = Mapping[str, Any]

_STYLES = {"up": "green", "down": "red", "unknown": "yellow"}
_COLUMNS = ("Real server", "Name", "Is", "For>", "Check", "In a row>", "Took>")


def checked_services(status: JsonObject, service: str | None) -> list[JsonObject]:
    """Return the virtual services with checks, of one Service or of all."""
    checked = [each for each in status["services"] if each.get("health") is not None]
    return [each for each in checked if service in (None, each["service"])]


def health_text(services: Sequence[JsonObject], width: int | None = None) -> Text:
    """Return the health of virtual services as text, a table for each."""
    text = Text()
    for number, service in enumerate(services):
        notes = ", ".join(service_health_notes(service["health"]))
        text.append("\n" if number else "")
        text.append(f"{service['key']}  {service['service'] or ''}\n", "bold")
        text.append(f"  {notes}\n", "yellow" if service["health"]["isTroubled"] else "")
        table = new_table(*_COLUMNS, cut="Check")
        names = {each["key"]: each["name"] or "" for each in service["realServers"]}
        for server in service["health"]["realServers"]:
            for cells, note, style in _rows(server, names.get(server["key"], "")):
                add_row(table, cells, note, style)
        text.append_text(table_text(table, 2, width))
    return text


def _rows(server: JsonObject, name: str) -> Iterator[tuple[list[str], str, str]]:
    """Yield a row for each check; what is true of the real server is in the first."""
    beginning = [server["address"], name, server["standing"], span_text(server["ageSeconds"])]
    reasons = ", ".join(server_health_notes(server))
    for check in server["checks"]:
        took = f"{1000 * check['latencySeconds']:.1f} ms" if check["latencySeconds"] else ""
        notes = [reasons, "on trial" * check["isOnTrial"]]
        if check["failure"] and server["standing"] != "down":
            notes.append(failure_text(check))
        cells = [*beginning, check["check"], str(check["inARow"]), took]
        yield cells, ", ".join(note for note in notes if note), _STYLES[server["standing"]]
        beginning, reasons = ["", "", "", ""], ""
