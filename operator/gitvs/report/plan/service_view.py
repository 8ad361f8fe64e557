"""A virtual service that changes, with all its real servers: weights, traffic, connections.

One view for text, Markdown and HTML. An unchanged real server has a row too, since its share of
the traffic may change with those of others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from gitvs.core.durations import duration_text
from gitvs.core.model.desired import ManifestLocation
from gitvs.core.model.resources import Key, RealServer, Resource, VirtualService
from gitvs.core.planning.plan import Action, Change, natural_sort_key
from gitvs.core.status.traffic_shares import (
    are_shares_of_clients,
    traffic_shares,
    unpredictable_reason,
)
from gitvs.report.plan.plan_view import DirectorPlan
from gitvs.report.plan.server_row import ServerRow, server_row
from gitvs.report.text.changes import DRIFT_NOTE
from gitvs.report.text.fields import Fields, before_after_text, changed_fields, nondefault_fields

_Servers = dict[Key, RealServer]


@dataclass(frozen=True, slots=True)
class ServiceCapacity:
    """A service's real servers on one side: total weight, how many have a weight, of how many.

    `unknown_reason` is why the shares of traffic are unknown; empty if they are known.
    `shares_clients` is true if they are shares of clients, not of connections.
    """

    total_weight: int
    active_count: int
    server_count: int
    unknown_reason: str = ""
    shares_clients: bool = False

    def share_text(self, share: float) -> str:
        """Return a share in percent, as far as it is known."""
        return "?" if self.unknown_reason else f"{100 * share:.3g} %"


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A virtual service that changes, or whose real servers change or drain.

    `action` is what happens to the service itself; None means nothing. `is_leaving` is true if
    the manifests no longer have it, also while it still drains. `fields` are those of a service
    that is created or deleted, else those that change in place, as `old → new`. `before` or
    `after` is None if the service does not exist on that side.
    """

    key: Key
    action: Action | None
    is_leaving: bool
    location: ManifestLocation | None
    location_url: str
    fields: Fields
    note: str
    before: ServiceCapacity | None
    after: ServiceCapacity | None
    servers: tuple[ServerRow, ...]
    drain_seconds: float = 0.0
    """How long its drains last at most."""

    @property
    def action_text(self) -> str:
        """What happens to the service itself, in words."""
        if self.action is Action.CREATE:
            return "new"
        if self.action is Action.DELETE:
            return "removed"
        if self.is_leaving:
            latest = duration_text(ceil(self.drain_seconds))
            return f"left the manifests, removed once it has drained, in {latest} at the latest"
        return "" if self.action is None else "changes in place"

    @property
    def capacity_text(self) -> str:
        """The total weight and the number of active real servers, before and after."""
        sides = (self.before, self.after)
        weights = before_after_text(*(side and side.total_weight for side in sides))
        active = before_after_text(
            *(side and f"{side.active_count} of {side.server_count}" for side in sides)
        )
        return f"weight {weights}, active real servers {active}"

    @property
    def shares_note(self) -> str:
        """What shares of traffic are of, if not of connections, or why they are unknown."""
        unknown = self._unknown_shares_text
        is_of_clients = any(s.shares_clients for s in (self.before, self.after) if s is not None)
        clients = "shares under mh are of clients: each keeps its real server" * is_of_clients
        return "; ".join(filter(None, (unknown, clients)))

    @property
    def _unknown_shares_text(self) -> str:
        old, new = (
            side.unknown_reason if side is not None else "" for side in (self.before, self.after)
        )
        if old and (self.after is None or old == new):
            return f"shares of traffic cannot be known: {old}"
        reasons = [f"{word} ({why})" for word, why in (("before", old), ("after", new)) if why]
        return f"shares of traffic cannot be known {' and '.join(reasons)}" if reasons else ""

    def share_text(self, server: ServerRow) -> str:
        """Return a real server's share of traffic, before and after."""
        pairs = ((self.before, server.share_before), (self.after, server.share_after))
        return before_after_text(
            *(None if not s or x is None else s.share_text(x) for s, x in pairs)
        )


