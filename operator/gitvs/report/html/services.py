"""The part of a page about one virtual service: all its real servers, before and after."""

from __future__ import annotations

from collections.abc import Iterator

from gitvs.core.planning.plan import Action
from gitvs.report.html.elements import (
    EMPTY_HTML,
    Content,
    Html,
    comma_separated,
    element,
    labelled_fields,
    linked,
    row,
    table,
)
from gitvs.report.plan.server_row import ServerRow
from gitvs.report.plan.service_view import ServiceView
from gitvs.report.text.changes import SIGNS_AND_COLOURS, location_text


def service_details(view: ServiceView) -> Html:
    """Return a virtual service: what happens to it, its capacity, its real servers."""
    is_draining = view.is_leaving and view.action is not Action.DELETE
    action = str(Action.DRAIN if is_draining else view.action or "")
    title = element(
        "summary",
        element("b", element("code", view.key)),
        element("span", view.action_text, class_=f"badge {action}"),
        *_location(view),
        class_="title",
    )
    fields_and_note = comma_separated(
        (*labelled_fields(view.fields), *([view.note] if view.note else []))
    )
    return element(
        "details",
        title,
        element("p", fields_and_note) if fields_and_note.markup else EMPTY_HTML,
        element("p", *_capacity(view)),
        _server_table(view),
        class_="service scope",
        open="open",
    )


def _location(view: ServiceView) -> Iterator[Html]:
    if (location := view.location) is not None:
        location_element = linked(element("code", location_text(location)), view.location_url)
        yield element(
            "span", location.service or "service", " in ", location_element, class_="counts"
        )


def _capacity(view: ServiceView) -> Iterator[Content]:
    yield from (element("i", "capacity"), f" {view.capacity_text}")
    if view.shares_note:
        yield element("span", f"; {view.shares_note}", class_="note")


def _server_table(view: ServiceView) -> Html:
    if not view.servers:
        return EMPTY_HTML
    rows = (_server_row(view, server) for server in view.servers)
    columns = ("", "Real server", "Forwarding", "Weight>", "Share of traffic>", "", "Connections")
    return table(columns, element("tbody", *rows))


def _server_row(view: ServiceView, server: ServerRow) -> Html:
    sign = SIGNS_AND_COLOURS[server.action][0] if server.action is not None else ""
    return row(
        element("td", element("span", sign, aria_hidden="true"), class_="sign"),
        element("td", *_server_name(server)),
        element("td", server.forwarding),
        element("td", server.weight_text, class_="number", data_label="weight"),
        element("td", view.share_text(server), class_="number", data_label="share"),
        element("td", _share_bars(view, server), class_="bars"),
        element("td", server.connections_text, class_="told"),
        class_=str(server.action or "same"),
    )


def _server_name(server: ServerRow) -> Iterator[Content]:
    yield element("code", server.address)
    if server.name:
        yield from (" ", element("span", server.name, class_="dim"))
    if server.is_local:
        yield " (local)"


def _share_bars(view: ServiceView, server: ServerRow) -> Html:
    """Return the share before, thin, above the share after."""
    sides = ((view.before, server.share_before), (view.after, server.share_after))
    widths = [
        100 * (share or 0) if side and not side.unknown_reason else 0 for side, share in sides
    ]
    bar_shapes = (("old", "0", "3"), ("new", "4", "8"))
    bars = (
        element("rect", class_=name, y=y, height=height, width=f"{width:.4g}")
        for (name, y, height), width in zip(bar_shapes, widths, strict=True)
    )
    return element(
        "svg", *bars, viewBox="0 0 100 12", preserveAspectRatio="none", aria_hidden="true"
    )
