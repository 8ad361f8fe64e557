"""Names and selectors: unique, known, and meaning something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitvs.core.manifests.placement import Directors
from gitvs.core.manifests.rules.unread import Unread
from gitvs.core.manifests.schema_messages import did_you_mean
from gitvs.core.manifests.types import Director, Pool, Selector, Service, WrittenPolicy
from gitvs.core.problems import Problem


def problems(
    services: Sequence[Service],
    pools: Sequence[Pool],
    written_directors: Sequence[Director],
    policies: Sequence[WrittenPolicy],
    directors: Directors,
    unread: Unread,
) -> Iterator[Problem]:
    """Yield what is wrong with names and selectors."""
    yield from _equal_names("Service", services)
    yield from _equal_names("Pool", pools)
    yield from _equal_names("Director", written_directors)
    yield from _policies(policies)
    yield from _unknown_pools(services, pools, unread)
    for service in services:
        for selector in _selectors(service):
            yield from _selector(selector, directors, unread)
        yield from _vips_nowhere(service, directors, unread)
    for policy in policies:
        for owner in policy.owners:
            if owner.directors is not None:
                yield from _selector(owner.directors, directors, unread)


def _equal_names(kind: str, documents: Iterable[Service | Pool | Director]) -> Iterator[Problem]:
    first: dict[str, Service | Pool | Director] = {}
    for document in documents:
        other = first.setdefault(document.name, document)
        if other is not document:
            message = f"{kind} {document.name} is in {other.spot} already; names are unique"
            yield (document.spot / "metadata" / "name").problem("duplicate-name", message)


def _policies(policies: Sequence[WrittenPolicy]) -> Iterator[Problem]:
    for policy in policies:
        if "/" in policy.spot.document.file:
            message = "a Policy belongs in the chosen path itself, not in a folder below it"
            yield policy.spot.problem("policy-outside-root", message)
    for policy in policies[1:]:
        message = f"a second Policy; the first is {policies[0].spot}; make one of the two"
        yield policy.spot.problem("several-policies", message)


def _unknown_pools(
    services: Iterable[Service], pools: Iterable[Pool], unread: Unread
) -> Iterator[Problem]:
    known = {pool.name for pool in pools}
    for service in services:
        for reference in service.pools:
            name = reference.name
            if name not in known and not unread.may_hold("Pool", name):
                hint = did_you_mean(name, known) or _those("Pool", sorted(known))
                message = f"no Pool is named {name}{hint}"
                yield reference.spot.problem("unknown-pool", message)


def _those(kind: str, known: Sequence[str]) -> str:
    if not known:
        return f"; there is no {kind} document"
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return f"; there is {', '.join(known[:5])}{more}"


def _selectors(service: Service) -> Iterator[Selector]:
    if service.directors is not None:
        yield service.directors
    for vip in service.vips:
        if vip.directors is not None:
            yield vip.directors


def _selector(selector: Selector, directors: Directors, unread: Unread) -> Iterator[Problem]:
    is_known = True
    for index, name in enumerate(selector.names or ()):
        if name not in directors.index:
            is_known = False
            if not unread.may_hold("Director", name):
                known = [d.name for d in directors.all]
                hint = did_you_mean(name, known) or _those("Director", known)
                spot = selector.spot / "names" / index
                yield spot.problem("unknown-director", f"no Director is named {name}{hint}")
    if is_known and not directors.selected(selector) and not unread.may_hold_any("Director"):
        message = "this selects no director; every condition must hold for one at least"
        yield selector.spot.problem("selector-matches-none", f"{message}{_labels(selector)}")


def _labels(selector: Selector) -> str:
    if not selector.labels:
        return ""
    said = (f"{key} {' or '.join(sorted(values))}" for key, values in selector.labels)
    return f" (labels: {', '.join(said)})"


def _vips_nowhere(service: Service, directors: Directors, unread: Unread) -> Iterator[Problem]:
    """A VIP whose own directors are none of the service's, though both exist."""
    mask = directors.selected(service.directors)
    for vip in service.vips:
        own = directors.selected(vip.directors)
        if mask and own and not mask & own and not unread.may_hold_any("Director"):
            message = (
                f"VIP {vip.address} is for {directors.names(own)}, and service {service.name} "
                f"is on {directors.names(mask)} only; let them meet"
            )
            yield vip.spot.problem("selector-matches-none", message)
