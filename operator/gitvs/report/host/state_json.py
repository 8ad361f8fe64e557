"""The desired state of a director, as JSON types and YAML, object by object."""

from __future__ import annotations

import yaml

from gitvs.core.model.desired import Desired
from gitvs.core.model.health_json import health_json
from gitvs.core.model.kinds import facts_of, kind_of
from gitvs.core.model.resource_json import JsonObject, resource_json
from gitvs.core.model.resources import Resource, VirtualService
from gitvs.core.model.state import State
from gitvs.core.planning.plan import desired_digest, natural_sort_key


def in_display_order(state: State) -> list[Resource]:
    """Return resources in the order that people expect: host, virtual services, routes, VIPs."""
    return sorted(state.values(), key=lambda r: (facts_of(r).make_rank, natural_sort_key(r), r.key))


def desired_json(desired: Desired) -> JsonObject:
    """Return the desired state, each object with its location."""
    return {
        "director": desired.director,
        "desiredDigest": desired_digest(desired),
        "objects": [
            _desired_object_json(desired, resource) for resource in in_display_order(desired.state)
        ],
    }


def _desired_object_json(desired: Desired, resource: Resource) -> JsonObject:
    json_object: JsonObject = {"kind": str(kind_of(resource)), "key": str(resource.key)}
    location = desired.locations.get(resource.key)
    if location is not None and location.service is not None:
        json_object["service"] = location.service
    if resource.key in desired.server_names:
        json_object["name"] = desired.server_names[resource.key]
    json_object["object"] = resource_json(resource)
    if isinstance(resource, VirtualService):
        json_object["drainSeconds"] = desired.drain_seconds.get(resource.key)
        if (health := desired.health.get(resource.key)) is not None:
            json_object["health"] = health_json(health)
    if location is not None:
        json_object["source"] = {"file": location.file, "line": location.line}
    return json_object


def yaml_text(json_object: JsonObject) -> str:
    """Return JSON types as YAML, fields in their order."""
    text: str = yaml.dump(
        json_object,
        Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper),
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    return text
