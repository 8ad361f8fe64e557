"""A virtual service that changes, with all its real servers: weights, traffic, connections.

One view for Markdown and HTML. A real server that stays as it is has its row too, since its
share of the traffic may change with those of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gitvs.core.durations import duration_text
from gitvs.core.model import Key, RealServer, Source, VirtualService, host_and_port
from gitvs.core.plan import Action, Change, natural_order
from gitvs.core.shares import shares, unknown_because
from gitvs.report.fields import UNSET, Fields, fields_of
from gitvs.report.plan_view import DirectorPlan


@dataclass(frozen=True, slots=True)
class ServerRow:
    """A real server before and after; no weight: it is not there. Shares are 0 to 1.

    `note` says what becomes of its connections.
    """

    address: str
    name: str
    is_local: bool
    action: Action | None
    forwarding: str
    weight_before: int | None
    weight_after: int | None
    share_before: float | None
    share_after: float | None
    thresholds: str
    note: str


@dataclass(frozen=True, slots=True)
class Side:
    """A service's real servers on one side: the sum of weights, how many have one, of how many.

    `unknown` says why shares can't be told; nothing if they can.
    """

    capacity: int
    active: int
    count: int
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A virtual service that changes, or whose real servers do.

    `action` is what happens to the service itself; None: nothing. `is_leaving` is true where
    the manifests no longer have it, also while it only drains. `fields` are those of a service
    that is made or goes, `changed` those that change in place, as `old → new`. No side: it is
    not there.
    """

    key: Key
    action: Action | None
    is_leaving: bool
    source: Source | None
    fields: Fields
    changed: Fields
    before: Side | None
    after: Side | None
    servers: tuple[ServerRow, ...]


def changed_services(plan: DirectorPlan) -> list[ServiceView]:
    """Return the virtual services that a plan changes, by address and port."""
    touched: dict[Key, list[Change]] = {}
    for change in plan.plan.changes:
        if isinstance(change.resource, VirtualService | RealServer):
            touched.setdefault(_service_key(change.resource), []).append(change)
    before = _by_service(plan.before.of(RealServer), touched)
    after = _by_service(plan.target.of(RealServer), touched)
    views = [_view(plan, key, touched[key], before[key], after[key]) for key in touched]
    return [view for _, view in sorted(views, key=lambda pair: pair[0])]


def _service_key(resource: VirtualService | RealServer) -> Key:
    return resource.service_key if isinstance(resource, RealServer) else resource.key


def _by_service(
    servers: Iterable[RealServer], wanted: Iterable[Key]
) -> dict[Key, dict[Key, RealServer]]:
    found: dict[Key, dict[Key, RealServer]] = {key: {} for key in wanted}
    for server in servers:
        if server.service_key in found:
            found[server.service_key][server.key] = server
    return found


def _view(
    plan: DirectorPlan,
    key: Key,
    changes: list[Change],
    before: dict[Key, RealServer],
    after: dict[Key, RealServer],
) -> tuple[tuple[int, ...], ServiceView]:
    own = [c for c in changes if c.key == key]
    former, latter = plan.before.get(key), plan.target.get(key)
    service = latter if isinstance(latter, VirtualService) else former
    assert isinstance(service, VirtualService), "real servers belong to virtual services"
    by_key = {c.key: c for c in changes}
    old = shares(former, before.values()) if isinstance(former, VirtualService) else {}
    new = shares(latter, after.values()) if isinstance(latter, VirtualService) else {}
    servers = sorted({**before, **after}.values(), key=natural_order)
    whole = {k: v for k, v in fields_of(service).items() if v not in UNSET}
    is_whole = former is None or latter is None
    view = ServiceView(
        key=key,
        action=own[0].action if own else None,
        is_leaving=key not in plan.desired,
        source=plan.source_of(service),
        fields=whole if is_whole else {},
        changed={} if is_whole else _differences(former, latter),
        before=_side(former, before.values()),
        after=_side(latter, after.values()),
        servers=tuple(
            _row(plan, by_key.get(s.key), before.get(s.key), after.get(s.key), old, new)
            for s in servers
        ),
    )
    return natural_order(service), view


def _differences(before: object, after: object) -> Fields:
    if not (isinstance(before, VirtualService) and isinstance(after, VirtualService)):
        return {}
    old, new = fields_of(before), fields_of(after)
    return {k: f"{old[k]} → {new[k]}" for k in new if old[k] != new[k]}


def _side(service: object, servers: Iterable[RealServer]) -> Side | None:
    if not isinstance(service, VirtualService):
        return None
    weights = [s.weight for s in servers]
    active = sum(1 for weight in weights if weight)
    return Side(sum(weights), active, len(weights), unknown_because(service))


def _row(
    plan: DirectorPlan,
    change: Change | None,
    before: RealServer | None,
    after: RealServer | None,
    old: dict[Key, float],
    new: dict[Key, float],
) -> ServerRow:
    server = after or before
    assert server is not None, "a row is of a server on either side"
    shown = _both(before, after)
    limits = [f"{n} {shown[n]}" for n in ("upper threshold", "lower threshold")]
    return ServerRow(
        address=host_and_port(server.address, server.port),
        name=plan.names.get(server.key, ""),
        is_local=plan.is_local(server.address),
        action=None if change is None else change.action,
        forwarding=shown["forwarding"],
        weight_before=None if before is None else before.weight,
        weight_after=None if after is None else after.weight,
        share_before=None if before is None else old.get(server.key),
        share_after=None if after is None else new.get(server.key),
        thresholds=", ".join(text for text in limits if not text.endswith(" none")),
        note="; ".join(_notes(plan, change, before, after)),
    )


def _both(before: RealServer | None, after: RealServer | None) -> Fields:
    """Return fields as `old → new` where they differ."""
    server = after or before
    assert server is not None, "a row is of a server on either side"
    old, new = fields_of(before or server), fields_of(server)
    return {k: v if old[k] == v else f"{old[k]} → {v}" for k, v in new.items()}


def _notes(
    plan: DirectorPlan,
    change: Change | None,
    before: RealServer | None,
    after: RealServer | None,
) -> Iterator[str]:
    """Yield what becomes of a real server's connections."""
    if change is None:
        if (drain := plan.drains.get(after.key) if after else None) is not None:
            yield f"drains already, removed in {duration_text(drain.timeout_seconds)} at the latest"
        return
    counted = plan.connections.get(change.key)
    live = "" if counted is None else f"; {counted.active} active and {counted.inactive} inactive"
    if change.drain is not None:
        timeout = duration_text(change.drain.timeout_seconds)
        yield f"drains: nothing new, removed once it has no connections, in {timeout} at the latest"
        if live:
            yield live.removeprefix("; ") + " now"
    elif change.action is Action.DELETE:
        if change.key in plan.ended:
            yield "drained"
        else:
            yield f"no drain: its connections break at once{live}"
    elif before is None:
        yield "new" if after is not None and after.weight else "new, weight 0: nothing yet"
    elif after is not None:
        yield from _modified(plan, change, before, after)


def _modified(
    plan: DirectorPlan, change: Change, before: RealServer, after: RealServer
) -> Iterator[str]:
    if change.key in plan.ended:
        yield "wanted again: its drain ends"
    if change.key in plan.drift:
        yield "drift: the kernel was changed, the manifests were not"
    if after.weight == 0 and before.weight:
        yield "keeps its connections, gets no new ones"
    elif (before.forwarding, before.tunnel) != (after.forwarding, after.tunnel):
        yield "its connections go on as they were forwarded before"
    else:
        yield "keeps its connections"
