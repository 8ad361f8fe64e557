"""The share of a virtual service's new connections, or clients, that each real server gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gitvs.core.model.resources import Key, RealServer, Scheduler, VirtualService

_EQUAL = frozenset({Scheduler.RR, Scheduler.LC})
_BY_WEIGHT = frozenset(
    {Scheduler.WRR, Scheduler.WLC, Scheduler.SED, Scheduler.NQ, Scheduler.TWOS, Scheduler.MH}
)
_UNPREDICTABLE_REASONS: Mapping[str, str] = {
    Scheduler.SH: "sh chooses by client address",
    Scheduler.DH: "dh chooses by destination address",
    Scheduler.LBLC: "lblc keeps a destination on one real server",
    Scheduler.LBLCR: "lblcr keeps a destination on a set of real servers",
    Scheduler.OVF: "ovf fills one real server after the other",
}


def unpredictable_reason(service: VirtualService) -> str:
    """Return why a service's shares cannot be predicted; empty if they can."""
    if reason := _UNPREDICTABLE_REASONS.get(service.scheduler):
        return reason
    if _known_scheduler(service) not in _EQUAL | _BY_WEIGHT | {Scheduler.FO}:
        return f"{service.scheduler} is not known to gitvs"
    if service.persistence is not None:
        return "persistence keeps clients where they are"
    return ""


def are_shares_of_clients(service: VirtualService) -> bool:
    """Whether shares are of client addresses: a client always gets the same real server.

    Source: net/netfilter/ipvs/ip_vs_mh.c; each real server fills its table by its weight.
    """
    return service.scheduler is Scheduler.MH and not unpredictable_reason(service)


def traffic_shares(service: VirtualService, servers: Iterable[RealServer]) -> dict[Key, float]:
    """Return the share of new connections (`mh`: clients) of each real server, 0 to 1.

    It is right in the long run if connections last equally long and no threshold is reached. If
    `unpredictable_reason` returns a reason, it is a guess. If every weight is 0, so is every share.

    Source: ipvsadm(8) -s; `rr` and `lc` use a weight only as on or off, `fo` sends everything to
    the first server of the highest weight.
    """
    weights = {s.key: s.weight for s in servers}
    match _known_scheduler(service):
        case scheduler if scheduler in _EQUAL:
            weights = {key: min(weight, 1) for key, weight in weights.items()}
        case Scheduler.FO:
            first = max(weights, key=lambda key: weights[key], default=None)
            weights = {key: weight if key == first else 0 for key, weight in weights.items()}
    total = sum(weights.values())
    return {key: weight / total if total else 0.0 for key, weight in weights.items()}


def _known_scheduler(service: VirtualService) -> Scheduler | None:
    return service.scheduler if isinstance(service.scheduler, Scheduler) else None
