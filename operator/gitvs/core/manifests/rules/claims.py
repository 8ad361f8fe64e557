"""What services claim that may conflict with another service, to check only services that changed.

Manifests were valid, and a few services changed. If these claim nothing new, they conflict with
no other service. If they do, and another service may have something to do with it, all services
must be checked by the other rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gitvs.core.manifests.placement import NO_DIRECTORS, DirectorIndex, PlacedService
from gitvs.core.manifests.rules.between_services import listener_keys
from gitvs.core.manifests.types import DirectorSet
from gitvs.core.model.resources import IPAddress

Claim = tuple[str, object]
"""The name of a rule, and what a service uses that the rule is about."""


PlacedClaims = set[tuple[Claim, DirectorSet]]
"""Claims, each with its directors."""


def claims_of(placed: Iterable[PlacedService], directors: DirectorIndex) -> PlacedClaims:
    """Return what services claim; the rules themselves find conflicts among these services."""
    return {entry for each in placed for entry in _claims(each, directors)}


class ClaimIndex:
    """Everything that services claim, or claimed at some time before.

    It has hashes alone, in a tenth of the memory. Two that are equal by chance, and claims that
    no service makes any more, only cause a check of all services.
    """

    def __init__(self, placed: Iterable[PlacedService], directors: DirectorIndex) -> None:
        self._hashes = {hash(claim) for each in placed for claim, _ in _claims(each, directors)}

    def add(self, new: PlacedClaims) -> bool:
        """Add the claims and return True, or False if one may conflict with an earlier claim."""
        if any(hash(other) in self._hashes for claim, _ in new for other in _opponents(claim)):
            return False
        self._hashes.update(hash(claim) for claim, _ in new)
        return True


def _claims(placed: PlacedService, directors: DirectorIndex) -> Iterator[tuple[Claim, DirectorSet]]:
    """Yield what a service claims, and on which directors."""
    yield ("name", placed.service.name), NO_DIRECTORS
    for key, on, _ in listener_keys(placed, directors):
        yield ("listener", key), on
    for vip, on in placed.vips:
        yield _vip_claim(vip.address, vip.is_bound), on
    for variant in placed.variants:
        for address in {chosen.server.address for chosen in variant.servers}:
            yield ("server", address), variant.directors


def _vip_claim(address: IPAddress, is_bound: bool) -> Claim:
    return "bound" if is_bound else "unbound", address


def _opponents(claim: Claim) -> tuple[Claim, ...]:
    """Return the claims of other services that a claim may conflict with."""
    match claim:
        case ("server", address):
            return ("bound", address), ("unbound", address)
        case ("bound", address):
            return ("unbound", address), ("server", address)
        case ("unbound", address):
            return ("bound", address), ("server", address)
        case _:
            return (claim,)
