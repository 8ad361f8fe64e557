"""Risks for the connections and persistent clients that exist when a plan is applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gitvs.core.durations import duration_text
from gitvs.core.model.resources import Key, RealServer, VirtualService
from gitvs.core.planning.risks.context import RiskContext
from gitvs.core.planning.risks.risk import Risk, counted_names, risk_for

_EXPIRE_NODEST_CONN = "net.ipv4.vs.expire_nodest_conn"
_EXPIRE_QUIESCENT_TEMPLATE = "net.ipv4.vs.expire_quiescent_template"


def _scheduler_with_persistence(context: RiskContext) -> Iterator[Risk]:
    changed = [
        (service.key, service.persistence.timeout_seconds)
        for before, service in context.changed(VirtualService)
        if before is not None
        and before.persistence is not None
        and service.persistence is not None
        and before.scheduler != service.scheduler
    ]
    if changed:
        keys = [key for key, _ in changed]
        longest = duration_text(max(seconds for _, seconds in changed))
        yield risk_for(
            "scheduler-with-persistence",
            keys,
            f"another scheduler for {counted_names('virtual service', keys)} with"
            " persistence: known clients stay on their real server until they have been"
            f" away for {longest}, so the load shifts slowly. No action is needed",
        )


def _breaks_connections(context: RiskContext) -> Iterator[Risk]:
    """Source: Linux ipvs-sysctl.rst, expire_nodest_conn."""
    keys = [server.key for server in context.removed(RealServer)]
    if not keys or context.sysctl_value(_EXPIRE_NODEST_CONN) in (None, "0"):
        return
    drains = _drain_seconds(context)
    at_once = [key for key in keys if key not in drains]
    reset_times = []
    if longest := max((drains[key] for key in keys if key in drains), default=0):
        reset_times.append(f"after the drain of {duration_text(longest)} at most")
    if at_once:
        reset_times.append(
            f"at once for {len(at_once)} of them" if reset_times else "at once, without a drain"
        )
    yield risk_for(
        "breaks-connections",
        keys,
        f"removing {counted_names('real server', keys)} while {_EXPIRE_NODEST_CONN} is"
        " 1: connections that remain are reset"
        f" {' and '.join(reset_times)}{_active_connections_text(context, keys)}. With a"
        " longer drain.timeout of the Service, more of them end by themselves",
    )


def _drain_seconds(context: RiskContext) -> dict[Key, float]:
    """Return how long each real server drains whose drain begins, in seconds."""
    return {c.key: c.drain.timeout_seconds for c in context.plan.changes if c.drain is not None}


def _active_connections_text(context: RiskContext, keys: list[Key]) -> str:
    if context.observation is None:
        return ""
    counted = context.observation.connections
    return f" ({sum(counted[key].active for key in keys if key in counted)} are active now)"


def _drain_keeps_persistent_clients(context: RiskContext) -> Iterator[Risk]:
    """Source: Linux ipvs-sysctl.rst, expire_quiescent_template."""
    if context.sysctl_value(_EXPIRE_QUIESCENT_TEMPLATE) != "0":
        return
    changed = context.changed(RealServer)
    set_to_zero = [s.key for b, s in changed if b is not None and b.weight > s.weight == 0]
    keys = [key for key in (*_drain_seconds(context), *set_to_zero) if _is_persistent(context, key)]
    if keys:
        yield risk_for(
            "drain-keeps-persistent-clients",
            keys,
            f"draining {counted_names('real server', keys)} with persistence while"
            f" {_EXPIRE_QUIESCENT_TEMPLATE} is 0: new connections of known clients still"
            f" go there. Set {_EXPIRE_QUIESCENT_TEMPLATE}: 1 (the default) in the"
            " Director's sysctls, so that these clients move at once",
        )


def _is_persistent(context: RiskContext, server: Key) -> bool:
    """Whether a real server's virtual service has persistence while it drains."""
    found = context.after.get(server) or context.before.get(server)
    if not isinstance(found, RealServer):
        return False
    service = context.after.get(found.service_key) or context.before.get(found.service_key)
    return isinstance(service, VirtualService) and service.persistence is not None


RULES: tuple[Callable[[RiskContext], Iterator[Risk]], ...] = (
    _breaks_connections,
    _drain_keeps_persistent_clients,
    _scheduler_with_persistence,
)
