"""What a plan says of health checks: the checks in words, and the probes that they cause."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitvs.core.manifests.render import render_director
from gitvs.core.manifests.schema import schema_for
from gitvs.core.model.desired import Desired
from gitvs.core.model.health import CheckTimes, Health, OnFailure, TcpCheck
from gitvs.core.planning.offline_proposal import propose_preview
from gitvs.report.html.preview import preview_html
from gitvs.report.markdown.preview import preview_markdown
from gitvs.report.plan.health_view import health_lines, health_plan, health_text, probe_load
from gitvs.report.plan.pass_text import pass_text
from gitvs.report.plan.plan_json import plan_json
from gitvs.report.plan.plan_text import plan_text
from gitvs.report.plan.plan_view import (
    DirectorPlan,
    PlanOutcome,
    PlanSide,
    PlanSideKind,
    director_plan,
)
from gitvs.report.plan.preview_text import preview_text
from gitvs.report.plan.preview_view import Preview, Verdict, director_groups
from tests.support.manifests.writing import LEFT_OUT, Doc, director, loaded, server, service

BASE, HEAD = (PlanSide(PlanSideKind.COMMIT, letter * 40) for letter in "ab")
TCP: Doc = {"checks": [{"tcp": {}}]}
AT_8080: Doc = {"interval": "2s", "checks": [{"tcp": {"port": 8080}}]}
WEB = "tcp 203.0.113.10:443"
SERVERS = [server(), server("10.0.3.6")]
IN_WORDS = f"health checks of {WEB}: tcp every 5s → tcp port 8080 every 2s"
PROBES = "probes: 2, 0.4 a second → 2, 1 a second"


def state(health: Any = LEFT_OUT, *more: Doc, **spec: Any) -> Desired:
    web = service(realServers=SERVERS, health=health, **spec)
    return render_director(loaded(director(), web, *more), "lb1")


def plan(before: Desired | None, after: Desired) -> DirectorPlan:
    return director_plan(propose_preview(before, after), applied=before)


def lines(before: Desired | None, after: Desired) -> list[str]:
    return list(health_lines(health_plan(before, after)))


def test_other_checks_are_said_in_words_with_the_probes_before_and_after() -> None:
    assert lines(state(TCP), state(AT_8080)) == [IN_WORDS, PROBES]


def test_checks_that_come_and_go_are_none_on_one_side() -> None:
    came, went = lines(state(), state(TCP)), lines(state(TCP), state())
    assert came == [
        f"health checks of {WEB}: none → tcp every 5s",
        "probes: 0, 0 a second → 2, 0.4 a second",
    ]
    assert went == [
        f"health checks of {WEB}: tcp every 5s → none",
        "probes: 2, 0.4 a second → 0, 0 a second",
    ]
    assert lines(None, state(TCP)) == came


def test_the_checks_that_leave_with_their_virtual_service_are_no_change() -> None:
    other = service("db", vips=["203.0.113.11"], realServers=[server("10.0.3.9")], health=TCP)
    assert lines(state(TCP, other), state(TCP)) == ["probes: 3, 0.6 a second → 2, 0.4 a second"]


def test_the_same_change_of_several_virtual_services_is_said_once() -> None:
    vips = [f"203.0.113.{n}" for n in range(1, 9)]
    [said, _] = lines(state(TCP, vips=vips), state(AT_8080, vips=vips))
    assert said.startswith("health checks of tcp 203.0.113.1:443, tcp 203.0.113.2:443, ")
    assert "203.0.113.5:443 and 3 more: tcp every 5s → tcp port 8080" in said


def test_equal_probes_of_several_virtual_services_run_once() -> None:
    two_vips = state(TCP, vips=["203.0.113.10", "203.0.113.11"])
    assert probe_load(two_vips).count == 2
    two_ports = state(TCP, ports=[{"port": 80}, {"port": 443}])
    assert probe_load(two_ports).count == 4
    same_port = state(AT_8080, ports=[{"port": 80}, {"port": 443}])
    assert (probe_load(same_port).count, probe_load(same_port).per_second) == (2, 1.0)
    again = service("again", vips=["203.0.113.11"], realServers=SERVERS, health={**TCP, "fall": 9})
    assert probe_load(state(TCP, again)).count == 2
    slower = service(
        "slow", vips=["203.0.113.11"], realServers=SERVERS, health={**TCP, "interval": "10s"}
    )
    assert (probe_load(state(TCP, slower)).count, probe_load(state(TCP, slower)).per_second) == (
        4,
        0.6000000000000001,
    )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, "tcp every 5s"),
        (
            {"checks": (TcpCheck(25, expect="220"), TcpCheck())},
            'tcp port 25 expect "220" and tcp every 5s',
        ),
        ({"times": CheckTimes(1.0, 1.0, 0.5)}, "tcp every 1s"),
        ({"times": CheckTimes(5.0, 1.5, 1.0)}, "tcp every 5s, timeout 1500ms, retryInterval 1s"),
        ({"rise": 3, "fall": 1}, "tcp every 5s, rise 3, fall 1"),
        (
            {"on_failure": OnFailure.REMOVE, "keep_percent": 12.5},
            "tcp every 5s, onFailure remove, keepPercent 12.5",
        ),
        ({"lose_percent": 30.0, "gain_percent": 30.0}, "tcp every 5s, losePercent 30"),
        ({"gain_percent": 50.0}, "tcp every 5s, gainPercent 50"),
        ({"checks": (TcpCheck(send="a\r\n\x1b"),)}, 'tcp send "a\\u000d\\u000a\\u001b" every 5s'),
    ],
)
def test_what_is_not_the_default_is_said(changed: dict[str, Any], says: str) -> None:
    assert health_text(replace(Health((TcpCheck(),)), **changed)) == says


def test_a_plan_of_which_only_checks_change_is_a_change_without_gates() -> None:
    only = plan(state(TCP), state(AT_8080))
    assert not only.plan
    assert only.outcome is PlanOutcome.CHANGES
    assert only.is_notable
    assert only.gates == ()
    same = plan(state(TCP), state(TCP))
    assert same.outcome is PlanOutcome.NONE
    assert not same.is_notable


def test_its_digests_are_others_than_those_without_the_change() -> None:
    before, after = plan(state(TCP), state(TCP)), plan(state(TCP), state(AT_8080))
    assert before.digest != after.digest
    assert before.desired_digest != after.desired_digest


def test_every_format_says_it() -> None:
    preview = Preview(BASE, HEAD, (plan(state(TCP), state(AT_8080)),))
    assert preview.verdict is Verdict.CHANGES
    counted = "changes the health checks of 1 virtual service"
    texts = [
        plan_text(BASE, HEAD, preview.plans).plain,
        preview_text(preview).plain,
        preview_markdown(preview),
        preview_html(preview),
    ]
    for text in texts:
        assert IN_WORDS in text
        assert PROBES in text
        assert counted in text
        assert "no change" not in text
        assert "nothing to do" not in text


def test_directors_with_different_checks_are_not_one_group() -> None:
    plans = [plan(state(TCP), state(AT_8080)), plan(state(TCP), state({**TCP, "fall": 2}))]
    assert len(director_groups(plans)) == 2
    assert len(director_groups([plans[0], plans[0]])) == 1


def test_the_json_has_it_with_its_place() -> None:
    preview = Preview(BASE, HEAD, (plan(state(TCP), state(AT_8080)),))
    made = json.loads(json.dumps(plan_json(preview)))
    assert [e.message for e in Draft202012Validator(schema_for("plan")).iter_errors(made)] == []
    [found] = made["plans"]
    assert (made["verdict"], found["outcome"], found["changes"]) == ("changes", "changes", [])
    assert found["probes"] == {
        "before": {"count": 2, "perSecond": 0.4},
        "after": {"count": 2, "perSecond": 1},
    }
    [change] = found["health"]
    assert (change["key"], change["service"], change["source"]["file"]) == (WEB, "web", "all.yaml")
    assert change["before"]["checks"] == [{"tcp": {}}]
    assert change["after"]["checks"] == [{"tcp": {"port": 8080}}]
    assert change["after"]["intervalSeconds"] == 2


def test_a_text_of_a_check_breaks_out_of_no_format() -> None:
    hostile: Doc = {"checks": [{"tcp": {"expect": "```\n::error::x </script> ##[error]"}}]}
    preview = Preview(BASE, HEAD, (plan(state(), state(hostile)),))
    for text in (preview_text(preview).plain, preview_markdown(preview), preview_html(preview)):
        assert "\n::error" not in text
        assert "##[error]" not in text
    assert "x </script>" not in preview_html(preview)
    assert "````" in preview_markdown(preview)


def test_a_pass_that_only_puts_checks_in_force_says_so() -> None:
    said = pass_text("converged", has_other_checks=True).plain
    assert said == "nothing to do in the kernel; the new health checks are in force\n"
    assert pass_text("converged").plain == "nothing to do\n"
