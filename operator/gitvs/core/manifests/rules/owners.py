"""Owners: inside an owned path only what is its own, and nobody else may use that.

Addresses and firewall marks are exclusive. Directors are a limit for the owner alone: many
teams share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from posixpath import dirname

from gitvs.core.manifests.placement import Directors, Placed
from gitvs.core.manifests.rules.prefix_index import PrefixIndex
from gitvs.core.manifests.syntax.source_positions import Spot
from gitvs.core.manifests.types import Director, WrittenOwner, WrittenPolicy, WrittenVip
from gitvs.core.problems import Problem


def problems(
    policy: WrittenPolicy,
    placed: Sequence[Placed],
    directors: Directors,
    written_directors: Sequence[Director],
) -> Iterator[Problem]:
    """Yield who uses what isn't theirs."""
    if not policy.owners:
        return
    owners = _Owners(policy.owners)
    yield from owners.overlaps()
    for director in written_directors:
        owner = owners.of(director.spot)
        if owner is not None:
            message = f"a Director inside {owner.path}, which is an owner's; move it out"
            yield director.spot.problem("owner-document", message)
    for each in placed:
        yield from _used_by(each, owners, directors)


class _Owners:
    """The owners of paths, prefixes and firewall marks."""

    def __init__(self, owners: Sequence[WrittenOwner]) -> None:
        self._owners = owners
        self._by_path = {owner.path: owner for owner in reversed(owners)}
        self._by_prefix: PrefixIndex[WrittenOwner] = PrefixIndex()
        self._by_mark: dict[int, WrittenOwner] = {}
        for owner in reversed(owners):
            for prefix in owner.prefixes:
                self._by_prefix.put(prefix, owner)
            for mark in owner.firewall_marks:
                self._by_mark[mark] = owner

    def of(self, spot: Spot) -> WrittenOwner | None:
        """Return the owner of a document: that of the nearest folder."""
        folder = dirname(spot.document.file)
        while folder:
            if folder in self._by_path:
                return self._by_path[folder]
            folder = dirname(folder)
        return None

    def of_address(self, vip: WrittenVip) -> WrittenOwner | None:
        found = next(self._by_prefix.covering(vip.address), None)
        return None if found is None else found[1]

    def of_mark(self, mark: int) -> WrittenOwner | None:
        return self._by_mark.get(mark)

    def overlaps(self) -> Iterator[Problem]:
        """What two owners claim, or one of them twice."""
        for owner in self._owners:
            if self._by_path[owner.path] is not owner:
                message = f"path {owner.path} has an owner already, in "
                message += f"{self._by_path[owner.path].spot}; make one of the two"
                yield (owner.spot / "path").problem("owner-overlap", message)
            for prefix, spot in owner.prefixes.items():
                for other_prefix, other in self._by_prefix.covering(prefix.network_address):
                    if other is not owner and other_prefix.prefixlen <= prefix.prefixlen:
                        message = f"{prefix} is inside {other_prefix}, which is {other.path}'s"
                        yield spot.problem("owner-overlap", f"{message}; one owner for each")
            for index, mark in enumerate(owner.firewall_marks):
                if self._by_mark[mark] is not owner:
                    message = f"firewall mark {mark} is {self._by_mark[mark].path}'s already"
                    spot = owner.spot / "firewallMarks" / index
                    yield spot.problem("owner-overlap", f"{message}; one owner for each")


def _used_by(placed: Placed, owners: _Owners, directors: Directors) -> Iterator[Problem]:
    service = placed.service
    owner = owners.of(service.spot)
    for vip in service.vips:
        holder = owners.of_address(vip)
        if holder is not owner:
            yield vip.spot.problem("owner-vip", _not_yours(f"VIP {vip.address}", owner, holder))
    if service.firewall_mark is not None:
        mark = service.firewall_mark
        holder = owners.of_mark(mark)
        if holder is not owner:
            spot = service.spot_of("firewallMark")
            message = _not_yours(f"firewall mark {mark}", owner, holder)
            yield spot.problem("owner-firewall-mark", message)
    if owner is None:
        return
    if service.host_addresses:
        message = f"host addresses belong to the directors, not to the owner of {owner.path}; "
        spot = service.spot_of("hostAddresses")
        yield spot.problem("owner-host-address", message + "use a VIP of your own")
    outside = placed.mask & ~directors.selected(owner.directors)
    if outside:
        message = (
            f"service {service.name} is on {directors.names(outside)}, which the Policy does not "
            f"give to {owner.path}; select its own directors"
        )
        yield service.spot_of("directors").problem("owner-director", message)


def _not_yours(what: str, owner: WrittenOwner | None, holder: WrittenOwner | None) -> str:
    if holder is not None:
        return (
            f"{what} belongs to {holder.path} ({holder.spot}), and only Services there may use it"
        )
    assert owner is not None, "two owners that differ are not both nobody"
    return f"{what} is not among those of {owner.path} ({owner.spot}); use one, or have it added"
