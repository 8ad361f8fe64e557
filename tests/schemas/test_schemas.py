"""The schemas: sound, explained, and every field of them does something."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.render import render_director
from gitvs.core.manifests.schema import DOCUMENT_KINDS, schema_for
from gitvs.core.problems import InvalidManifests
from tests.support.manifests.writing import (
    LEFT_OUT,
    Doc,
    defaults,
    director,
    file_of,
    policy,
    pool,
    problems_of,
    rules_of,
    server,
    service,
)

FOR_PEOPLE = {
    *(f"{kind}.metadata.description" for kind in DOCUMENT_KINDS),
    *(f"{kind}.metadata.labels" for kind in DOCUMENT_KINDS if kind != "Director"),
    "Defaults.metadata.name",
    "Policy.metadata.name",
}
RESERVED = ("fallback", "withdraw", "sorryServers", "target", "confirm")


def resolved(schema: Any, root: Any) -> Any:
    """Follow a `$ref`; what stands beside it wins."""
    if "$ref" not in schema:
        return schema
    return {**root["$defs"][schema["$ref"].removeprefix("#/$defs/")], **schema}


def fields(schema: Any, root: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every field of a schema with its path, such as `Service.spec.ports.port`."""
    schema = resolved(schema, root)
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", resolved(field, root)
        yield from fields(field, root, f"{path}.{name}")
    if "items" in schema:
        yield from fields(schema["items"], root, path)


def all_fields() -> dict[str, Any]:
    return {
        path: field
        for kind in DOCUMENT_KINDS
        for path, field in fields(schema_for(kind), schema_for(kind), kind)
    }


