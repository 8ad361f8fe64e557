"""Risks of VIPs across directors: one that moves, and one that more of them bind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gitvs.core.model.desired import Desired
from gitvs.core.model.resources import IPAddress, Vip
from gitvs.core.planning.risks.risk import Risk, several, some

Directors = tuple[str, ...]


def vip_risks(before: Mapping[str, Desired], after: Mapping[str, Desired]) -> tuple[Risk, ...]:
    """Return what to know of bound VIPs that another director gets.

    A director that no longer has a document keeps what it has, since gitvs leaves it alone.
    """
    old, new = _holders(before), _holders({**before, **after})
    alike: dict[tuple[Directors, Directors, Directors], list[IPAddress]] = {}
    for address in sorted(old.keys() & new.keys(), key=lambda a: (a.version, int(a))):
        if came := new[address] - old[address]:
            sides = _names(old[address] - new[address]), _names(old[address]), _names(came)
            alike.setdefault(sides, []).append(address)
    return tuple(
        _moves(vips, left, came)
        if left
        else _more(vips, had, came, _names(set(had) - after.keys()))
        for (left, had, came), vips in alike.items()
    )


def _holders(states: Mapping[str, Desired]) -> dict[IPAddress, set[str]]:
    """Return the directors that bind each VIP."""
    holders: dict[IPAddress, set[str]] = {}
    for name, desired in states.items():
        for vip in desired.state.of(Vip):
            holders.setdefault(vip.address, set()).add(name)
    return holders


def _gone(directors: Iterable[str], after: Mapping[str, Desired]) -> Directors:
    return _names(name for name in directors if name not in after)


def _names(directors: Iterable[str]) -> Directors:
    return tuple(sorted(directors))


def _moves(vips: list[IPAddress], left: Directors, came: Directors) -> Risk:
    return Risk(
        "vip-moves",
        f"moving {several('VIP', [str(v) for v in vips])} from {some(left)} to {some(came)}: each"
        " director syncs by itself, so that for a while both have it, or none, and connections"
        " break unless they are synced; to leave no gap, bind it there first, and take it away in"
        " a later commit",
    )


def _more(vips: list[IPAddress], had: Directors, came: Directors, gone: Directors) -> Risk:
    kept = f" ({some(gone)}: without a document now, which unbinds nothing)" if gone else ""
    return Risk(
        "vip-on-more-directors",
        f"binding {several('VIP', [str(v) for v in vips])} on {some(came)} beside"
        f" {some(had)}{kept}: right where routers spread clients over them; in one subnet they"
        " all answer ARP for it, unless arp_ignore is set, and what VRRP holds needs `bind: false`",
    )
