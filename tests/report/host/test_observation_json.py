"""What `observe` shows and saves; what was saved is read again, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitvs.core.errors import ExitCode, UsageError
from gitvs.core.manifests.schema import schema_for
from gitvs.core.model.desired import Desired, ManifestLocation
from gitvs.core.model.health import Health, TcpCheck
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.observation import (
    ConnectionCounts,
    Link,
    Observation,
    Scope,
    WildcardListener,
)
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.resources import (
    AddressFamily,
    DummyInterface,
    ForeignName,
    Kind,
    Protocol,
    Scheduler,
    SyncDaemon,
    SyncRole,
    Sysctl,
    Vip,
)
from gitvs.core.model.state import State
from gitvs.core.planning.proposal import propose
from gitvs.report.host.observation_json import ObservedHost, observation_json, parse_observation
from gitvs.report.host.state_text import observation_text
from tests.support import scenario
from tests.support.builders import endpoint, real_server, virtual_service

OURS = virtual_service()
SERVER = real_server(weight=0)
THEIRS = virtual_service(endpoint("192.0.2.99", 25), ForeignName("nifty"))
HOST = ip_address("192.0.2.1")
SWITCH = Sysctl("net.ipv4.ip_forward", "1")


def seen() -> ObservedHost:
    """A host with something of everything."""
    applied = scenario.before()
    state = State(
        [
            OURS,
            SERVER,
            THEIRS,
            real_server(THEIRS.listener, "127.0.0.1", 25),
            SWITCH,
            SyncDaemon(SyncRole.PRIMARY, "eth1", 7),
            DummyInterface("gitvs0"),
            Vip(ip_address("203.0.113.10"), "gitvs0", 32, has_route=False),
            Vip(ip_address("10.9.9.9"), "dummy1", 24),
        ]
    )
    observation = Observation(
        state,
        {SERVER.key: ConnectionCounts(3, 4, 5)},
        {
            "gitvs0": Link("gitvs0", "dummy", "gitvs:x", False, (ip_address("203.0.113.10"),)),
            "eth0": Link("eth0", "", "", True, (HOST,), (ip_network("192.0.2.0/24"),)),
        },
        frozenset({ip_address("192.0.2.254")}),
        frozenset({ip_network("198.51.100.0/24")}),
        frozenset({Scheduler.TWOS}),
        frozenset({"virtual service on protocol 1"}),
        "6.1.0",
        wildcard_listeners=frozenset({WildcardListener(Protocol.TCP, AddressFamily.IPV4, 22)}),
    )
    owned = frozenset({OURS.key, "dummy gitvs0", "203.0.113.10/32 dev gitvs0"})
    ledger = Ledger(
        owned,  # type: ignore[arg-type]  # plain text is as good a key
        {SERVER.key: Drain(SERVER.key, 60, 1042)},
        {SWITCH.key: Sysctl(SWITCH.name, "0")},
    )
    applied = Desired(
        "lb1",
        "gitvs0",
        applied.state,
        applied.drain_seconds,
        locations={OURS.key: ManifestLocation("w", "f", 3)},
    )
    scope = Scope(frozenset({"gitvs0", "dummy1"}), frozenset({SWITCH.name}))
    return ObservedHost(
        "lb1.example", observation, scope, ledger, "gitvs:x", 1000.0, applied, "c" * 40
    )


def saved() -> JsonObject:
    document: JsonObject = json.loads(json.dumps(observation_json(seen())))
    return document


def refused(document: object) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(UsageError) as caught:
        parse_observation(text, "lb1.json")
    assert caught.value.exit_code is ExitCode.USAGE
    message = str(caught.value)
    assert message.startswith("lb1.json is not what `gitvs observe --format json` writes: ")
    assert "\n" not in message
    return message


def test_what_was_saved_is_read_as_it_was() -> None:
    assert parse_observation(json.dumps(saved()), "lb1.json") == seen()


def test_health_checks_in_force_are_saved_and_a_host_without_has_no_field_for_them() -> None:
    host = seen()
    assert host.applied is not None
    assert "health" not in saved()["applied"]
    checks = {OURS.key: Health((TcpCheck(25, "QUIT", "220"), TcpCheck()), fall=2)}
    checked = replace(host, applied=replace(host.applied, health=checks))
    text = json.dumps(observation_json(checked))
    assert parse_observation(text, "lb1.json") == checked
    assert checked != host


def test_a_plan_from_a_saved_observation_is_the_plan_on_the_host() -> None:
    here, there = seen(), parse_observation(json.dumps(saved()), "lb1.json")
    plans = [
        propose(
            scenario.after(), s.applied, s.observation, s.ledger, s.boottime_seconds, s.owner_alias
        )
        for s in (here, there)
    ]
    assert plans[0].digest == plans[1].digest
    assert plans[0].gates == plans[1].gates


def test_owned_and_foreign_are_told_apart_in_the_document() -> None:
    owned = {o["key"]: o["owned"] for o in saved()["objects"]}
    assert owned[OURS.key]
    assert owned[SERVER.key]
    assert not owned[THEIRS.key]
    assert not owned["10.9.9.9/24 dev dummy1"]


def test_connections_stand_with_their_real_server() -> None:
    servers = {o["key"]: o for o in saved()["objects"] if o["kind"] == "real-server"}
    assert servers[SERVER.key]["connections"] == {"active": 3, "inactive": 4, "persistent": 5}


Spoil = Callable[[Any], object]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda d: "not json", "Expecting value"),
        (lambda d: [], "[] is not of type 'object'"),
        (lambda d: {**d, "formatVersion": "2.0"}, "the document.formatVersion: '1.0' was expected"),
        (lambda d: {k: v for k, v in d.items() if k != "ledger"}, "'ledger' is a required"),
        (lambda d: {**d, "objects": None}, "the document.objects: None is not of type 'array'"),
        (lambda d: {**d, "objects": ["x"]}, "the document.objects[]: 'x' is not of type"),
        (lambda d: {**d, "gateways": ["nowhere"]}, "'nowhere' does not appear to be"),
        (lambda d: {**d, "more": 1}, "('more' was unexpected)"),
        (lambda d: {**d, "objects": [*d["objects"], d["objects"][0]]}, "changed by hand"),
    ],
)
def test_any_other_file_is_refused_with_one_clear_reason(spoil: Spoil, why: str) -> None:
    assert why in refused(spoil(saved()))


def test_the_schema_is_sound_and_shares_its_words_with_the_plan() -> None:
    schema, plan = schema_for("observation"), schema_for("plan")
    Draft202012Validator.check_schema(schema)
    shared = (schema["$defs"].keys() & plan["$defs"].keys()) - {"source"}
    assert shared == {*Kind, "endpoint", "firewallMark", "health"}
    for name in shared:
        assert opened(schema["$defs"][name]) == plan["$defs"][name]


def opened(schema: Any) -> Any:
    """A schema without its word on further fields, which a plan of 1.x may get."""
    if isinstance(schema, list):
        return [opened(x) for x in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: opened(v) for k, v in schema.items() if k != "additionalProperties"}


def test_a_plan_is_no_observation() -> None:
    refused({"formatVersion": "1.0", "plans": []})


@pytest.mark.parametrize("field", sorted(observation_json(seen())))
@pytest.mark.parametrize("other", [None, True, 7, "x", [], {}])
def test_a_wrong_field_is_refused_and_another_value_is_another_observation(
    field: str, other: object
) -> None:
    document = {**saved(), field: other}
    try:
        read = parse_observation(json.dumps(document), "lb1.json")
    except UsageError:
        return
    assert read != seen()
    assert type(other) is type(saved()[field]) or other is None or field == "boottimeSeconds"


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("weight", "1"),
        ("weight", 1.5),
        ("weight", True),
        ("port", None),
        ("address", 7),
        ("forwarding", "teleport"),
    ],
)
def test_a_wrong_value_deep_inside_is_refused(where: str, value: object) -> None:
    document = saved()
    servers = [o for o in document["objects"] if o["kind"] == "real-server"]
    servers[-1]["object"][where] = value
    refused(document)


def test_a_state_that_was_saved_before_more_was_read_is_read_all_the_same() -> None:
    document = saved()
    del document["listening"]
    for link in document["links"]:
        link.pop("networks", None)
    old = parse_observation(json.dumps(document), "old.json").observation
    assert old.wildcard_listeners == frozenset()
    assert {link.networks for link in old.links.values()} == {()}


def lines() -> list[str]:
    return observation_text(seen()).plain.splitlines()


def test_the_text_begins_with_host_kernel_and_commit() -> None:
    assert lines()[0] == "lb1.example: Linux 6.1.0, commit cccccccccccc applied as lb1"


def test_owned_and_foreign_objects_stand_apart_in_the_text() -> None:
    text = lines()
    ours, theirs = text.index("gitvs's"), text.index("Foreign: not gitvs's, never touched")
    assert ours < text.index("  tcp 203.0.113.10:80  scheduler wlc") < theirs
    assert theirs < text.index("  tcp 192.0.2.99:25  scheduler nifty")
    assert "  virtual service on protocol 1" in text[theirs:]


def test_servers_show_their_connections_and_drains() -> None:
    assert "    10.0.0.1:8080  nat  weight 0  3 active  4 inactive  draining, 42s left" in lines()


def test_settings_of_ours_say_what_was_before() -> None:
    assert "  net.ipv4.ip_forward  1  set by gitvs, was 0" in lines()


def test_a_vip_without_its_route_says_so() -> None:
    (line,) = (x for x in lines() if x.startswith("  203.0.113.10/32"))
    assert line.endswith("its route in table local is missing: it receives nothing")


def test_a_local_real_server_is_called_local() -> None:
    assert any("127.0.0.1:25  nat (local)" in x for x in lines())


def test_what_json_does_not_know_is_refused() -> None:
    text = json.dumps(saved()).replace('"boottimeSeconds": 1000.0', '"boottimeSeconds": NaN')
    assert "NaN is no number" in refused(text)


def test_a_document_without_bottom_is_refused() -> None:
    with pytest.raises(UsageError, match=r"lb1\.json is nested too deep"):
        parse_observation("[" * 100_000, "lb1.json")
