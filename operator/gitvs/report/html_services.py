"""A virtual service that changes, on a page: all its real servers, before and after."""

from __future__ import annotations

from collections.abc import Iterator

from gitvs.core.plan import Action
from gitvs.report.html_text import NOTHING, Content, Html, element, labelled, listed, row, table
from gitvs.report.plan_text import SIGNS
from gitvs.report.service_view import ServerRow, ServiceView, Side

_WORDS = {
    "create": "new",
    "update": "changes in place",
    "delete": "removed",
    "drain": "left the manifests, removed once it has drained",
}


def service(view: ServiceView) -> Html:
    """Return a virtual service: what happens to it, its capacity, its real servers."""
    is_draining = view.is_leaving and view.action is not Action.DELETE
    action = str(Action.DRAIN if is_draining else view.action or "")
    title = element(
        "summary",
        element("b", element("code", view.key)),
        element("span", _WORDS.get(action, ""), class_=f"badge {action}"),
        *_source(view),
        class_="title",
    )
    fields = listed(labelled(view.fields or view.changed))
    return element(
        "details",
        title,
        element("p", fields) if fields.source else NOTHING,
        element("p", *_capacity(view)),
        _servers(view),
        class_="service scope",
        open="open",
    )


def _source(view: ServiceView) -> Iterator[Html]:
    if (source := view.source) is not None:
        place = element("code", f"{source.file}:{source.line}")
        yield element("span", source.service or "service", " in ", place, class_="counts")


def _capacity(view: ServiceView) -> Iterator[Content]:
    """Yield weights and active real servers in all, and why shares of traffic aren't known."""
    sides = (view.before, view.after)
    weights = _step(*(None if side is None else str(side.capacity) for side in sides))
    active = _step(*(None if s is None else f"{s.active} of {s.count}" for s in sides))
    yield from (element("i", "capacity"), f" weight {weights}, active real servers {active}")
    if unknown := _unknown(*sides):
        yield element("span", f" Shares of traffic cannot be known{unknown}", class_="note")


def _unknown(before: Side | None, after: Side | None) -> str:
    old, new = (side.unknown if side is not None else "" for side in (before, after))
    if old and (after is None or old == new):
        return f": {old}"
    reasons = [f" {word} ({why})" for word, why in (("before", old), ("after", new)) if why]
    return " and".join(reasons)


def _servers(view: ServiceView) -> Html:
    if not view.servers:
        return NOTHING
    rows = (_server(view, server) for server in view.servers)
    columns = ("", "Real server", "Forwarding", "Weight>", "Share of traffic>", "", "Connections")
    return table(columns, element("tbody", *rows))


def _server(view: ServiceView, server: ServerRow) -> Html:
    sign = SIGNS[server.action][0] if server.action is not None else ""
    weights = (server.weight_before, server.weight_after)
    shares = (_share(view.before, server.share_before), _share(view.after, server.share_after))
    note = "; ".join(text for text in (server.note or "as before", server.thresholds) if text)
    return row(
        element("td", element("span", sign, aria_hidden="true"), class_="sign"),
        element("td", *_named(server)),
        element("td", server.forwarding),
        element("td", _step(*(None if w is None else str(w) for w in weights)), class_="number"),
        element("td", _step(*shares), class_="number"),
        element("td", _bars(view, server), class_="bars"),
        element("td", note, class_="told"),
        class_=str(server.action or "same"),
    )


def _named(server: ServerRow) -> Iterator[Content]:
    yield element("code", server.address)
    if server.name:
        yield from (" ", element("span", server.name, class_="dim"))
    if server.is_local:
        yield " (local)"


def _share(side: Side | None, share: float | None) -> str | None:
    if share is None:
        return None
    return "?" if side is not None and side.unknown else f"{100 * share:.3g} %"


def _step(before: str | None, after: str | None) -> str:
    """Return `1 → 2`, or one of them where both are the same; `–` is where there is none."""
    old, new = ("–" if text is None else text for text in (before, after))
    return old if old == new else f"{old} → {new}"


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
