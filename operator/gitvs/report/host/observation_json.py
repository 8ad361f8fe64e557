"""An observation as JSON, and back: `gitvs observe`, and `gitvs plan --state FILE`.

It is complete, so that a plan can be made elsewhere as if it were on that host. Reading is
strict: anything that this module did not write is rejected with one clear reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from gitvs.core.errors import UsageError
from gitvs.core.manifests.schema import schema_for
from gitvs.core.model.desired import Desired
from gitvs.core.model.kinds import kind_of
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import (
    DEFAULT_MTU,
    ConnectionCounts,
    Link,
    Observation,
    Scope,
    WildcardListener,
)
from gitvs.core.model.resource_json import JsonObject, resource_from_json, resource_json
from gitvs.core.model.resources import (
    AddressFamily,
    Key,
    Kind,
    Protocol,
    Resource,
    Scheduler,
    Sysctl,
)
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import classify
from gitvs.core.planning.records import (
    desired_from_record,
    desired_record,
    ledger_from_record,
    ledger_record,
)
from gitvs.report.host.state_json import in_display_order

FORMAT_VERSION = "1.0"

_MAX_MESSAGE_CHARACTERS = 200
_EMPTY_DESIRED = Desired("", "", State())


@dataclass(frozen=True, slots=True)
class ObservedHost:
    """What `gitvs observe` knows of a host; `owner_alias` is the alias of its store's interfaces.

    `applied` is the desired state in force, of `commit` if it came from one.
    """

    name: str
    observation: Observation
    scope: Scope
    ledger: Ledger
    owner_alias: str
    boottime_seconds: float
    applied: Desired | None = None
    commit: str | None = None

    @property
    def director(self) -> str:
        """The name of the director on this host, if it is known."""
        return self.name if self.applied is None else self.applied.director

    def unread_sysctls(self, desired: Desired) -> list[Sysctl]:
        """Return the desired sysctls that were not read on that host."""
        desired_sysctls = desired.state.of_type(Sysctl)
        return [sysctl for sysctl in desired_sysctls if sysctl.name not in self.scope.sysctls]

    def observation_for(self, desired: Desired) -> Observation:
        """Return the observation; sysctls that were not read count as already desired."""
        state = self.observation.state.with_changes(self.unread_sysctls(desired))
        return replace(self.observation, state=state)

    def owned_state(self) -> State:
        """Return the observed objects that gitvs owns."""
        applied = self.applied or _EMPTY_DESIRED
        return classify(self.observation, self.ledger, applied, self.owner_alias).owned


def observation_json(host: ObservedHost) -> JsonObject:
    """Return an observation with all that a plan elsewhere needs."""
    observation, owned = host.observation, host.owned_state()
    applied = None if host.applied is None else desired_record(host.applied)
    return {
        "formatVersion": FORMAT_VERSION,
        "host": host.name,
        "release": observation.kernel_release,
        "mark": host.owner_alias,
        "boottimeSeconds": host.boottime_seconds,
        "objects": [
            _observed_object_json(observation, resource, resource.key in owned)
            for resource in in_display_order(observation.state)
        ],
        "unnamed": sorted(observation.unknown_objects),
        "links": [_link_json(link) for _, link in sorted(observation.links.items())],
        "gateways": sorted(str(a) for a in observation.gateways),
        "foreignRoutes": sorted(str(p) for p in observation.foreign_routes),
        "missingSchedulers": sorted(observation.missing_schedulers),
        "scope": {
            "interfaces": sorted(host.scope.interfaces),
            "sysctls": sorted(host.scope.sysctls),
        },
        "ledger": ledger_record(host.ledger),
        "applied": applied,
        "commit": host.commit,
        **_optional_field(
            "listening",
            [_wildcard_listener_json(x) for x in sorted(observation.wildcard_listeners)],
        ),
    }


def _optional_field(name: str, values: list[Any] | str) -> JsonObject:
    """Return a field that was added after format 1.0; if it is empty, it is omitted as before."""
    return {name: values} if values else {}


def _wildcard_listener_json(listener: WildcardListener) -> JsonObject:
    return {
        "protocol": str(listener.protocol),
        "addressFamily": str(listener.family),
        "port": listener.port,
    }


def _observed_object_json(
    observation: Observation, resource: Resource, is_owned: bool
) -> JsonObject:
    json_object: JsonObject = {
        "kind": str(kind_of(resource)),
        "key": str(resource.key),
        "owned": is_owned,
        "object": resource_json(resource),
    }
    connections = observation.connections.get(resource.key)
    if connections is not None:
        json_object["connections"] = {
            "active": connections.active,
            "inactive": connections.inactive,
            "persistent": connections.persistent,
        }
    return json_object


def _link_json(link: Link) -> JsonObject:
    return {
        "name": link.name,
        "kind": link.kind,
        "alias": link.alias,
        "isUp": link.is_up,
        "addresses": [str(address) for address in link.addresses],
        **_optional_field("networks", [str(network) for network in link.networks]),
        **_optional_field("vrf", link.vrf),
        **({} if link.mtu == DEFAULT_MTU else {"mtu": link.mtu}),
    }


def parse_observation(text: str, input_name: str) -> ObservedHost:
    """Read what `gitvs observe --format json` wrote; `input_name` is what errors call it.

    Raises:
        UsageError: it is anything else, such as an edited file.
    """
    try:
        json_object = json.loads(text, parse_constant=_reject_constant)
        _check_schema(json_object)
        host = _host_from_json(json_object)
        if observation_json(host) != json_object:
            raise ValueError("it was changed by hand, or by another version of gitvs")
    except RecursionError:
        raise UsageError(f"{input_name} is nested too deep for a saved observation") from None
    except ValueError as error:
        raise UsageError(
            f"{input_name} is not what `gitvs observe --format json` writes: {error}"
        ) from None
    return host


def _reject_constant(constant: str) -> object:
    raise ValueError(f"{constant} is no number")


def _check_schema(json_value: object) -> None:
    schema = schema_for("observation")
    error = best_match(Draft202012Validator(schema).iter_errors(_sampled(json_value)))
    if error is None:
        return
    path = "".join("[]" if isinstance(x, int) else f".{x}" for x in error.absolute_path)
    message = (
        error.message
        if len(error.message) < _MAX_MESSAGE_CHARACTERS
        else f"{error.message[:_MAX_MESSAGE_CHARACTERS]}…"
    )
    raise ValueError(f"the document{path}: {message}")


def _sampled(value: Any) -> Any:
    """Return a value with only one item of each shape in its lists, since thousands are the same.

    Words and addresses, which differ within one shape, are checked when they are read.
    """
    if isinstance(value, dict):
        return {name: _sampled(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_sampled(item) for item in {_shape(item): item for item in value}.values()]
    return value


def _shape(value: object) -> object:
    """Return a key that is equal for values that differ only in words and numbers."""
    if isinstance(value, dict):
        kind = value.get("kind")
        return (str(kind), *((name, _shape(inner)) for name, inner in value.items()))
    if isinstance(value, list):
        return (list, *sorted({str(_shape(item)) for item in value}))
    return type(value)


def _host_from_json(json_object: Mapping[str, Any]) -> ObservedHost:
    applied, scope = json_object["applied"], json_object["scope"]
    return ObservedHost(
        json_object["host"],
        _observation_from_json(json_object),
        Scope(frozenset(scope["interfaces"]), frozenset(scope["sysctls"])),
        ledger_from_record(json_object["ledger"]),
        json_object["mark"],
        json_object["boottimeSeconds"],
        None if applied is None else desired_from_record(applied),
        json_object["commit"],
    )


def _observation_from_json(json_object: Mapping[str, Any]) -> Observation:
    objects = json_object["objects"]
    links = [_link_from_json(d) for d in json_object["links"]]
    return Observation(
        State(resource_from_json(Kind(o["kind"]), o["object"]) for o in objects),
        {
            Key(o["key"]): ConnectionCounts(**o["connections"])
            for o in objects
            if "connections" in o
        },
        {link.name: link for link in links},
        frozenset(ip_address(a) for a in json_object["gateways"]),
        frozenset(ip_network(p) for p in json_object["foreignRoutes"]),
        frozenset(Scheduler(s) for s in json_object["missingSchedulers"]),
        frozenset(json_object["unnamed"]),
        json_object["release"],
        wildcard_listeners=frozenset(
            map(_wildcard_listener_from_json, json_object.get("listening", []))
        ),
    )


def _wildcard_listener_from_json(json_object: Mapping[str, Any]) -> WildcardListener:
    d = json_object
    return WildcardListener(Protocol(d["protocol"]), AddressFamily(d["addressFamily"]), d["port"])


def _link_from_json(json_object: Mapping[str, Any]) -> Link:
    d = json_object
    addresses = tuple(ip_address(a) for a in d["addresses"])
    networks = tuple(ip_network(n) for n in d.get("networks", []))
    vrf = d.get("vrf", "")
    mtu = d.get("mtu", DEFAULT_MTU)
    return Link(d["name"], d["kind"], d["alias"], d["isUp"], addresses, networks, vrf, mtu)
