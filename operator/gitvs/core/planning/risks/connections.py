"""Risks for the connections, and the persistent clients, that are there when a plan is applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gitvs.core.durations import duration_text
from gitvs.core.model.resources import Key, RealServer, VirtualService
from gitvs.core.planning.risks.risk import Risk, risk, several
from gitvs.core.planning.risks.step import Step

_EXPIRE_NODEST_CONN = "net.ipv4.vs.expire_nodest_conn"
_EXPIRE_QUIESCENT_TEMPLATE = "net.ipv4.vs.expire_quiescent_template"


def _scheduler_with_persistence(step: Step) -> Iterator[Risk]:
    changed = [
        (service.key, service.persistence.timeout_seconds)
        for before, service in step.changed(VirtualService)
        if before is not None
        and before.persistence is not None
        and service.persistence is not None
        and before.scheduler != service.scheduler
    ]
    if changed:
        keys = [key for key, _ in changed]
        longest = duration_text(max(seconds for _, seconds in changed))
        yield risk(
            "scheduler-with-persistence",
            keys,
            f"another scheduler for {several('virtual service', keys)} with persistence: known"
            f" clients stay on their real server until they were away for {longest}, so the load"
            " shifts slowly; nothing is to be done but to wait",
        )


def _breaks_connections(step: Step) -> Iterator[Risk]:
    """Source: Linux ipvs-sysctl.rst, expire_nodest_conn."""
    keys = [server.key for server in step.leaving(RealServer)]
    if not keys or step.setting(_EXPIRE_NODEST_CONN) in (None, "0"):
        return
    drains = _drains(step)
    at_once = [key for key in keys if key not in drains]
    when = []
    if longest := max((drains[key] for key in keys if key in drains), default=0):
        when.append(f"after the drain of {duration_text(longest)} at most")
    if at_once:
        when.append(f"at once for {len(at_once)} of them" if when else "at once, without a drain")
    yield risk(
        "breaks-connections",
        keys,
        f"removing {several('real server', keys)} while {_EXPIRE_NODEST_CONN} is 1: connections"
        f" that are left are reset {' and '.join(when)}{_now(step, keys)}; a longer drain.timeout"
        " of the Service lets more of them end by themselves",
    )


def _drains(step: Step) -> dict[Key, float]:
    """Return how long the real servers drain whose drain begins, in seconds."""
    return {c.key: c.drain.timeout_seconds for c in step.plan.changes if c.drain is not None}


def _now(step: Step, keys: list[Key]) -> str:
    if step.host is None:
        return ""
    counted = step.host.connections
    return f" ({sum(counted[key].active for key in keys if key in counted)} are active now)"


def _drain_keeps_persistent_clients(step: Step) -> Iterator[Risk]:
    """Source: Linux ipvs-sysctl.rst, expire_quiescent_template."""
    if step.setting(_EXPIRE_QUIESCENT_TEMPLATE) != "0":
        return
    changed = step.changed(RealServer)
    stopped = [s.key for b, s in changed if b is not None and b.weight > s.weight == 0]
    keys = [key for key in (*_drains(step), *stopped) if _is_persistent(step, key)]
    if keys:
        yield risk(
            "drain-keeps-persistent-clients",
            keys,
            f"draining {several('real server', keys)} with persistence while"
            f" {_EXPIRE_QUIESCENT_TEMPLATE} is 0: known clients are still sent there, with new"
            f" connections too; set {_EXPIRE_QUIESCENT_TEMPLATE}: 1 in the Director's sysctls,"
            " which is the default, and they move at once",
        )


def _is_persistent(step: Step, server: Key) -> bool:
    """Whether a real server's virtual service has persistence while it drains."""
    found = step.after.get(server) or step.before.get(server)
    if not isinstance(found, RealServer):
        return False
    service = step.after.get(found.service_key) or step.before.get(found.service_key)
    return isinstance(service, VirtualService) and service.persistence is not None


RULES: tuple[Callable[[Step], Iterator[Risk]], ...] = (
    _breaks_connections,
    _drain_keeps_persistent_clients,
    _scheduler_with_persistence,
)
