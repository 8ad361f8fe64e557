"""Rules of names and selectors: names are unique and known, selectors match something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitvs.core.manifests.placement import DirectorIndex
from gitvs.core.manifests.rules.unread_manifests import UnreadManifests
from gitvs.core.manifests.schema_messages import did_you_mean
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
    for service in services:
        for selector in _selectors(service):
            yield from _selector_problems(selector, directors, unread)
        yield from _unplaced_vip_problems(service, directors, unread)
    for policy in policies:
        for owner in policy.owners:
            if owner.directors is not None:
                yield from _selector_problems(owner.directors, directors, unread)


def _duplicate_name_problems(
    kind: str, documents: Iterable[Service | Pool | Director]
) -> Iterator[Problem]:
    first: dict[str, Service | Pool | Director] = {}
    for document in documents:
        other = first.setdefault(document.name, document)
        if other is not document:
            message = f"{kind} {document.name} is in {other.origin} already; names are unique"
            yield (document.origin / "metadata" / "name").problem("duplicate-name", message)


def _policy_problems(policies: Sequence[ManifestPolicy]) -> Iterator[Problem]:
    for policy in policies:
        if "/" in policy.origin.document.file:
            message = "a Policy belongs in the chosen path itself, not in a folder below it"
            yield policy.origin.problem("policy-outside-root", message)
    for policy in policies[1:]:
        message = f"a second Policy; the first is {policies[0].origin}; make one of the two"
        yield policy.origin.problem("several-policies", message)


def _unknown_pool_problems(
    services: Iterable[Service], pools: Iterable[Pool], unread: UnreadManifests
) -> Iterator[Problem]:
    known = {pool.name for pool in pools}
    for service in services:
        for reference in service.pools:
            name = reference.name
            if name not in known and not unread.may_contain("Pool", name):
                hint = did_you_mean(name, known) or _known_names_hint("Pool", sorted(known))
                message = f"no Pool is named {name}{hint}"
                yield reference.origin.problem("unknown-pool", message)


def _known_names_hint(kind: str, known: Sequence[str]) -> str:
    if not known:
        return f"; there is no {kind} document"
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return f"; there is {', '.join(known[:5])}{more}"


def _selectors(service: Service) -> Iterator[DirectorSelector]:
    if service.directors is not None:
        yield service.directors
    for vip in service.vips:
        if vip.directors is not None:
            yield vip.directors


def _selector_problems(
    selector: DirectorSelector, directors: DirectorIndex, unread: UnreadManifests
) -> Iterator[Problem]:
    is_known = True
    for index, name in enumerate(selector.names or ()):
        if name not in directors.index_by_name:
            is_known = False
            if not unread.may_contain("Director", name):
                known = [d.name for d in directors.all]
                hint = did_you_mean(name, known) or _known_names_hint("Director", known)
                origin = selector.origin / "names" / index
                yield origin.problem("unknown-director", f"no Director is named {name}{hint}")
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
    mask = directors.selected(service.directors)
    for vip in service.vips:
        vip_mask = directors.selected(vip.directors)
        if mask and vip_mask and not mask & vip_mask and not unread.may_contain_any("Director"):
            message = (
                f"VIP {vip.address} is for {directors.names_text(vip_mask)}, and service"
                f" {service.name} is on {directors.names_text(mask)} only; let them meet"
            )
            yield vip.origin.problem("selector-matches-none", message)
