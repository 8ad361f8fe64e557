"""A plan as text and as JSON: one view, made from a real proposal."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console
from rich.text import Text

from gitvs.core.manifests.schema import schema_for
from gitvs.core.model.desired import Desired, ManifestLocation
from gitvs.core.model.ledger import Drain, Ledger
from gitvs.core.model.observation import ConnectionCounts, Link, Observation
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.resources import (
    Key,
    Persistence,
    RealServer,
    Resource,
    Scheduler,
    SchedulerFlag,
    Sysctl,
)
from gitvs.core.model.state import State
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.overlay import with_fallback_flags
from gitvs.core.planning.proposal import propose
from gitvs.report.plan.plan_json import plan_json
from gitvs.report.plan.plan_text import plan_text
from gitvs.report.plan.plan_view import (
    DirectorPlan,
    PlanOutcome,
    PlanSide,
    PlanSideKind,
    director_plan,
)
from gitvs.report.plan.preview_view import Preview
from gitvs.report.plan.removals import changes_text
from tests.support import scenario
from tests.support.builders import WEB, endpoint, real_server, vip, virtual_service
from tests.support.paths import GOLDEN

LIVE = PlanSide(PlanSideKind.LIVE, "a" * 40)
COMMIT = PlanSide(PlanSideKind.COMMIT, "b" * 40, "Move web to wrr")
NOW = 1000.0


def desired(*resources: Resource, drain_seconds: float = 60.0) -> Desired:
    state = State(resources)
    drains = dict.fromkeys(state, drain_seconds)
    return Desired("lb1", "gitvs0", state, drains)


def view(
    applied: Desired,
    wanted: Desired,
    *,
    found: State | None = None,
    drains: tuple[Drain, ...] = (),
    connections: int = 3,
    allowed: tuple[str, ...] = (),
) -> DirectorPlan:
    """The view of a plan from what is applied, or from what is found, to what is wanted."""
    state = applied.state if found is None else found
    counted = {s.key: ConnectionCounts(connections, 1) for s in state.of_type(RealServer)}
    link = Link("eth0", "", "", True, (ip_address("10.0.0.1"), ip_address("192.0.2.1")))
    up = replace(link, name=scenario.UPLINK)
    observation = Observation(state, counted, {"eth0": link, up.name: up}, kernel_release="6.1")
    ledger = Ledger(frozenset(applied.state) | {d.key for d in drains}, {d.key: d for d in drains})
    proposal = propose(wanted, applied, observation, ledger, NOW, "gitvs:test", allowed=allowed)
    return director_plan(
        proposal, observation=observation, applied=applied, ledger=ledger, boottime_seconds=NOW
    )


def everything() -> DirectorPlan:
    """A plan with every kind of object and every action, drift and foreign objects."""
    applied, wanted = scenario.before(), scenario.after()
    key = Key("tcp 203.0.113.10:80")
    wanted = replace(
        wanted,
        locations={key: ManifestLocation("web", "web.yaml", 11)},
        server_names={Key(f"{key} -> 10.0.0.3:8080"): "web3"},
    )
    foreign = endpoint("192.0.2.99", 80)
    drifted = replace(scenario.server(scenario.DNS, 1), weight=9)
    found = applied.state.with_changes(
        [
            virtual_service(foreign),
            real_server(foreign),
            drifted,
            Sysctl("net.ipv4.ip_forward", "0"),
        ]
    )
    return view(applied, wanted, found=found)


def plain(*plans: DirectorPlan, base: PlanSide = LIVE, head: PlanSide = COMMIT) -> str:
    return plan_text(base, head, plans).plain


def last_line(text: str) -> str:
    return text.splitlines()[-1]


def test_a_plan_of_everything_reads_as_approved() -> None:
    assert plain(everything()) == (GOLDEN / "plan.txt").read_text()


def test_an_empty_plan_says_so() -> None:
    same = desired(virtual_service(), real_server())
    assert plain(view(same, same)) == (
        'lb1: commit bbbbbbbbbbbb "Move web to wrr" compared with this host at commit'
        " aaaaaaaaaaaa\n"
        "\n"
        "nothing to do: lb1 is as the manifests say\n"
    )


def test_the_last_line_counts() -> None:
    applied = desired(virtual_service(), real_server(), real_server(address="10.0.0.2"))
    wanted = desired(virtual_service(), real_server(weight=3), real_server(address="10.0.0.3"))
    plan = view(applied, wanted)
    assert last_line(plain(plan)) == (
        "1 to create, 1 to update, 0 to delete, 1 to drain;"
        " removes 1 real server after drains of at most 1m"
    )
    assert changes_text(plan) == last_line(plain(plan))


def test_a_service_that_leaves_is_counted_with_its_vip_though_it_drains_first() -> None:
    gone = (virtual_service(), real_server(), vip())
    stays = virtual_service(endpoint("203.0.113.11"))
    text = plain(view(desired(*gone, stays), desired(stays, drain_seconds=90)))
    assert last_line(text) == (
        "0 to create, 0 to update, 0 to delete, 1 to drain;"
        " removes 1 virtual service, 1 VIP and 1 real server after drains of at most 1m"
    )
    assert text.split("After the drains, by later passes\n")[1].splitlines()[:2] == [
        "  -  203.0.113.10/32 dev gitvs0",
        "  -  tcp 203.0.113.10:80         scheduler wlc",
    ]


def test_what_leaves_at_once_and_what_leaves_later_are_counted_apart() -> None:
    service, server = virtual_service(), real_server(address="10.0.0.2")
    at_once = desired(service, server, real_server(), vip(), drain_seconds=0)
    text = plain(view(at_once, desired(service, real_server(), drain_seconds=0)))
    assert last_line(text).endswith("; removes 1 VIP and 1 real server at once")
    assert "After the drains" not in text


def test_gates_stand_above_everything_and_the_last_line_names_them() -> None:
    applied = desired(virtual_service(), real_server())
    text = plain(view(applied, desired(virtual_service())))
    assert text.splitlines()[2:4] == [
        "Blocked by 2 gates",
        "  ! last-real-server: 1 → 0; limit: at least 1 active real server",
    ]
    assert "--allow last-real-server" in text
    assert last_line(text).endswith(
        "; blocked by last-real-server, capacity-drop: nothing will be changed"
    )


def test_many_services_that_meet_one_gate_have_a_line_each() -> None:
    ports = range(1001, 1021)
    services = [virtual_service(endpoint(port=port)) for port in ports]
    servers = [real_server(endpoint(port=port), weight=port) for port in ports]
    lines = plain(view(desired(*services, *servers), desired(*services))).splitlines()
    assert lines[2] == "Blocked by 40 gates"
    assert sum("To allow it once" in x for x in lines) == 2
    assert [x for x in lines if x.startswith("  ! capacity-drop")][:3] == [
        "  ! capacity-drop: weight 1001 of 1001 (100 %); limit: 50 %",
        "  ! capacity-drop: weight 1002 of 1002 (100 %)  likewise tcp 203.0.113.10:1002",
        "  ! capacity-drop: weight 1003 of 1003 (100 %)  likewise tcp 203.0.113.10:1003",
    ]
    assert sum("likewise" in x for x in lines) == 38


def test_a_gate_that_nobody_can_lift_is_always_told_in_full() -> None:
    key = virtual_service().key
    gates = tuple(
        Gate("conflict", str(n), "", f"{n}'s", is_allowed=False, key=key) for n in range(9)
    )
    same = desired(virtual_service())
    assert "likewise" not in plain(replace(view(same, same), gates=gates))


def test_a_lifted_gate_is_shown_and_blocks_nothing() -> None:
    applied = desired(virtual_service(), real_server())
    plan = view(applied, desired(virtual_service()), allowed=("last-real-server", "capacity-drop"))
    assert plan.outcome is PlanOutcome.CHANGES
    assert plain(plan).splitlines()[2] == "Over a limit, and allowed"
    assert last_line(plain(plan)) == (
        "0 to create, 0 to update, 0 to delete, 1 to drain;"
        " removes 1 real server after drains of at most 1m"
    )


def test_a_drain_says_until_when() -> None:
    applied = desired(virtual_service(), real_server(), real_server(address="10.0.0.2"))
    wanted = desired(virtual_service(), real_server(), drain_seconds=90)
    assert (
        "  ↓  10.0.0.2:8080  nat  weight 1 → 0"
        "  drain: removed once it has no connections, in 1m30s at the latest,"
        " 3 active and 1 inactive connections"
    ) in plain(view(applied, wanted)).splitlines()


def test_a_drain_under_way_shows_what_is_left_and_is_no_change() -> None:
    leaving = real_server(address="10.0.0.2", weight=0)
    same = desired(virtual_service(), real_server())
    drain = Drain(leaving.key, 60, NOW + 42)
    found = same.state.with_changes([leaving])
    text = plain(view(same, same, found=found, drains=(drain,)))
    assert "draining: 42s left of 1m, 3 active and 1 inactive connections" in text
    assert last_line(text) == (
        "nothing to do: lb1 is as the manifests say, but for 1 real server still draining;"
        " removes 1 real server after drains of at most 42s"
    )


def test_a_drain_that_is_over_ends_with_a_delete() -> None:
    leaving = real_server(address="10.0.0.2", weight=0)
    same = desired(virtual_service(), real_server())
    found = same.state.with_changes([leaving])
    text = plain(view(same, same, found=found, drains=(Drain(leaving.key, 60, NOW),)))
    assert "  -  10.0.0.2:8080  nat  weight 0  drained" in text.splitlines()
    assert last_line(text) == (
        "0 to create, 0 to update, 1 to delete, 0 to drain; removes 1 real server at once"
    )


def test_a_server_wanted_again_says_that_its_drain_ends() -> None:
    same = desired(virtual_service(), real_server())
    found = desired(virtual_service(), real_server(weight=0)).state
    drain = Drain(real_server().key, 60, NOW + 42)
    text = plain(view(same, same, found=found, drains=(drain,)))
    assert "weight 0 → 1  wanted again: its drain ends" in text
    assert "drift" not in text


def test_a_delete_without_a_drain_names_the_connections_that_break() -> None:
    applied = desired(virtual_service(), real_server(), real_server(address="10.0.0.2"))
    wanted = desired(virtual_service(), real_server(), drain_seconds=0)
    assert "no drain: its connections break at once, 3 active" in plain(view(applied, wanted))


def test_drift_is_told_from_change() -> None:
    applied = desired(virtual_service(), real_server(), real_server(address="10.0.0.2"))
    wanted = desired(virtual_service(), real_server(weight=5), real_server(address="10.0.0.2"))
    found = applied.state.with_changes([real_server(address="10.0.0.2", weight=7)])
    plan = view(applied, wanted, found=found)
    assert plan.drift == {real_server(address="10.0.0.2").key}
    drifted = [x for x in plain(plan).splitlines() if "drift" in x]
    assert drifted == [
        "  ~  10.0.0.2:8080  nat          weight 7 → 1"
        "  drift: the kernel was changed, the manifests were not"
    ]


def test_a_fallback_flag_that_goes_back_is_no_drift() -> None:
    service = virtual_service(scheduler=Scheduler.SH)
    same = desired(service, real_server())
    fallback = replace(service, flags=frozenset({SchedulerFlag.SH_FALLBACK}))
    plan = view(same, same, found=desired(fallback, real_server()).state)
    assert plan.summary["update"] == 1
    assert not plan.drift


def test_a_removed_service_drains_whole() -> None:
    other = virtual_service(endpoint(port=443))
    applied = desired(other, virtual_service(), real_server())
    text = plain(view(applied, desired(other)))
    assert "tcp 203.0.113.10:80  left the manifests, removed once it has drained" in text


def test_a_fallback_flag_that_comes_with_a_drain_says_why() -> None:
    applied = desired(
        virtual_service(scheduler=Scheduler.SH), real_server(), real_server(address="10.0.0.2")
    )
    wanted = desired(virtual_service(scheduler=Scheduler.SH), real_server())
    flags = next(x for x in plain(view(applied, wanted)).splitlines() if "flags" in x)
    assert flags == "  ~  flags none → sh-fallback, while a real server has weight 0"


def test_a_service_that_changes_and_gives_up_its_fallback_flag_shows_both() -> None:
    service = virtual_service(scheduler=Scheduler.SH)
    idle = real_server(address="10.0.0.2", weight=0)
    applied = desired(service, real_server(), idle, drain_seconds=0)
    found = with_fallback_flags(applied.state)
    wanted = desired(replace(service, persistence=Persistence(300, 32)), real_server())
    text = plain(view(applied, replace(wanted, drain_seconds={service.key: 0.0}), found=found))
    assert [x.strip() for x in text.splitlines() if "~" in x] == [
        "~  flags sh-fallback → none",
        "~  persistence none → 5m",
    ]


def test_unchanged_real_servers_are_counted() -> None:
    kept = [real_server(address=f"10.0.0.{n}") for n in range(2, 6)]
    applied = desired(virtual_service(), real_server(), *kept)
    text = plain(view(applied, desired(virtual_service(), real_server(weight=2), *kept)))
    assert "    4 real servers unchanged" in text.splitlines()


def test_a_real_server_on_the_director_itself_is_local() -> None:
    server = real_server(address="192.0.2.1")
    text = plain(view(desired(), desired(virtual_service(), server)))
    assert "192.0.2.1:8080  nat (local)" in text


def test_long_lists_of_foreign_objects_are_cut() -> None:
    foreign = [virtual_service(endpoint("192.0.2.99", port)) for port in range(1, 31)]
    text = plain(view(desired(), desired(), found=State(foreign)))
    assert "  and 10 more" in text.splitlines()


def test_several_directors_are_told_apart() -> None:
    same = desired(virtual_service())
    first = view(same, same)
    text = plain(first, replace(first, director="lb2"))
    assert [x for x in text.splitlines() if x.startswith("nothing")] == [
        "nothing to do: lb1 is as the manifests say",
        "nothing to do: lb2 is as the manifests say",
    ]


def printed(text: Text, **options: Any) -> str:
    out = io.StringIO()
    Console(file=out, highlight=False, width=40, **options).print(text, soft_wrap=True, end="")
    return out.getvalue()


def test_a_pipe_gets_neither_colours_nor_wrapped_lines() -> None:
    text = plan_text(LIVE, COMMIT, [everything()])
    assert printed(text) == text.plain


def test_a_terminal_gets_colours_and_the_same_text() -> None:
    text = plan_text(LIVE, COMMIT, [everything()])
    coloured = printed(text, force_terminal=True, color_system="standard", no_color=False)
    assert "\x1b[32m" in coloured
    assert Text.from_ansi(coloured).plain.rstrip() == text.plain.rstrip()


def test_what_a_manifest_says_is_never_markup() -> None:
    server = real_server()
    wanted = replace(
        desired(virtual_service(), server), server_names={server.key: "[bold red]x[/]"}
    )
    assert "[bold red]x[/]" in printed(plan_text(LIVE, COMMIT, [view(desired(), wanted)]))


def test_what_a_commit_says_does_nothing_to_a_terminal() -> None:
    head = PlanSide(PlanSideKind.COMMIT, "b" * 40, "Move\x1b[31m web")
    same = desired(virtual_service())
    assert "Move\\u001b[31m web" in printed(plan_text(LIVE, head, [view(same, same)]))


@pytest.mark.parametrize(
    ("side", "words"),
    [
        (PlanSide(PlanSideKind.LIVE), "this host"),
        (
            PlanSide(PlanSideKind.LIVE, "c" * 40, "Start"),
            'this host at commit cccccccccccc "Start"',
        ),
        (PlanSide(PlanSideKind.SAVED_OBSERVATION, None, "lb1.json"), "the saved state lb1.json"),
        (PlanSide(PlanSideKind.WORK_TREE, None, "manifests"), "the work tree manifests"),
        (PlanSide(PlanSideKind.COMMIT, "c" * 40), "commit cccccccccccc"),
    ],
)
def test_both_sides_are_named(side: PlanSide, words: str) -> None:
    same = desired(virtual_service())
    assert plain(view(same, same), base=side).splitlines()[0].endswith(f"compared with {words}")


# JSON


def closed(schema: Any) -> Any:
    """A schema that allows no field which it does not describe."""
    if isinstance(schema, list):
        return [closed(x) for x in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    is_object = schema.get("type") == "object" and "properties" in schema
    return {**inner, "additionalProperties": False} if is_object else inner


def fields(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
    for place in ("oneOf", "items"):
        inner = schema.get(place, [])
        for part in inner if isinstance(inner, list) else [inner]:
            yield from fields(part, path)


def document(plan: DirectorPlan) -> JsonObject:
    """The document of a plan, checked against the schema, closed and as it is."""
    made: JsonObject = json.loads(json.dumps(plan_json(Preview(LIVE, COMMIT, (plan,)))))
    for schema in (schema_for("plan"), closed(schema_for("plan"))):
        errors = [e.message for e in Draft202012Validator(schema).iter_errors(made)]
        assert errors == []
    return made


def test_the_schema_is_sound_and_explains_every_field() -> None:
    schema = schema_for("plan")
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    described = dict(fields(schema))
    for name, part in schema["$defs"].items():
        described |= dict(fields(part, name))
        described[name] = part
    bare = [x for x, f in described.items() if not (f.get("title") and f.get("description"))]
    assert bare == []
    assert len(described) > 60


def test_a_plan_of_everything_is_as_the_schema_says() -> None:
    made = document(everything())
    assert list(made) == [
        "formatVersion",
        "base",
        "head",
        "folder",
        "verdict",
        "plans",
        "unchanged",
        "risks",
        "remarks",
        "problems",
        "warnings",
    ]
    assert made["formatVersion"] == "1.0"
    assert made["base"] == {"kind": "live", "commit": "a" * 40}
    (plan,) = made["plans"]
    assert {c["kind"] for c in plan["changes"]} == {
        *("sysctl", "timeouts", "sync-daemon", "dummy-interface", "vip", "local-route"),
        *("virtual-service", "real-server"),
    }
    assert {c["action"] for c in plan["changes"]} == {
        *("create", "update", "delete", "drain", "replace"),
    }
    assert plan["outcome"] == "blocked"
    assert plan["summary"] == everything().summary
    assert plan["foreign"] == ["tcp 192.0.2.99:80", "tcp 192.0.2.99:80 -> 10.0.0.1:8080"]


def test_changes_stand_in_the_order_of_execution() -> None:
    plan = everything()
    (made,) = document(plan)["plans"]
    assert [c["key"] for c in made["changes"]] == [c.key for c in plan.plan.changes]
    phases = [c["phase"] for c in made["changes"]]
    assert phases == sorted(phases, key=["prepare", "make", "modify", "bind", "break"].index)


def test_a_change_knows_its_service_and_where_it_was_written() -> None:
    (plan,) = document(everything())["plans"]
    change = next(c for c in plan["changes"] if c["key"].endswith("10.0.0.3:8080"))
    assert (change["service"], change["source"]) == ("web", {"file": "web.yaml", "line": 11})
    assert change["before"] is None
    assert change["after"]["weight"] == 1


def test_a_drain_carries_its_timeout() -> None:
    (plan,) = document(everything())["plans"]
    drains = [c for c in plan["changes"] if c["action"] == "drain"]
    assert {c["drainTimeoutSeconds"] for c in drains} == {60.0}
    assert all(c["after"]["weight"] == 0 for c in drains)


def test_drift_is_marked() -> None:
    (plan,) = document(everything())["plans"]
    assert [c["key"] for c in plan["changes"] if c.get("drift")] == [
        "udp 203.0.113.11:53 -> 10.0.0.1:8080"
    ]


def test_an_empty_plan_is_a_document_too() -> None:
    same = desired(virtual_service())
    (plan,) = document(view(same, same))["plans"]
    assert (plan["outcome"], plan["changes"], plan["gates"]) == ("none", [], [])


def test_gates_are_in_the_document() -> None:
    gate = Gate("mass-removal", "4 of 10", "30 %", "too many", is_allowed=True)
    same = desired(virtual_service(WEB))
    (plan,) = document(replace(view(same, same), gates=(gate,)))["plans"]
    assert plan["gates"] == [
        {
            "name": "mass-removal",
            "measured": "4 of 10",
            "limit": "30 %",
            "message": "too many",
            "allowed": True,
            "key": None,
        }
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"formatVersion": "2.0"},
        {"base": {"kind": "guess", "commit": None}},
        {"plans": [{}]},
    ],
)
def test_the_schema_refuses_what_is_no_plan(wrong: JsonObject) -> None:
    made = {**document(everything()), **wrong}
    assert not Draft202012Validator(schema_for("plan")).is_valid(made)


def test_what_cannot_be_repaired_is_told_and_blocks_nothing() -> None:
    applied = scenario.before()
    sick = scenario.server(scenario.WEB4, 1).service_key
    found = applied.state.with_changes(drop=[sick])
    made = replace(view(applied, applied, found=found), unrepairable={sick: f"{sick}: no module"})
    text = plain(made)
    assert f"Cannot be repaired, and is left out\n  {sick}: no module\n" in text
    assert "blocked" not in last_line(text)