def changed_services(plan: DirectorPlan) -> list[ServiceView]:
    """Return the virtual services that change or drain, sorted by address and port."""
    changes_by_service: dict[Key, list[Change]] = {}
    for change in plan.plan.changes:
        if isinstance(change.resource, VirtualService | RealServer):
            changes_by_service.setdefault(_service_key(change.resource), []).append(change)
    for key in plan.drains:
        changes_by_service.setdefault(_service_key(plan.target[key]), [])
    resources_before = (change.before for change in plan.plan.changes)
    servers_before = _servers_by_service(
        (*plan.state_before.of_type(RealServer), *resources_before), changes_by_service
    )
    servers_after = _servers_by_service(plan.target.of_type(RealServer), changes_by_service)
    views = [
        _view_with_sort_key(
            plan, key, changes_by_service[key], servers_before[key], servers_after[key]
        )
        for key in changes_by_service
    ]
    return [view for _, view in sorted(views, key=lambda pair: pair[0])]


def _service_key(resource: Resource) -> Key:
    return resource.service_key if isinstance(resource, RealServer) else resource.key


def _servers_by_service(
    resources: Iterable[Resource | None], service_keys: Iterable[Key]
) -> dict[Key, _Servers]:
    servers: dict[Key, _Servers] = {key: {} for key in service_keys}
    for server in resources:
        if isinstance(server, RealServer) and server.service_key in servers:
            servers[server.service_key][server.key] = server
    return servers


def _view_with_sort_key(
    plan: DirectorPlan,
    key: Key,
    changes: list[Change],
    servers_before: _Servers,
    servers_after: _Servers,
) -> tuple[tuple[int, ...], ServiceView]:
    service_change = next((c for c in changes if c.key == key), None)
    service_before = plan.state_before.get(key) if service_change is None else service_change.before
    service_after = plan.target.get(key)
    service = service_after or service_before
    assert isinstance(service, VirtualService), "real servers belong to virtual services"
    location, location_url = plan.location_of(service), ""
    if location is not None and key in plan.desired.state:  # the head has no line of what left
        location_url = plan.places.line_url(location.file, location.line)
    changes_by_key = {c.key: c for c in changes}
    shares_before, shares_after = (
        _shares(service_before, servers_before),
        _shares(service_after, servers_after),
    )
    servers = sorted({**servers_before, **servers_after}.values(), key=natural_sort_key)
    view = ServiceView(
        key=key,
        action=None if service_change is None else service_change.action,
        is_leaving=key not in plan.desired.state,
        location=None if location is None else plan.places.location(location),
        location_url=location_url,
        fields=_service_fields(plan, service, service_before, service_after),
        note=DRIFT_NOTE if service_change is not None and key in plan.drift else "",
        before=_service_capacity(service_before, servers_before),
        after=_service_capacity(service_after, servers_after),
        servers=tuple(
            server_row(
                plan,
                changes_by_key.get(s.key),
                servers_before.get(s.key),
                servers_after.get(s.key),
                shares_before,
                shares_after,
            )
            for s in servers
        ),
        drain_seconds=max((plan.seconds_left(key) for key in servers_after), default=0.0),
    )
    return natural_sort_key(service), view


def _service_fields(
    plan: DirectorPlan,
    service: Resource,
    service_before: Resource | None,
    service_after: Resource | None,
) -> Fields:
    """Return the fields that change, or those of a service that is created or deleted."""
    if service_before is None or service_after is None:
        return nondefault_fields(service)
    fields = changed_fields(service_before, service_after)
    if "flags" in fields and service_after != plan.desired.state.get(service.key, service_before):
        fields["flags"] += ", while a real server has weight 0"
    return fields


def _shares(service: Resource | None, servers: _Servers) -> dict[Key, float]:
    return traffic_shares(service, servers.values()) if isinstance(service, VirtualService) else {}


def _service_capacity(service: Resource | None, servers: _Servers) -> ServiceCapacity | None:
    if not isinstance(service, VirtualService):
        return None
    weights = [s.weight for s in servers.values()]
    active = sum(1 for weight in weights if weight)
    return ServiceCapacity(
        sum(weights),
        active,
        len(weights),
        unpredictable_reason(service),
        are_shares_of_clients(service),
    )
