"""An observation as a JSON document, and back: `gitvs observe`, and `gitvs plan --state FILE`.

It is written whole, so that a plan can be made elsewhere as if it were on that host. Reading
is strict: whatever was not written here is refused with one clear reason.
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
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import Connections, Link, Observation, Scope, WildcardListener
from gitvs.core.model.resource_json import Document, document_of, resource_from
from gitvs.core.model.resources import (
    AddressFamily,
    Key,
    Kind,
    Protocol,
    Resource,
    Scheduler,
    Sysctl,
    kind_of,
)
from gitvs.core.model.state import State
from gitvs.core.planning.ownership import classify
from gitvs.core.planning.records import (
    desired_from_record,
    desired_record,
    ledger_from_record,
    ledger_record,
)
from gitvs.report.host.state_json import ordered

FORMAT_VERSION = "1.0"

_LONGEST = 200
_NOTHING = Desired("", "", State())


@dataclass(frozen=True, slots=True)
class Seen:
    """What `gitvs observe` knows of a host; `mark` is the alias of its store's interfaces.

    `applied` is the desired state in force, of `commit` if it came from one.
    """

    host: str
    observation: Observation
    scope: Scope
    ledger: Ledger
    mark: str
    boottime: float
    applied: Desired | None = None
    commit: str | None = None

    @property
    def director(self) -> str:
        """The director that this host is, as far as is known."""
        return self.host if self.applied is None else self.applied.director

    def unread(self, desired: Desired) -> list[Sysctl]:
        """Return the settings that are wanted and were not read there."""
        wanted = desired.state.of(Sysctl)
        return [sysctl for sysctl in wanted if sysctl.name not in self.scope.sysctls]

    def observation_for(self, desired: Desired) -> Observation:
        """Return the observation, with settings that were not read taken to be as wanted."""
        state = self.observation.state.with_changes(self.unread(desired))
        return replace(self.observation, state=state)

    def owned(self) -> State:
        """Return what of the observation is gitvs's."""
        applied = self.applied or _NOTHING
        return classify(self.observation, self.ledger, applied, self.mark).owned


def observation_document(seen: Seen) -> Document:
    """Return an observation with all that a plan elsewhere needs."""
    observation, owned = seen.observation, seen.owned()
    applied = None if seen.applied is None else desired_record(seen.applied)
    return {
        "formatVersion": FORMAT_VERSION,
        "host": seen.host,
        "release": observation.release,
        "mark": seen.mark,
        "boottimeSeconds": seen.boottime,
        "objects": [
            _observed_object(observation, resource, resource.key in owned)
            for resource in ordered(observation.state)
        ],
        "unnamed": sorted(observation.unnamed),
        "links": [_link_document(link) for _, link in sorted(observation.links.items())],
        "gateways": sorted(str(a) for a in observation.gateways),
        "foreignRoutes": sorted(str(p) for p in observation.foreign_routes),
        "missingSchedulers": sorted(observation.missing_schedulers),
        "scope": {
            "interfaces": sorted(seen.scope.interfaces),
            "sysctls": sorted(seen.scope.sysctls),
        },
        "ledger": ledger_record(seen.ledger),
        "applied": applied,
        "commit": seen.commit,
        **_if_any("listening", [_listener_document(x) for x in sorted(observation.listening)]),
    }


def _if_any(name: str, values: list[Any]) -> Document:
    """Return a field that came after 1.0, which an older document lacks as an empty one does."""
    return {name: values} if values else {}


def _listener_document(x: WildcardListener) -> Document:
    return {"protocol": str(x.protocol), "addressFamily": str(x.family), "port": x.port}


def _observed_object(observation: Observation, resource: Resource, is_owned: bool) -> Document:
    document: Document = {
        "kind": str(kind_of(resource)),
        "key": str(resource.key),
        "owned": is_owned,
        "object": document_of(resource),
    }
    counted = observation.connections.get(resource.key)
    if counted is not None:
        document["connections"] = {
            "active": counted.active,
            "inactive": counted.inactive,
            "persistent": counted.persistent,
        }
    return document


