"""A virtual service that changes, with all its real servers: weights, traffic, connections.

One view for text, Markdown and HTML. A real server that stays as it is has its row too, since
its share of the traffic may change with those of others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gitvs.core.model.desired import Source
from gitvs.core.model.resources import Key, RealServer, Resource, VirtualService
from gitvs.core.planning.plan import Action, Change, natural_order
from gitvs.core.status.traffic_shares import shares, unknown_because
from gitvs.report.plan.plan_view import DirectorPlan
from gitvs.report.plan.server_row import ServerRow, server_row
from gitvs.report.text.change_words import DRIFT
from gitvs.report.text.fields import Fields, changed_fields, set_fields, step

_Servers = dict[Key, RealServer]


@dataclass(frozen=True, slots=True)
class Side:
    """A service's real servers on one side: the sum of weights, how many have one, of how many.

    `unknown` says why shares can't be told; nothing if they can.
    """

    capacity: int
    active: int
    count: int
    unknown: str = ""

    def share_text(self, share: float) -> str:
        """Return a share in percent, as far as it is known."""
        return "?" if self.unknown else f"{100 * share:.3g} %"


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A virtual service that changes, or whose real servers change or drain.

    `action` is what happens to the service itself; None: nothing. `is_leaving` is true where
    the manifests no longer have it, also while it only drains. `fields` are those of a service
    that is made or goes, else those that change in place, as `old → new`. No side: it is not
    there.
    """

    key: Key
    action: Action | None
    is_leaving: bool
    source: Source | None
    fields: Fields
    note: str
    before: Side | None
    after: Side | None
    servers: tuple[ServerRow, ...]

    @property
    def fate(self) -> str:
        """What happens to the service itself, in words."""
        if self.action is Action.CREATE:
            return "new"
        if self.action is Action.DELETE:
            return "removed"
        if self.is_leaving:
            return "left the manifests, removed once it has drained"
        return "" if self.action is None else "changes in place"

    @property
    def capacity(self) -> str:
        """Weights and active real servers in all."""
        sides = (self.before, self.after)
        weights = step(*(side and side.capacity for side in sides))
        active = step(*(side and f"{side.active} of {side.count}" for side in sides))
        return f"weight {weights}, active real servers {active}"

    @property
    def unknown(self) -> str:
        """Why shares of traffic are not known, where they aren't."""
        old, new = (side.unknown if side is not None else "" for side in (self.before, self.after))
        if old and (self.after is None or old == new):
            return f"shares of traffic cannot be known: {old}"
        reasons = [f"{word} ({why})" for word, why in (("before", old), ("after", new)) if why]
        return f"shares of traffic cannot be known {' and '.join(reasons)}" if reasons else ""

    def share(self, server: ServerRow) -> str:
        """Return a real server's share of traffic, before and after."""
        pairs = ((self.before, server.share_before), (self.after, server.share_after))
        return step(*(None if not s or x is None else s.share_text(x) for s, x in pairs))


def changed_services(plan: DirectorPlan) -> list[ServiceView]:
    """Return the virtual services that a plan changes, or that drain, by address and port."""
    touched: dict[Key, list[Change]] = {}
    for change in plan.plan.changes:
        if isinstance(change.resource, VirtualService | RealServer):
            touched.setdefault(_service_key(change.resource), []).append(change)
    for key in plan.drains:
        touched.setdefault(_service_key(plan.target[key]), [])
    was = (change.before for change in plan.plan.changes)
    before = _by_service((*plan.before.of(RealServer), *was), touched)
    after = _by_service(plan.target.of(RealServer), touched)
    views = [_view(plan, key, touched[key], before[key], after[key]) for key in touched]
    return [view for _, view in sorted(views, key=lambda pair: pair[0])]


def _service_key(resource: Resource) -> Key:
    return resource.service_key if isinstance(resource, RealServer) else resource.key


def _by_service(found: Iterable[Resource | None], wanted: Iterable[Key]) -> dict[Key, _Servers]:
    servers: dict[Key, _Servers] = {key: {} for key in wanted}
    for server in found:
        if isinstance(server, RealServer) and server.service_key in servers:
            servers[server.service_key][server.key] = server
    return servers


def _view(
    plan: DirectorPlan, key: Key, changes: list[Change], before: _Servers, after: _Servers
) -> tuple[tuple[int, ...], ServiceView]:
    own = next((c for c in changes if c.key == key), None)
    former = plan.before.get(key) if own is None else own.before
    latter = plan.target.get(key)
    service = latter or former
    assert isinstance(service, VirtualService), "real servers belong to virtual services"
    by_key = {c.key: c for c in changes}
    old, new = _shares(former, before), _shares(latter, after)
    servers = sorted({**before, **after}.values(), key=natural_order)
    view = ServiceView(
        key=key,
        action=None if own is None else own.action,
        is_leaving=key not in plan.desired,
        source=plan.source_of(service),
        fields=_fields(plan, service, former, latter),
        note=DRIFT if own is not None and key in plan.drift else "",
        before=_side(former, before),
        after=_side(latter, after),
        servers=tuple(
            server_row(plan, by_key.get(s.key), before.get(s.key), after.get(s.key), old, new)
            for s in servers
        ),
    )
    return natural_order(service), view


def _fields(
    plan: DirectorPlan, service: Resource, former: Resource | None, latter: Resource | None
) -> Fields:
    """Return what changes of a service, or what it is if it comes or goes."""
    if former is None or latter is None:
        return set_fields(service)
    fields = changed_fields(former, latter)
    if "flags" in fields and latter != plan.desired.get(service.key, former):
        fields["flags"] += ", while a real server has weight 0"
    return fields


def _shares(service: Resource | None, servers: _Servers) -> dict[Key, float]:
    return shares(service, servers.values()) if isinstance(service, VirtualService) else {}


def _side(service: Resource | None, servers: _Servers) -> Side | None:
    if not isinstance(service, VirtualService):
        return None
    weights = [s.weight for s in servers.values()]
    active = sum(1 for weight in weights if weight)
    return Side(sum(weights), active, len(weights), unknown_because(service))