def objects(schema: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every subschema that has properties, with its path in the file."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield path, schema
        for name, child in schema.items():
            yield from objects(child, f"{path}/{name}")
    elif isinstance(schema, list):
        for index, child in enumerate(schema):
            yield from objects(child, f"{path}/{index}")


@pytest.mark.parametrize("kind", DOCUMENT_KINDS)
def test_a_schema_is_a_valid_schema_with_an_id(kind: str) -> None:
    schema = schema_for(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:gitvs:v1:{kind.lower()}"


@pytest.mark.parametrize("kind", DOCUMENT_KINDS)
def test_no_object_takes_fields_that_it_does_not_know(kind: str) -> None:
    for path, schema in objects(schema_for(kind), ""):
        assert schema.get("additionalProperties") is False, path


@pytest.mark.parametrize("kind", DOCUMENT_KINDS)
def test_the_names_of_what_comes_later_stay_free(kind: str) -> None:
    for path, schema in objects(schema_for(kind), ""):
        assert not set(RESERVED) & set(schema["properties"]), path


@pytest.mark.parametrize(("path", "field"), all_fields().items())
def test_every_field_has_a_title_and_a_description(path: str, field: Any) -> None:
    assert field.get("title"), path
    assert len(field.get("description", "")) > 10, path


def test_defaults_offer_the_fields_of_services_and_directors_word_for_word() -> None:
    spec = schema_for("Defaults")["properties"]["spec"]["properties"]
    for section, kind in (("services", "Service"), ("directors", "Director")):
        own = schema_for(kind)["properties"]["spec"]["properties"]
        for name, field in spec[section]["properties"].items():
            assert field == own[name], name


@pytest.mark.parametrize("text", ["web\n", "\nweb", "we\nb"])
def test_a_line_feed_is_no_part_of_a_name(text: str) -> None:
    assert rules_of(problems_of(service(text))) == ["bad-format"]
    assert rules_of(problems_of(service(drain={"timeout": "5m\n"}))) == ["bad-format"]


KEEP = {"timeout": "5m"}
GUE = {"type": "gue", "port": 6080}
TWO = [director("lb-ams", {"site": "ams"}), director("lb-lax", {"site": "lax"})]


def on(*documents: Doc, **spec: Any) -> list[Doc]:
    """A director with these fields, and documents beside it."""
    return [director(addresses={"node": ["192.0.2.1"]}, **spec), *documents]


def svc(base: Doc, **changed: Any) -> tuple[list[Doc], list[Doc]]:
    """A service before and after."""
    return on(service(**base)), on(service(**{**base, **changed}))


def srv(base: Doc, changed: Doc, **spec: Any) -> tuple[list[Doc], list[Doc]]:
    before, after = server(**base), server(**{**base, **changed})
    return on(service(realServers=[before], **spec)), on(service(realServers=[after], **spec))


def pooled(base: Doc, changed: Doc, **spec: Any) -> tuple[list[Doc], list[Doc]]:
    """The real servers of a pool before and after, and a service that uses both tracks of it."""
    user = service(pools=[{"name": "p", "matchLabels": {"track": ["a", "b"]}}], **spec)
    always = server("10.9.9.9", labels={"track": "a"})
    labelled = {"labels": {"track": "a"}}
    before = pool("p", always, server(**{**labelled, **base}))
    after = pool("p", always, server(**{**labelled, **base, **changed}))
    return on(user, before), on(user, after)


def host(**changed: Any) -> tuple[list[Doc], list[Doc]]:
    return [director(), service()], [director(**changed), service()]


def filled(base: Doc | None, **changed: Any) -> tuple[list[Doc], list[Doc]]:
    """Defaults for services, before and after."""
    plain = service(realServers=[server(), server("10.0.3.6")])
    return on(plain, defaults(base)), on(plain, defaults({**(base or {}), **changed}))


def filled_hosts(**changed: Any) -> tuple[list[Doc], list[Doc]]:
    plain = [director(), service()]
    return [*plain, defaults(directors={})], [*plain, defaults(directors=changed)]


def limits(**changed: Any) -> tuple[list[Doc], list[Doc]]:
    return on(service(), policy()), on(service(), policy(**changed))


def owned(base: Doc, **changed: Any) -> tuple[list[Doc], list[Doc]]:
    return (
        [*TWO, service(), policy(owners=[{"path": "a", **base}])],
        [*TWO, service(), policy(owners=[{"path": "a", **base, **changed}])],
    )


def tunnel_fields(prefix: str, with_tunnel: Any) -> Doc:
    return {
        f"{prefix}.tunnel": with_tunnel(None, {"type": "gre"}),
        f"{prefix}.tunnel.type": with_tunnel({"type": "ipip"}, {"type": "gre"}),
        f"{prefix}.tunnel.port": with_tunnel(GUE, {**GUE, "port": 6081}),
        f"{prefix}.tunnel.checksum": with_tunnel(GUE, {**GUE, "checksum": "full"}),
    }


def persistence_fields(prefix: str, with_persistence: Any) -> Doc:
    return {
        f"{prefix}.persistence": with_persistence(None, KEEP),
        f"{prefix}.persistence.timeout": with_persistence(KEEP, {"timeout": "6m"}),
        f"{prefix}.persistence.ipv4Prefix": with_persistence(KEEP, {**KEEP, "ipv4Prefix": 24}),
        f"{prefix}.persistence.ipv6Prefix": with_persistence(KEEP, {**KEEP, "ipv6Prefix": 64}),
        f"{prefix}.persistence.engine": with_persistence(KEEP, {**KEEP, "engine": "sip"}),
    }


def health_fields(prefix: str, with_health: Any) -> Doc:
    """Each field of `health` before and after, in a service where it matters."""
    tcp = {"checks": [{"tcp": {}}]}
    greeting = {"port": 25, "send": "HELO", "expect": "220"}
    smtp = {"checks": [{"tcp": greeting}]}
    return {
        f"{prefix}.health": with_health(None, tcp),
        **{
            f"{prefix}.health.{name}": with_health(tcp, {**tcp, name: value})
            for name, value in (
                *(("interval", "2s"), ("timeout", "1s"), ("retryInterval", "1s")),
                *(("rise", 3), ("fall", 2), ("onFailure", "remove"), ("keepPercent", 75)),
                *(("checks", [{"tcp": {"port": 8080}}]), ("quorum", {"losePercent": 30})),
            )
        },
        f"{prefix}.health.checks.tcp": with_health(tcp, {"checks": [{"tcp": {"port": 80}}]}),
        **{
            f"{prefix}.health.checks.tcp.{name}": with_health(
                smtp, {"checks": [{"tcp": {**greeting, name: value}}]}
            )
            for name, value in (("port", 26), ("send", "EHLO"), ("expect", "ready"))
        },
        **simple_fields(prefix, with_health),
        **http_fields(prefix, with_health, "http", {}),
        **http_fields(prefix, with_health, "https", TLS_VARIATIONS),
        f"{prefix}.health.quorum.losePercent": with_health(
            {**tcp, "quorum": {"losePercent": 20}}, {**tcp, "quorum": {"losePercent": 30}}
        ),
        f"{prefix}.health.quorum.gainPercent": with_health(
            {**tcp, "quorum": {"losePercent": 20}},
            {**tcp, "quorum": {"losePercent": 20, "gainPercent": 50}},
        ),
    }


SIMPLE: dict[str, tuple[Doc, Doc]] = {
    "udp": (
        {"port": 123, "send": "a", "expect": "b"},
        {"port": 124, "send": "c", "expect": "d", "sendHex": "1b00", "expectHex": "ff"},
    ),
    "dns": (
        {"name": "a.example.org", "port": 53, "expect": "192.0.2.1"},
        {
            **{"name": "b.example.org", "port": 54, "expect": "192.0.2.2", "type": "AAAA"},
            **{"rcode": "NXDOMAIN", "protocol": "tcp"},
        },
    ),
}


def simple_fields(prefix: str, with_health: Any) -> Doc:
    """Each field of an udp, dns or ping check before and after."""
    found: Doc = {}
    for kind, (sound, variations) in SIMPLE.items():
        before = {"checks": [{kind: sound}]}
        found[f"{prefix}.health.checks.{kind}"] = with_health({"checks": [{"tcp": {}}]}, before)
        for name, value in variations.items():
            kept = {k: v for k, v in sound.items() if f"{k}Hex" != name}
            after = {"checks": [{kind: {**kept, name: value}}]}
            found[f"{prefix}.health.checks.{kind}.{name}"] = with_health(before, after)
    pinged = {"checks": [{"ping": {}}]}
    found[f"{prefix}.health.checks.ping"] = with_health({"checks": [{"tcp": {}}]}, pinged)
    return found


HTTP: Doc = {
    "port": 8080,
    "path": "/healthz",
    "host": "www.example.org",
    "headers": {"X-Check": "a"},
    "status": [200],
    "expect": "ok",
}
HTTP_VARIATIONS: Doc = {
    **{"port": 8081, "path": "/", "method": "POST", "host": "example.org"},
    **{"headers": {"X-Check": "b"}, "status": ["200-204", 301], "expect": "fine"},
}
TLS_VARIATIONS: Doc = {"serverName": "a.example.org", "verify": False, "caFile": "other.pem"}


def http_fields(prefix: str, with_health: Any, kind: str, more: Doc) -> Doc:
    """Each field of an http or https check before and after."""
    sound = {**HTTP, **({"verify": True, "caFile": "ca.pem"} if more else {})}
    if more:
        sound["serverName"] = "www.example.com"

    def varied(name: str, value: Any) -> Doc:
        changed = {**sound, name: value}
        if name == "verify":
            del changed["caFile"]
        return {"checks": [{kind: changed}]}

    before = {"checks": [{kind: sound}]}
    return {
        f"{prefix}.health.checks.{kind}": with_health({"checks": [{"tcp": {}}]}, before),
        **{
            f"{prefix}.health.checks.{kind}.{name}": with_health(before, varied(name, value))
            for name, value in {**HTTP_VARIATIONS, **more}.items()
        },
    }


def selector_fields(prefix: str, with_selector: Any) -> Doc:
    return {
        prefix: with_selector(None, {"names": ["lb-ams"]}),
        f"{prefix}.names": with_selector({"names": ["lb-ams"]}, {"names": ["lb-lax"]}),
        f"{prefix}.matchLabels": with_selector(
            {"matchLabels": {"site": "ams"}}, {"matchLabels": {"site": "lax"}}
        ),
    }


def server_fields(prefix: str, vary: Any) -> Doc:
    tun = {"forwarding": "tun"}
    return {
        prefix: vary({}, {"address": "10.0.3.6"}),
        f"{prefix}.name": vary({"name": "a"}, {"name": "b"}),
        f"{prefix}.address": vary({}, {"address": "10.0.3.7"}),
        f"{prefix}.port": vary({}, {"port": 8443}),
        f"{prefix}.weight": vary({}, {"weight": 0}),
        f"{prefix}.upperThreshold": vary({}, {"upperThreshold": 5}),
        f"{prefix}.lowerThreshold": vary({"upperThreshold": 5}, {"lowerThreshold": 4}),
        f"{prefix}.forwarding": vary({}, tun),
        **tunnel_fields(
            prefix,
            lambda a, b: vary(tun if a is None else {**tun, "tunnel": a}, {**tun, "tunnel": b}),
        ),
    }


def or_left_out(value: Any) -> Any:
    return LEFT_OUT if value is None else value


BOTH = {"vips": ["203.0.113.10", "2001:db8::1"], "realServers": [server(), server("2001:db8::2")]}
UDP = {**BOTH, "ports": [{"port": 5060, "protocol": "udp"}]}
PORT = {"port": 53, "protocol": "udp"}
LABELLED = pool(
    "p",
    server("10.0.0.1", labels={"site": "ams", "track": "a"}),
    server("10.0.0.2", labels={"site": "lax", "track": "b"}),
)


def port(**changed: Any) -> tuple[list[Doc], list[Doc]]:
    return svc({"ports": [PORT]}, ports=[{**PORT, **changed}])


def pool_reference(**changed: Any) -> tuple[list[Doc], list[Doc]]:
    others = [*TWO, LABELLED, pool("q", server())]
    return (
        [*others, service(pools=[{"name": "p"}])],
        [*others, service(pools=[{"name": "p", **changed}])],
    )


SYNC_FIELDS = (
    *(("role", "primary"), ("interface", "b"), ("id", 5)),
    *(("group", "239.1.2.3"), ("port", 8849), ("ttl", 2), ("maxLength", 1400)),
)

VARIATIONS: dict[str, tuple[list[Doc], list[Doc]]] = {
    "Director.metadata": ([director("a")], [director("b")]),
    "Director.metadata.name": ([director("a")], [director("b")]),
    "Director.metadata.labels": (
        [*TWO, service(directors={"matchLabels": {"site": "ams"}})],
        [
            TWO[0],
            director("lb-lax", {"site": "ams"}),
            service(directors={"matchLabels": {"site": "ams"}}),
        ],
    ),
    "Director.spec": host(interface="other"),
    "Director.spec.interface": host(interface="other"),
    "Director.spec.addresses": (
        [director(addresses={"n": ["192.0.2.1"]}), service(hostAddresses=["n"])],
        [director(addresses={"n": ["192.0.2.2"]}), service(hostAddresses=["n"])],
    ),
    "Director.spec.localRoutes": host(localRoutes=["192.0.2.0/24"]),
    "Director.spec.sysctls": host(sysctls={"net.ipv4.ip_forward": 1}),
    "Director.spec.timeouts": host(timeouts={"tcp": "1m"}),
    "Director.spec.timeouts.tcp": host(timeouts={"tcp": "1m"}),
    "Director.spec.timeouts.tcpFin": host(timeouts={"tcpFin": "1m"}),
    "Director.spec.timeouts.udp": host(timeouts={"udp": "1m"}),
    "Director.spec.syncDaemons": host(syncDaemons=[{"role": "backup", "interface": "a"}]),
    **{
        f"Director.spec.syncDaemons.{field}": (
            [director(syncDaemons=[{"role": "backup", "interface": "a"}])],
            [director(syncDaemons=[{"role": "backup", "interface": "a", field: value}])],
        )
        for field, value in SYNC_FIELDS
    },
    "Director.spec.standby": host(standby=True),
    "Service.metadata": (on(service("a")), on(service("b"))),
    "Service.metadata.name": (on(service("a")), on(service("b"))),
    "Service.spec": svc({}, vips=["203.0.113.11"]),
    **selector_fields(
        "Service.spec.directors",
        lambda a, b: (
            [*TWO, service(directors=or_left_out(a))],
            [*TWO, service(directors=b)],
        ),
    ),
    "Service.spec.vips": svc({}, vips=["203.0.113.11"]),
    "Service.spec.vips.address": svc({}, vips=[{"address": "203.0.113.11"}]),
    **selector_fields(
        "Service.spec.vips.directors",
        lambda a, b: (
            [*TWO, service(vips=[{"address": "203.0.113.1", **({"directors": a} if a else {})}])],
            [*TWO, service(vips=[{"address": "203.0.113.1", "directors": b}])],
        ),
    ),
    "Service.spec.vips.bind": svc({}, vips=[{"address": "203.0.113.10", "bind": False}]),
    "Service.spec.hostAddresses": svc({}, hostAddresses=["node"]),
    "Service.spec.ports": svc({}, ports=[{"port": 80}]),
    "Service.spec.ports.port": port(port=54),
    "Service.spec.ports.protocol": port(protocol="sctp"),
    "Service.spec.ports.targetPort": port(targetPort=5353),
    "Service.spec.ports.onePacket": port(onePacket=True),
    "Service.spec.firewallMark": svc({"firewallMark": 1}, firewallMark=2),
    "Service.spec.addressFamily": svc(
        {"firewallMark": 1, "vips": LEFT_OUT, "realServers": BOTH["realServers"]},
        addressFamily="ipv4",
    ),
    "Service.spec.scheduler": svc({}, scheduler="sh"),
    "Service.spec.schedulerFlags": svc({"scheduler": "sh"}, schedulerFlags=["sh-port"]),
    **persistence_fields(
        "Service.spec",
        lambda a, b: svc({**UDP, "persistence": or_left_out(a)}, persistence=b),
    ),
    "Service.spec.forwarding": svc({}, forwarding="dr"),
    **tunnel_fields(
        "Service.spec",
        lambda a, b: svc({"forwarding": "tun", "tunnel": or_left_out(a)}, tunnel=b),
    ),
    "Service.spec.crossFamily": svc({**BOTH, "forwarding": "tun"}, crossFamily=True),
    "Service.spec.drain": svc({}, drain={"timeout": "5m"}),
    "Service.spec.drain.timeout": svc({"drain": {"timeout": "5m"}}, drain={"timeout": "500ms"}),
    **health_fields("Service.spec", lambda a, b: svc({"health": or_left_out(a)}, health=b)),
    **server_fields("Service.spec.realServers", srv),
    "Service.spec.pools": pool_reference(name="q"),
    "Service.spec.pools.name": pool_reference(name="q"),
    "Service.spec.pools.sameLabels": pool_reference(sameLabels=["site"]),
    "Service.spec.pools.matchLabels": pool_reference(matchLabels={"track": "a"}),
    "Service.spec.pools.weight": pool_reference(weight=3),
    "Pool.metadata": (
        on(service(pools=["a"]), pool("a", server()), pool("b")),
        on(service(pools=["a"]), pool("b", server()), pool("a")),
    ),
    "Pool.metadata.name": (
        on(service(pools=["a"]), pool("a", server()), pool("b")),
        on(service(pools=["a"]), pool("b", server()), pool("a")),
    ),
    "Pool.spec": pooled({}, {"address": "10.0.3.6"}),
    **server_fields("Pool.spec.realServers", pooled),
    "Pool.spec.realServers.labels": pooled({}, {"labels": {"track": "c"}}),
    "Defaults.spec": filled({}, scheduler="sh"),
    "Defaults.spec.services": filled({}, scheduler="sh"),
    **selector_fields(
        "Defaults.spec.services.directors",
        lambda a, b: (
            [*TWO, service(), defaults({"directors": a} if a else {})],
            [*TWO, service(), defaults({"directors": b})],
        ),
    ),
    "Defaults.spec.services.scheduler": filled({}, scheduler="sh"),
    "Defaults.spec.services.schedulerFlags": filled(
        {"scheduler": "sh"}, schedulerFlags=["sh-port"]
    ),
    **persistence_fields(
        "Defaults.spec.services",
        lambda a, b: (
            on(service(**UDP), defaults({"persistence": a})),
            on(service(**UDP), defaults({"persistence": b})),
        ),
    ),
    "Defaults.spec.services.forwarding": filled({}, forwarding="dr"),
    **tunnel_fields(
        "Defaults.spec.services",
        lambda a, b: filled({"forwarding": "tun", "tunnel": a}, tunnel=b),
    ),
    "Defaults.spec.services.crossFamily": (
        on(service(**BOTH), defaults({"forwarding": "tun"})),
        on(service(**BOTH), defaults({"forwarding": "tun", "crossFamily": True})),
    ),
    "Defaults.spec.services.drain": filled({}, drain={"timeout": "5m"}),
    "Defaults.spec.services.drain.timeout": filled(
        {"drain": {"timeout": "5m"}}, drain={"timeout": "6m"}
    ),
    **health_fields("Defaults.spec.services", lambda a, b: filled({"health": a}, health=b)),
    "Defaults.spec.directors": filled_hosts(interface="other"),
    "Defaults.spec.directors.interface": filled_hosts(interface="other"),
    "Defaults.spec.directors.addresses": (
        [director(), service(hostAddresses=["n"]), defaults(None, {"addresses": {"n": []}})],
        [
            director(),
            service(hostAddresses=["n"]),
            defaults(None, {"addresses": {"n": ["192.0.2.1"]}}),
        ],
    ),
    "Defaults.spec.directors.localRoutes": filled_hosts(localRoutes=["192.0.2.0/24"]),
    "Defaults.spec.directors.sysctls": filled_hosts(sysctls={"net.ipv4.ip_forward": 1}),
    "Defaults.spec.directors.timeouts": filled_hosts(timeouts={"tcp": "1m"}),
    "Defaults.spec.directors.timeouts.tcp": filled_hosts(timeouts={"tcp": "1m"}),
    "Defaults.spec.directors.timeouts.tcpFin": filled_hosts(timeouts={"tcpFin": "1m"}),
    "Defaults.spec.directors.timeouts.udp": filled_hosts(timeouts={"udp": "1m"}),
    "Defaults.spec.directors.syncDaemons": filled_hosts(
        syncDaemons=[{"role": "backup", "interface": "a"}]
    ),
    **{
        f"Defaults.spec.directors.syncDaemons.{field}": (
            [director(), defaults(None, {"syncDaemons": [{"role": "backup", "interface": "a"}]})],
            [
                director(),
                defaults(
                    None, {"syncDaemons": [{"role": "backup", "interface": "a", field: value}]}
                ),
            ],
        )
        for field, value in SYNC_FIELDS
    },
    "Policy.spec": limits(maxRemovedPercent=1),
    "Policy.spec.maxRemovedPercent": limits(maxRemovedPercent=1),
    "Policy.spec.maxCapacityDropPercent": limits(maxCapacityDropPercent=1),
    "Policy.spec.ignoreBelowObjects": limits(ignoreBelowObjects=1),
    "Policy.spec.protectedVips": limits(protectedVips=["203.0.113.10"]),
    "Policy.spec.owners": limits(owners=[{"path": "a", "vips": ["203.0.113.0/24"]}]),
    "Policy.spec.owners.path": owned({"vips": ["203.0.113.0/24"]}, path="b"),
    "Policy.spec.owners.vips": owned({}, vips=["203.0.113.0/24"]),
    "Policy.spec.owners.firewallMarks": (
        on(service(firewallMark=7), policy(owners=[{"path": "a"}])),
        on(service(firewallMark=7), policy(owners=[{"path": "a", "firewallMarks": [7]}])),
    ),
}
OWNER_DIRECTORS = "Policy.spec.owners.directors"
CONSTANT = {f"{kind}.{field}" for kind in DOCUMENT_KINDS for field in ("apiVersion", "kind")}
NO_EFFECT = {
    *FOR_PEOPLE,
    "Defaults.metadata",
    "Policy.metadata",
}


def outcome(documents: list[Doc], path: str = "all.yaml") -> object:
    """Everything that manifests lead to: each director's desired state, or the problems."""
    try:
        manifests = load_manifest_files([file_of(path, *documents)])
    except InvalidManifests as error:
        return [problem.message for problem in error.problems]
    result = []
    for name in manifests.director_names:
        desired = render_director(manifests, name)
        services = {key: source.service for key, source in desired.locations.items()}
        result.append((desired, services, desired.server_names))
    return result


def test_there_is_a_variation_for_every_field() -> None:
    owners = {p for p in all_fields() if p.startswith(OWNER_DIRECTORS)}
    assert set(all_fields()) == set(VARIATIONS) | CONSTANT | NO_EFFECT | owners


@pytest.mark.parametrize("path", VARIATIONS)
def test_every_field_changes_what_comes_of_it(path: str) -> None:
    before, after = VARIATIONS[path]
    assert outcome(before) != outcome(after)
    if not path.startswith("Policy.spec.owners"):
        assert rules_of(problems_of(*before)) == rules_of(problems_of(*after)) == []


@pytest.mark.parametrize(
    "directors", [{"names": ["lb-ams"]}, {"matchLabels": {"site": "ams"}}], ids=str
)
def test_the_directors_of_an_owner_limit_its_services(directors: Doc) -> None:
    owner = {"path": "a", "vips": ["203.0.113.0/24"]}
    theirs = file_of("a/x.yaml", service())
    load_manifest_files([file_of("p.yaml", *TWO, policy(owners=[owner])), theirs])
    with pytest.raises(InvalidManifests):
        load_manifest_files(
            [file_of("p.yaml", *TWO, policy(owners=[{**owner, "directors": directors}])), theirs]
        )
