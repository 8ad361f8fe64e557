"""Risks of VIPs across directors: a VIP that moves, and one that more directors bind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gitvs.core.model.desired import Desired
from gitvs.core.model.resources import IPAddress, Vip
from gitvs.core.planning.risks.risk import Risk, counted_names, names_text

DirectorNames = tuple[str, ...]


def vip_risks(before: Mapping[str, Desired], after: Mapping[str, Desired]) -> tuple[Risk, ...]:
    """Return the risks of bound VIPs that another director gets.

    A director that no longer has a document keeps its VIPs, since gitvs does not touch it.
    """
    old, new = _directors_by_vip(before), _directors_by_vip({**before, **after})
    vips_by_move: dict[tuple[DirectorNames, DirectorNames, DirectorNames], list[IPAddress]] = {}
    for address in sorted(old.keys() & new.keys(), key=lambda a: (a.version, int(a))):
        if came := new[address] - old[address]:
            move_key = _names(old[address] - new[address]), _names(old[address]), _names(came)
            vips_by_move.setdefault(move_key, []).append(address)
    return tuple(
        _move_risk(vips, left, came)
        if left
        else _addition_risk(vips, had, came, _names(set(had) - after.keys()))
        for (left, had, came), vips in vips_by_move.items()
    )


def _directors_by_vip(states: Mapping[str, Desired]) -> dict[IPAddress, set[str]]:
    """Return the directors that bind each VIP."""
    directors_by_vip: dict[IPAddress, set[str]] = {}
    for name, desired in states.items():
        for vip in desired.state.of_type(Vip):
            directors_by_vip.setdefault(vip.address, set()).add(name)
    return directors_by_vip


def _names(directors: Iterable[str]) -> DirectorNames:
    return tuple(sorted(directors))


def _move_risk(
    vips: list[IPAddress], former_directors: DirectorNames, new_directors: DirectorNames
) -> Risk:
    return Risk(
        "vip-moves",
        f"moving {counted_names('VIP', [str(v) for v in vips])} from"
        f" {names_text(former_directors)} to {names_text(new_directors)}. Each director"
        " applies the commit at its own time, so for a while both or none have the VIP."
        " Connections break unless they are synchronized. To avoid a gap, first bind"
        " the VIP on the new director, and remove it from the old one in a later commit",
    )


def _addition_risk(
    vips: list[IPAddress],
    old_directors: DirectorNames,
    new_directors: DirectorNames,
    undocumented_directors: DirectorNames,
) -> Risk:
    note = (
        f" ({names_text(undocumented_directors)}: no longer has a Director document, but"
        " keeps its VIPs)"
        if undocumented_directors
        else ""
    )
    return Risk(
        "vip-on-more-directors",
        f"binding {counted_names('VIP', [str(v) for v in vips])} on"
        f" {names_text(new_directors)} beside {names_text(old_directors)}{note}. This is"
        " right if routers spread clients over these directors. In one subnet, all of"
        " them answer ARP for the VIP, unless arp_ignore is set. A VIP that VRRP holds"
        " needs `bind: false`",
    )
