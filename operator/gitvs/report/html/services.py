"""A virtual service that changes, on a page: all its real servers, before and after."""

from __future__ import annotations

from collections.abc import Iterator

from gitvs.core.planning.plan import Action
from gitvs.report.html.elements import NOTHING, Content, Html, element, labelled, listed, row, table
from gitvs.report.plan.server_row import ServerRow
from gitvs.report.plan.service_view import ServiceView
from gitvs.report.text.change_words import SIGNS, place_text


def service(view: ServiceView) -> Html:
    """Return a virtual service: what happens to it, its capacity, its real servers."""
    is_draining = view.is_leaving and view.action is not Action.DELETE
    action = str(Action.DRAIN if is_draining else view.action or "")
    title = element(
        "summary",
        element("b", element("code", view.key)),
        element("span", view.fate, class_=f"badge {action}"),
        *_source(view),
        class_="title",
    )
    told = listed((*labelled(view.fields), *([view.note] if view.note else [])))
    return element(
        "details",
        title,
        element("p", told) if told.source else NOTHING,
        element("p", *_capacity(view)),
        _servers(view),
        class_="service scope",
        open="open",
    )


def _source(view: ServiceView) -> Iterator[Html]:
    if (source := view.source) is not None:
        place = element("code", place_text(source))
        yield element("span", source.service or "service", " in ", place, class_="counts")


def _capacity(view: ServiceView) -> Iterator[Content]:
    yield from (element("i", "capacity"), f" {view.capacity}")
    if view.unknown:
        yield element("span", f"; {view.unknown}", class_="note")


def _servers(view: ServiceView) -> Html:
    if not view.servers:
        return NOTHING
    rows = (_server(view, server) for server in view.servers)
    columns = ("", "Real server", "Forwarding", "Weight>", "Share of traffic>", "", "Connections")
    return table(columns, element("tbody", *rows))


def _server(view: ServiceView, server: ServerRow) -> Html:
    sign = SIGNS[server.action][0] if server.action is not None else ""
    return row(
        element("td", element("span", sign, aria_hidden="true"), class_="sign"),
        element("td", *_named(server)),
        element("td", server.forwarding),
        element("td", server.weight, class_="number"),
        element("td", view.share(server), class_="number"),
        element("td", _bars(view, server), class_="bars"),
        element("td", server.connections, class_="told"),
        class_=str(server.action or "same"),
    )


def _named(server: ServerRow) -> Iterator[Content]:
    yield element("code", server.address)
    if server.name:
        yield from (" ", element("span", server.name, class_="dim"))
    if server.is_local:
        yield " (local)"


def _bars(view: ServiceView, server: ServerRow) -> Html:
    """Return the share before, thin, above the share after."""
    sides = ((view.before, server.share_before), (view.after, server.share_after))
    widths = [100 * (share or 0) if side and not side.unknown else 0 for side, share in sides]
    places = (("old", "0", "3"), ("new", "4", "8"))
    bars = (
        element("rect", class_=name, y=y, height=height, width=f"{width:.4g}")
        for (name, y, height), width in zip(places, widths, strict=True)
    )
    return element(
        "svg", *bars, viewBox="0 0 100 12", preserveAspectRatio="none", aria_hidden="true"
    )
