"""Rules of names and selectors: names are unique and known, selectors match something."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from gitvs.core.manifests.messages.schema_messages import Suggestions
from gitvs.core.manifests.placement import DirectorIndex
from gitvs.core.manifests.rules.unread_manifests import UnreadManifests
from gitvs.core.manifests.types import Director, DirectorSelector, ManifestPolicy, Pool, Service
from gitvs.core.problems import Problem


def reference_problems(
    services: Sequence[Service],
    pools: Sequence[Pool],
    manifest_directors: Sequence[Director],
    policies: Sequence[ManifestPolicy],
    directors: DirectorIndex,
    unread: UnreadManifests,
) -> Iterator[Problem]:
    """Yield what is wrong with names and selectors."""
    yield from _duplicate_name_problems("Service", services)
    yield from _duplicate_name_problems("Pool", pools)
    yield from _duplicate_name_problems("Director", manifest_directors)
    yield from _policy_problems(policies)
    yield from _unknown_pool_problems(services, pools, unread)
    yield from _all_selector_problems(services, policies, directors, unread)
    for service in services:
        yield from _unplaced_vip_problems(service, directors, unread)


def _duplicate_name_problems(
    kind: str, documents: Iterable[Service | Pool | Director]
) -> Iterator[Problem]:
    first: dict[str, Service | Pool | Director] = {}
    for document in documents:
        other = first.setdefault(document.name, document)
        if other is not document:
            message = f"{kind} {document.name} is in {other.origin} already; names are unique"
            yield (document.origin / "metadata" / "name").problem(
                "duplicate-name", message, other.origin
            )


def _policy_problems(policies: Sequence[ManifestPolicy]) -> Iterator[Problem]:
    for policy in policies:
        if "/" in policy.origin.document.file:
            message = "a Policy belongs in the chosen path itself, not in a folder below it"
            yield policy.origin.problem("policy-outside-root", message)
    for policy in policies[1:]:
        message = f"a second Policy; the first is {policies[0].origin}; make one of the two"
        yield policy.origin.problem("several-policies", message, policies[0].origin)


def _unknown_pool_problems(
    services: Iterable[Service], pools: Iterable[Pool], unread: UnreadManifests
) -> Iterator[Problem]:
    known = _KnownNames("Pool", sorted({pool.name for pool in pools}))
    names = {reference.name for service in services for reference in service.pools}
    unknown = known.unknown_among(names, unread)
    for service in services if unknown else ():
        for reference in service.pools:
            if reference.name in unknown:
                yield reference.origin.problem("unknown-pool", known.message(reference.name))


class _KnownNames:
    """The names of the documents of one kind, and what to say about one that is not among them."""

    def __init__(self, kind: str, names: Sequence[str]) -> None:
        self.kind, self.names = kind, names
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        listed = f"; there is {', '.join(names[:5])}{more}"
        self._hint = listed if names else f"; there is no {kind} document"
        self._suggestions = Suggestions()

    def unknown_among(self, names: Collection[str], unread: UnreadManifests) -> set[str]:
        """Return those of these names that no document has, read or not."""
        unknown = set(names).difference(self.names)
        return unknown - unread.names_among(self.kind, unknown)

    def message(self, name: str) -> str:
        """Return the message about an unknown name."""
        hint = self._suggestions.did_you_mean(name, self.names) or self._hint
        return f"no {self.kind} is named {name}{hint}"


def _selectors(
    services: Iterable[Service], policies: Iterable[ManifestPolicy]
) -> Iterator[DirectorSelector]:
    for service in services:
        if service.directors is not None:
            yield service.directors
        for vip in service.vips:
            if vip.directors is not None:
                yield vip.directors
    for policy in policies:
        for owner in policy.owners:
            if owner.directors is not None:
                yield owner.directors


def _all_selector_problems(
    services: Sequence[Service],
    policies: Sequence[ManifestPolicy],
    directors: DirectorIndex,
    unread: UnreadManifests,
) -> Iterator[Problem]:
    if not directors.all and not unread.may_contain_any("Director"):
        return  # the folder of one team: one warning covers all of it
    known = _KnownNames("Director", [d.name for d in directors.all])
    names = {n for selector in _selectors(services, policies) for n in selector.names or ()}
    unknown = known.unknown_among(names, unread)
    for selector in _selectors(services, policies):
        yield from _selector_problems(selector, directors, unread, known, unknown)


def _selector_problems(
    selector: DirectorSelector,
    directors: DirectorIndex,
    unread: UnreadManifests,
    known: _KnownNames,
    unknown: Collection[str],
) -> Iterator[Problem]:
    is_known = True
    for index, name in enumerate(selector.names or ()):
        if name not in directors.index_by_name:
            is_known = False
            if name in unknown:
                origin = selector.origin / "names" / index
                yield origin.problem("unknown-director", known.message(name))
    if is_known and not directors.selected(selector) and not unread.may_contain_any("Director"):
        message = "this selects no director; every condition must hold for one at least"
        yield selector.origin.problem("selector-matches-none", f"{message}{_labels_text(selector)}")


def _labels_text(selector: DirectorSelector) -> str:
    if not selector.labels:
        return ""
    conditions = (f"{key} {' or '.join(sorted(values))}" for key, values in selector.labels)
    return f" (labels: {', '.join(conditions)})"


def _unplaced_vip_problems(
    service: Service, directors: DirectorIndex, unread: UnreadManifests
) -> Iterator[Problem]:
    """Yield VIPs whose own directors are none of the service's, although both have some."""
    on = directors.selected(service.directors)
    for vip in service.vips:
        vip_directors = directors.selected(vip.directors)
        if (
            on
            and vip_directors
            and not on.meets(vip_directors)
            and not unread.may_contain_any("Director")
        ):
            message = (
                f"VIP {vip.address} is for {directors.names_text(vip_directors)}, and"
                f" service {service.name} is on {directors.names_text(on)} only; select"
                " at least one common director"
            )
            yield vip.origin.problem("selector-matches-none", message)
