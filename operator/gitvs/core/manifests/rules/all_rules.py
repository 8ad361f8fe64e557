"""All rules about more than one document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gitvs.core.checkpoint import Checkpoint
from gitvs.core.manifests.placement import DirectorIndex, PlacedService
from gitvs.core.manifests.rules.between_services import between_services_problems
from gitvs.core.manifests.rules.owners import owner_problems
from gitvs.core.manifests.rules.references import reference_problems
from gitvs.core.manifests.rules.unread_manifests import UnreadManifests
from gitvs.core.manifests.types import Director, ManifestPolicy, Pool, Service
from gitvs.core.problems import Problem


def problems_between_documents(
    services: Sequence[Service],
    pools: Sequence[Pool],
    manifest_directors: Sequence[Director],
    policies: Sequence[ManifestPolicy],
    placed: Sequence[PlacedService],
    directors: DirectorIndex,
    unread: UnreadManifests,
    checkpoint: Checkpoint,
) -> Iterator[Problem]:
    """Yield the problems of names, selectors, addresses and owners."""
    yield from reference_problems(services, pools, manifest_directors, policies, directors, unread)
    yield from between_services_problems(placed, directors, checkpoint)
    if policies:
        yield from owner_problems(policies[0], placed, directors, manifest_directors)
