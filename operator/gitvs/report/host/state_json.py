"""What a director should have, as JSON types and YAML, object by object."""

from __future__ import annotations

import yaml

from gitvs.core.model.desired import Desired
from gitvs.core.model.resource_json import Document, document_of
from gitvs.core.model.resources import Kind, Resource, VirtualService, kind_of
from gitvs.core.model.state import State
from gitvs.core.planning.plan import desired_digest, natural_order

_IPVS_RANK = 4
_RANKS = {
    Kind.SYSCTL: 0,
    Kind.TIMEOUTS: 1,
    Kind.SYNC_DAEMON: 2,
    Kind.DUMMY_INTERFACE: 3,
    Kind.VIRTUAL_SERVICE: _IPVS_RANK,
    Kind.REAL_SERVER: _IPVS_RANK,
    Kind.LOCAL_ROUTE: 5,
    Kind.VIP: 6,
}


def ordered(state: State) -> list[Resource]:
    """Return resources as people look for them: host, virtual services, routes, VIPs."""
    return sorted(state.values(), key=lambda r: (_RANKS[kind_of(r)], natural_order(r), r.key))


def desired_document(desired: Desired) -> Document:
    """Return what a director should have, each object with where it was written."""
    return {
        "director": desired.director,
        "desiredDigest": desired_digest(desired.director, desired.state),
        "objects": [_desired_object(desired, resource) for resource in ordered(desired.state)],
    }


def _desired_object(desired: Desired, resource: Resource) -> Document:
    document: Document = {"kind": str(kind_of(resource)), "key": str(resource.key)}
    source = desired.sources.get(resource.key)
    if source is not None and source.service is not None:
        document["service"] = source.service
    if resource.key in desired.server_names:
        document["name"] = desired.server_names[resource.key]
    document["object"] = document_of(resource)
    if isinstance(resource, VirtualService):
        document["drainSeconds"] = desired.drain_seconds.get(resource.key)
    if source is not None:
        document["source"] = {"file": source.file, "line": source.line}
    return document


def yaml_of(document: Document) -> str:
    """Return a document as YAML, fields in their order."""
    text: str = yaml.dump(
        document,
        Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper),
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    return text
