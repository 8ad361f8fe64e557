"""Rules of owners: an owned path uses only what it owns, and no other path uses that.

Addresses and firewall marks are exclusive. Directors limit only the owner, because many teams
share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from posixpath import dirname

from gitvs.core.manifests.placement import DirectorIndex, PlacedService
from gitvs.core.manifests.rules.prefix_index import PrefixIndex
from gitvs.core.manifests.syntax.source_positions import Origin
from gitvs.core.manifests.types import Director, ManifestOwner, ManifestPolicy, ManifestVip
from gitvs.core.problems import Problem


def owner_problems(
    policy: ManifestPolicy,
    placed: Sequence[PlacedService],
    directors: DirectorIndex,
    manifest_directors: Sequence[Director],
) -> Iterator[Problem]:
    """Yield overlaps between owners, and every use of what a path does not own."""
    if not policy.owners:
        return
    owners = _OwnerIndex(policy.owners)
    yield from owners.overlap_problems()
    for director in manifest_directors:
        owner = owners.of_document(director.origin)
        if owner is not None:
            message = (
                f"a Director inside {owner.path}, which belongs to an owner of the"
                " Policy; move it out of that folder"
            )
            yield director.origin.problem("owner-document", message)
    for each in placed:
        yield from _usage_problems(each, owners, directors)


class _OwnerIndex:
    """The owners of paths, prefixes and firewall marks."""

    def __init__(self, owners: Sequence[ManifestOwner]) -> None:
        self._owners = owners
        self._by_path = {owner.path: owner for owner in reversed(owners)}
        self._by_prefix: PrefixIndex[ManifestOwner] = PrefixIndex()
        self._by_firewall_mark: dict[int, ManifestOwner] = {}
        for owner in reversed(owners):
            for prefix in owner.prefixes:
                self._by_prefix.put(prefix, owner)
            for mark in owner.firewall_marks:
                self._by_firewall_mark[mark] = owner

    def of_document(self, origin: Origin) -> ManifestOwner | None:
        """Return the owner of a document: that of the nearest folder."""
        folder = dirname(origin.document.file)
        while folder:
            if folder in self._by_path:
                return self._by_path[folder]
            folder = dirname(folder)
        return None

    def of_address(self, vip: ManifestVip) -> ManifestOwner | None:
        found = next(self._by_prefix.covering(vip.address), None)
        return None if found is None else found[1]

    def of_firewall_mark(self, mark: int) -> ManifestOwner | None:
        return self._by_firewall_mark.get(mark)

    def overlap_problems(self) -> Iterator[Problem]:
        """Yield the paths, prefixes and firewall marks that two owners claim."""
        for owner in self._owners:
            if self._by_path[owner.path] is not owner:
                first = self._by_path[owner.path].origin
                message = f"path {owner.path} has an owner already, in {first}; make one of the two"
                yield (owner.origin / "path").problem("owner-overlap", message, first)
            for prefix, origin in owner.prefixes.items():
                for other_prefix, other in self._by_prefix.covering(prefix.network_address):
                    if other is not owner and other_prefix.prefixlen <= prefix.prefixlen:
                        message = f"{prefix} is inside {other_prefix}, which is {other.path}'s"
                        yield origin.problem("owner-overlap", f"{message}; one owner for each")
            for index, mark in enumerate(owner.firewall_marks):
                if self._by_firewall_mark[mark] is not owner:
                    message = (
                        f"firewall mark {mark} is {self._by_firewall_mark[mark].path}'s already"
                    )
                    origin = owner.origin / "firewallMarks" / index
                    yield origin.problem("owner-overlap", f"{message}; one owner for each")


def _usage_problems(
    placed: PlacedService, owners: _OwnerIndex, directors: DirectorIndex
) -> Iterator[Problem]:
    service = placed.service
    owner = owners.of_document(service.origin)
    for vip in service.vips:
        holding_owner = owners.of_address(vip)
        if holding_owner is not owner:
            yield _not_owned_problem(
                vip.origin, "owner-vip", f"VIP {vip.address}", owner, holding_owner
            )
    if service.firewall_mark is not None:
        mark = service.firewall_mark
        holding_owner = owners.of_firewall_mark(mark)
        if holding_owner is not owner:
            origin = service.origin_of("firewallMark")
            what = f"firewall mark {mark}"
            yield _not_owned_problem(origin, "owner-firewall-mark", what, owner, holding_owner)
    if owner is None:
        return
    if service.host_addresses:
        message = f"host addresses belong to the directors, not to the owner of {owner.path}; "
        origin = service.origin_of("hostAddresses")
        yield origin.problem("owner-host-address", message + "use a VIP of your own")
    outside = placed.directors - directors.selected(owner.directors)
    if outside:
        message = (
            f"service {service.name} is on {directors.names_text(outside)}, which the Policy does"
            f" not give to {owner.path}; select its own directors"
        )
        yield service.origin_of("directors").problem("owner-director", message)


def _not_owned_problem(
    origin: Origin,
    rule: str,
    what: str,
    owner: ManifestOwner | None,
    holding_owner: ManifestOwner | None,
) -> Problem:
    if holding_owner is not None:
        named = holding_owner.origin
        message = (
            f"{what} belongs to {holding_owner.path} ({named}), and only Services there may use it"
        )
    else:
        assert owner is not None, "two owners that differ are not both nobody"
        named = owner.origin
        message = (
            f"{what} is not among those of {owner.path} ({named}); use one of those,"
            " or ask to have it added"
        )
    return origin.problem(rule, message, named)