def _link_document(link: Link) -> Document:
    return {
        "name": link.name,
        "kind": link.kind,
        "alias": link.alias,
        "isUp": link.is_up,
        "addresses": [str(address) for address in link.addresses],
        **_if_any("networks", [str(network) for network in link.networks]),
    }


def observation_from(text: str, name: str) -> Seen:
    """Read what `gitvs observe --format json` wrote; `name` is what errors call it.

    Raises:
        UsageError: it is anything else, however near.
    """
    try:
        document = json.loads(text, parse_constant=_no_number)
        _expect_schema(document)
        seen = _seen(document)
        if observation_document(seen) != document:
            raise ValueError("it was changed by hand, or by another version of gitvs")
    except RecursionError:
        raise UsageError(f"{name} is nested too deep for a saved observation") from None
    except ValueError as error:
        raise UsageError(
            f"{name} is not what `gitvs observe --format json` writes: {error}"
        ) from None
    return seen


def _no_number(word: str) -> object:
    raise ValueError(f"{word} is no number")


def _expect_schema(document: object) -> None:
    schema = schema_for("observation")
    error = best_match(Draft202012Validator(schema).iter_errors(_thinned(document)))
    if error is None:
        return
    path = "".join("[]" if isinstance(x, int) else f".{x}" for x in error.absolute_path)
    message = error.message if len(error.message) < _LONGEST else f"{error.message[:_LONGEST]}…"
    raise ValueError(f"the document{path}: {message}")


def _thinned(value: Any) -> Any:
    """Return a document with one of each shape in its lists, since thousands are alike.

    What distinguishes those of one shape, words and addresses, is checked when it is read.
    """
    if isinstance(value, dict):
        return {name: _thinned(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_thinned(item) for item in {_shape(item): item for item in value}.values()]
    return value


def _shape(value: object) -> object:
    """Return what two values have in common that differ in words and numbers alone."""
    if isinstance(value, dict):
        kind = value.get("kind")
        return (str(kind), *((name, _shape(inner)) for name, inner in value.items()))
    if isinstance(value, list):
        return (list, *sorted({str(_shape(item)) for item in value}))
    return type(value)


def _seen(document: Mapping[str, Any]) -> Seen:
    applied, scope = document["applied"], document["scope"]
    return Seen(
        document["host"],
        _observation(document),
        Scope(frozenset(scope["interfaces"]), frozenset(scope["sysctls"])),
        ledger_from_record(document["ledger"]),
        document["mark"],
        document["boottimeSeconds"],
        None if applied is None else desired_from_record(applied),
        document["commit"],
    )


def _observation(document: Mapping[str, Any]) -> Observation:
    objects = document["objects"]
    links = [_link(d) for d in document["links"]]
    return Observation(
        State(resource_from(Kind(o["kind"]), o["object"]) for o in objects),
        {Key(o["key"]): Connections(**o["connections"]) for o in objects if "connections" in o},
        {link.name: link for link in links},
        frozenset(ip_address(a) for a in document["gateways"]),
        frozenset(ip_network(p) for p in document["foreignRoutes"]),
        frozenset(Scheduler(s) for s in document["missingSchedulers"]),
        frozenset(document["unnamed"]),
        document["release"],
        listening=frozenset(map(_listener, document.get("listening", []))),
    )


def _listener(document: Mapping[str, Any]) -> WildcardListener:
    d = document
    return WildcardListener(Protocol(d["protocol"]), AddressFamily(d["addressFamily"]), d["port"])


def _link(document: Mapping[str, Any]) -> Link:
    d = document
    addresses = tuple(ip_address(a) for a in d["addresses"])
    networks = tuple(ip_network(n) for n in d.get("networks", []))
    return Link(d["name"], d["kind"], d["alias"], d["isUp"], addresses, networks)
